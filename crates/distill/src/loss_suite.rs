//! What must hold for every loss of the registry.

use std::collections::BTreeSet;

use blindfold_zoo::Entry;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::loss::{BUILTIN, FeaturePair, Loss, Signals, losses};
use crate::reference::{LossCase, Reference, floats};

/// The student's logits and features are leaves, so that every loss has a gradient with respect to them.
fn signals(reference: &Reference, device: &Device) -> Signals {
    let (student, teacher) = reference.logits(device);
    let features = reference.features(device).into_iter().enumerate().map(|(index, (student, teacher))| FeaturePair {
        node: format!("node{index}"),
        student: leaf(student),
        teacher,
    });
    Signals {
        student: leaf(student),
        teacher,
        labels: Some(labels(&reference.labels, device)),
        features: features.collect(),
    }
}

fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.autodiff().require_grad()
}

fn labels(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}

fn build(entry: &Entry<dyn Loss>) -> Box<dyn Loss> {
    (entry.build)((entry.defaults)()).unwrap()
}

fn check(case: &LossCase, signals: &Signals, gradient: impl Fn(&burn::tensor::Gradients) -> Vec<f32>) {
    let loss = losses().unwrap().build(&case.name, case.options.clone()).unwrap();
    let value = loss.value(signals);
    let gradient = gradient(&value.clone().backward());
    let value = f64::from(floats(value.inner())[0]);
    let what = format!("{} {}", case.name, case.options);
    assert!((value - case.value).abs() <= 2e-5 * case.value.abs().max(1.0), "{what}: {value} is not {}", case.value);
    assert_eq!(gradient.len(), case.gradient.len(), "{what}");
    let scale = case.gradient.iter().fold(0f64, |largest, entry| largest.max(entry.abs()));
    for (index, (ours, theirs)) in gradient.iter().zip(&case.gradient).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() <= 2e-5 * scale, "{what}: gradient {index} is {ours}, not {theirs}");
    }
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let reference = Reference::load();
    let device = Device::default();
    for case in &reference.logit_case {
        let signals = signals(&reference, &device);
        check(case, &signals, |gradients| floats(signals.student.grad(gradients).unwrap()));
    }
    for case in &reference.feature_case {
        let signals = signals(&reference, &device);
        check(case, &signals, |gradients| {
            signals.features.iter().flat_map(|pair| floats(pair.student.grad(gradients).unwrap())).collect()
        });
    }
    let covered: BTreeSet<&str> =
        reference.logit_case.iter().chain(&reference.feature_case).map(|case| case.name.as_str()).collect();
    assert_eq!(covered, BUILTIN.iter().map(|entry| entry.name).collect(), "every loss has reference values");
}

/// `(L(x + h d) - L(x - h d)) / 2h = <grad L, d>` with `d` the gradient's own sign pattern.
#[test]
fn gradients_are_finite_differences() {
    let reference = Reference::load();
    let device = Device::default();
    let step = 1e-2;
    for entry in BUILTIN {
        let loss = build(entry);
        let base = signals(&reference, &device);
        let gradients = loss.value(&base).backward();
        let logit = base.student.grad(&gradients);
        let features: Vec<Option<Tensor<4>>> = base.features.iter().map(|pair| pair.student.grad(&gradients)).collect();
        let slope = logit
            .iter()
            .map(|g| floats(g.clone().abs()))
            .chain(features.iter().flatten().map(|g| floats(g.clone().abs())));
        let slope: f64 = slope.flatten().map(f64::from).sum();
        let moved = |by: f64| {
            let mut signals = signals(&reference, &device);
            if let Some(gradient) = &logit {
                signals.student = signals.student + gradient.clone().sign().mul_scalar(by);
            }
            for (pair, gradient) in signals.features.iter_mut().zip(&features) {
                if let Some(gradient) = gradient {
                    pair.student = pair.student.clone() + gradient.clone().sign().mul_scalar(by);
                }
            }
            f64::from(floats(loss.value(&signals).inner())[0])
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((difference - slope).abs() < 1e-2 * slope, "{}: {difference} is not {slope}", entry.name);
    }
}

#[test]
fn distances_are_zero_between_a_network_and_itself() {
    let reference = Reference::load();
    for entry in BUILTIN.iter().filter(|entry| entry.name != "cross-entropy") {
        let mut signals = signals(&reference, &Device::default());
        signals.teacher = signals.student.clone();
        for pair in &mut signals.features {
            pair.teacher = pair.student.clone();
        }
        let value = floats(build(entry).value(&signals).inner())[0];
        assert!(value.abs() < 1e-6, "{}: {value}", entry.name);
    }
}

#[test]
fn the_order_of_the_batch_does_not_matter() {
    let reference = Reference::load();
    let device = Device::default();
    let base = signals(&reference, &device);
    let order = |indices: &[i32]| Tensor::<1, Int>::from_ints(indices, &device);
    let mut permuted = base.clone();
    permuted.student = base.student.clone().inner().select(0, order(&[2, 0, 3, 1]));
    permuted.teacher = base.teacher.clone().select(0, order(&[2, 0, 3, 1]));
    permuted.labels = base.labels.clone().map(|labels| labels.select(0, order(&[2, 0, 3, 1])));
    for pair in &mut permuted.features {
        pair.student = pair.student.clone().inner().select(0, order(&[1, 2, 0]));
        pair.teacher = pair.teacher.clone().select(0, order(&[1, 2, 0]));
    }
    for entry in BUILTIN {
        let loss = build(entry);
        let (value, other) = (floats(loss.value(&base).inner())[0], floats(loss.value(&permuted))[0]);
        assert!((value - other).abs() <= 1e-5 * value.abs(), "{}: {value} and {other}", entry.name);
    }
}

#[test]
fn every_entry_is_documented_and_its_defaults_survive_a_round_trip() {
    for entry in BUILTIN {
        assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{}", entry.name);
        let defaults = (entry.defaults)();
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(defaults, text.parse().unwrap(), "{}", entry.name);
        (entry.build)(defaults).unwrap();
        (entry.build)(toml::Table::new()).unwrap();
        let error = (entry.build)(toml::toml! { no_such_option = 1 }).unwrap_err();
        assert!(error.to_string().contains("no_such_option"), "{error}");
    }
}

#[test]
fn the_table_holds_every_file_of_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/loss");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-"))
        .filter(|stem| stem != "mod")
        .collect();
    assert_eq!(files, BUILTIN.iter().map(|entry| entry.name.to_owned()).collect());
}
