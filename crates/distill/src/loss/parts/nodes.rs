//! One value from the terms of many nodes.

use burn::tensor::Tensor;

use crate::loss::{FeaturePair, Signals};

/// The sum of a term over the nodes that the loss asked for, `[1]`.
pub(crate) fn sum_over_nodes(signals: &Signals<'_>, term: impl Fn(&FeaturePair) -> Tensor<1>) -> Tensor<1> {
    let terms = signals.features.iter().map(term);
    terms.reduce(|sum, term| sum + term).expect("the trainer refuses a loss whose patterns match no node")
}

/// The mean of a term over the nodes that the loss asked for, `[1]`.
pub(crate) fn mean_over_nodes(signals: &Signals<'_>, term: impl Fn(&FeaturePair) -> Tensor<1>) -> Tensor<1> {
    sum_over_nodes(signals, term).div_scalar(signals.features.len() as f64)
}
