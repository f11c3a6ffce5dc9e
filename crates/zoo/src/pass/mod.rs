//! Passes: each takes a network and returns a network.

mod fold;
mod insert;

pub use fold::{fold_batch_norms, fold_batch_norms_where};
pub use insert::insert_before;
