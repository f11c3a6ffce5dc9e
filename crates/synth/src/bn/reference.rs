//! `tests/data/statistics_losses.json`: what PyTorch computed in double precision of small arrays, without a network.

use burn::tensor::Tensor;
use serde_json::Value;

use super::{Sampling, Statistics, Target};
use crate::optimised::class_centres::reference::{check, tensor};
use crate::sample::loss;

pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/data/statistics_losses.json")).unwrap()
}

/// What two batch norms read, of two and of three channels, side by side: `[image, channel, height, width]`.
pub(crate) fn activations(reference: &Value) -> Tensor<4> {
    tensor(&reference["activations"], [3, 5, 4, 3])
}

/// The statistics of these activations, with the running ones of the file as their target.
pub(crate) fn statistics(reference: &Value, activations: Tensor<4>, sampling: Sampling) -> Statistics {
    let row = |key: &str| tensor::<2>(&reference[key], [1, 5]);
    let target = Target { mean: row("mean"), var: row("var"), layers: vec![0..2, 2..5], exact: false };
    Statistics { target, ..Statistics::of_images(activations, sampling) }
}

#[test]
fn every_loss_is_that_of_pytorch() {
    let reference = reference();
    for entry in super::BUILTIN_LOSSES {
        let loss = loss(entry.name, "");
        check(entry.name, &reference[entry.name], activations(&reference), |x| {
            loss.evaluate(&statistics(&reference, x, loss.sampling()), 3)
        });
    }
}

#[test]
fn the_input_terms_that_the_sources_have_are_those_of_pytorch() {
    let reference = reference();
    for name in ["mean-std-per-image", "mean-std-per-channel"] {
        let loss = loss(name, "");
        check(name, &reference[format!("input {name}")], activations(&reference), |x| {
            loss.evaluate_input(&Statistics::of_images(x, loss.input_sampling()), 3)
        });
    }
}
