//! From a configuration to a finished run folder.
//!
//! ```text
//! teacher -> images (cached) -> plan -> calibrated student -> [trained student] -> evaluation -> run folder
//! ```

mod cache;
mod check;
mod checkpoint;
mod context;
mod fit;
mod images;
pub(crate) mod log;
mod run;
mod stage;

pub use context::Context;
pub use run::{Outcome, run_once};
