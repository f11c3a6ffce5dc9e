//! What several losses are made of.

mod checks;
mod entropy;
mod nodes;
mod one_hot;
mod pooled;

pub(crate) use checks::{non_negative, positive};
pub(crate) use entropy::{entropies, entropy_of_mean, log_distribution};
pub(crate) use nodes::{mean_over_nodes, sum_over_nodes};
pub(crate) use one_hot::one_hot;
pub(crate) use pooled::{pooled, unit_along, unit_rows};
