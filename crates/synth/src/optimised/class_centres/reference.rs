//! `tests/data/class_losses.json`: what PyTorch computed in double precision, and how a term is held against it.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use crate::sample::numbers;

pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/class_losses.json")).unwrap()
}

/// A flat list of the file in a shape.
pub(crate) fn tensor<const D: usize>(value: &Value, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = numbers(value).into_iter().map(|number| number as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

pub(crate) fn labels(reference: &Value) -> Vec<u32> {
    numbers(&reference["labels"]).into_iter().map(|label| label as u32).collect()
}

/// Holds `term` at `at` against the value and the gradient of `case`, and its slope against finite differences.
pub(crate) fn check<const D: usize>(what: &str, case: &Value, at: Tensor<D>, term: impl Fn(Tensor<D>) -> Tensor<1>) {
    let leaf = at.clone().autodiff().require_grad();
    let value = term(leaf.clone());
    let gradient = leaf.grad(&value.clone().backward()).unwrap();
    let number = |value: Tensor<1>| f64::from(value.into_scalar::<f32>());
    let (value, expected) = (number(value.inner()), case["value"].as_f64().unwrap());
    assert!((value - expected).abs() <= 2e-5 * expected.abs(), "{what}: {value} instead of {expected}");
    let theirs = numbers(&case["gradient"]);
    let scale = theirs.iter().fold(0.0f64, |largest, entry| largest.max(entry.abs()));
    let ours: Vec<f64> = gradient.to_data().iter::<f64>().collect();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() <= 5e-5 * scale, "{what}: gradient {index} is {ours}, not {theirs}");
    }
    let slope: f64 = ours.iter().map(|entry| entry.abs()).sum();
    let step = 2e-3;
    let moved = |by: f64| number(term(at.clone() + gradient.clone().sign() * by));
    let measured = (moved(step) - moved(-step)) / (2.0 * step);
    assert!((measured - slope).abs() <= 1e-2 * slope, "{what}: {measured} is not {slope}");
}
