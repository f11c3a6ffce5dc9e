//! What the tests of the adversarial generators share: `tests/data/generator_losses.json`, which PyTorch computed in
//! double precision, and the losses of images that run through two small networks.

use std::collections::BTreeSet;

use blindfold_zoo::{Entry, FeatureTap, Layer, Network, NetworkBuilder, Op, Taps};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde_json::Value;

use crate::bn::{ObservedNetwork, Sampling, Statistics, StatisticsTap, Target};
use crate::generator::{GeneratorMethod, GeneratorTerm, GeneratorView, StudentView};
use crate::optimised::one_hot;
use crate::sample::{batch_norm, images, values};

const BATCH: Sampling = Sampling { per_image: false, unbiased: false };

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/generator_losses.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// A tracked leaf of these values.
fn leaf<const D: usize>(values: &Value, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = numbers(values).into_iter().map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex()).autodiff().require_grad()
}

/// What the images reach a loss through, each a leaf.
struct Inputs {
    two: Vec<(&'static str, Tensor<2>)>,
    teacher_features: Vec<Tensor<4>>,
    student_features: Vec<Tensor<4>>,
}

impl Inputs {
    fn of(reference: &Value) -> Self {
        let inputs = &reference["inputs"];
        let shape = |name: &str| -> Vec<usize> {
            numbers(&inputs[name]["shape"]).into_iter().map(|size| size as usize).collect()
        };
        let matrix = |name: &'static str| {
            let shape = match shape(name)[..] {
                [rows, columns] => [rows, columns],
                [columns] => [1, columns],
                ref other => panic!("{name} has the shape {other:?}"),
            };
            (name, leaf(&inputs[name]["values"], shape))
        };
        let features = |side: &str| -> Vec<Tensor<4>> {
            let of_block = |index: usize| {
                let name = format!("{side}_feature_{index}");
                let shape: [usize; 4] = shape(&name).try_into().unwrap();
                leaf(&inputs[name.as_str()]["values"], shape)
            };
            (0..3).map(of_block).collect()
        };
        Self {
            two: ["teacher", "student", "last_features", "mean", "var"].map(matrix).to_vec(),
            teacher_features: features("teacher"),
            student_features: features("student"),
        }
    }

    fn get(&self, name: &str) -> Tensor<2> {
        self.two.iter().find(|(other, _)| *other == name).unwrap().1.clone()
    }

    fn gradients(&self, gradients: &Gradients) -> Vec<(String, Vec<f64>)> {
        fn of<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
            leaf.grad(gradients).map_or_else(Vec::new, host)
        }
        let mut all: Vec<(String, Vec<f64>)> =
            self.two.iter().map(|(name, leaf)| ((*name).to_owned(), of(leaf, gradients))).collect();
        for (side, features) in [("teacher", &self.teacher_features), ("student", &self.student_features)] {
            for (index, leaf) in features.iter().enumerate() {
                all.push((format!("{side}_feature_{index}"), of(leaf, gradients)));
            }
        }
        all
    }

    fn terms(&self, reference: &Value, method: &dyn GeneratorMethod) -> Vec<GeneratorTerm> {
        let row = |name: &str| {
            let values = &reference[name];
            leaf(values, [1, values.as_array().unwrap().len()]).inner()
        };
        let mut layers = Vec::new();
        for channels in numbers(&reference["layers"]) {
            let start = layers.last().map_or(0, |last: &std::ops::Range<usize>| last.end);
            layers.push(start..start + channels as usize);
        }
        let target = Target { mean: row("target_mean"), var: row("target_var"), layers, exact: false };
        let statistics = Statistics { mean: self.get("mean"), var: self.get("var"), target };
        let labels: Vec<u32> = numbers(&reference["labels"]).into_iter().map(|label| label as u32).collect();
        method.terms(&GeneratorView {
            images: images(labels.len(), 1),
            targets: Some(one_hot(&labels, 5, &Device::flex())),
            teacher: self.get("teacher"),
            statistics: &statistics,
            teacher_features: &self.teacher_features,
            last_features: self.get("last_features"),
            student: Some(StudentView { logits: self.get("student"), features: self.student_features.clone() }),
        })
    }
}

fn sum(terms: Vec<GeneratorTerm>) -> Tensor<1> {
    terms.into_iter().map(|term| term.value.mul_scalar(term.weight)).reduce(|sum, term| sum + term).unwrap()
}

/// Each term, the weighted sum and its gradients are those of every case that the file has of this member.
pub(in crate::generator) fn assert_pytorchs_values(entry: &Entry<dyn GeneratorMethod>) {
    let reference = reference();
    let all = reference["cases"].as_array().unwrap();
    let cases: Vec<&Value> = all.iter().filter(|case| case["method"] == entry.name).collect();
    assert!(cases.len() >= 2, "{} has no reference", entry.name);
    for case in cases {
        let options = case["options"].as_str().unwrap();
        let method = (entry.build)(options.parse().unwrap()).unwrap();
        let inputs = Inputs::of(&reference);
        let terms = inputs.terms(&reference, method.as_ref());
        let expected = case["terms"].as_object().unwrap();
        let names: BTreeSet<&str> = terms.iter().map(|term| term.name).collect();
        assert_eq!(names, expected.keys().map(String::as_str).collect(), "{}", entry.name);
        for term in &terms {
            let (value, expected) = (host(term.value.clone())[0], expected[term.name].as_f64().unwrap());
            assert!((value - expected).abs() < 2e-5 * expected.abs().max(1.0), "{}: {value}, {expected}", term.name);
        }
        let loss = sum(terms);
        let gradients = loss.backward();
        let (loss, expected) = (host(loss)[0], case["loss"].as_f64().unwrap());
        assert!((loss - expected).abs() < 2e-5 * expected.abs().max(1.0), "{options}: {loss}, {expected}");
        for (name, found) in inputs.gradients(&gradients) {
            let Some(expected) = case["gradients"].get(&name).map(numbers) else {
                assert!(found.iter().all(|value| *value == 0.0), "{}: {name} has a gradient", entry.name);
                continue;
            };
            assert_eq!(found.len(), expected.len(), "{}: {name}", entry.name);
            let scale = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 2e-5 * scale, "{}: {name}: {found}, {expected}", entry.name);
            }
        }
    }
}

/// Two convolutions with batch norms, a pool and a linear layer, for images `[3, 8, 8]`: smooth all the way.
fn network(seed: u64) -> Network {
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, seed);
    let conv = builder.conv("conv1", 0, [4, 3, 3], 1, 1, false);
    let bn = builder.push("bn1", &[conv], Layer::BatchNorm2d(batch_norm("bn1", 4, 10 * seed + 1)));
    let conv = builder.conv("conv2", bn, [3, 4, 3], 2, 1, false);
    let bn = builder.push("bn2", &[conv], Layer::BatchNorm2d(batch_norm("bn2", 3, 10 * seed + 2)));
    let pool = builder.op("avgpool", &[bn], Op::GlobalAvgPool);
    let flat = builder.op("flatten", &[pool], Op::Flatten);
    builder.linear("linear", flat, 5, 3);
    builder.finish("smooth", [3, 8, 8], 5)
}

fn loss(images: Tensor<4>, method: &dyn GeneratorMethod, seed: u64) -> Tensor<1> {
    let [count, ..] = images.dims();
    let observed = ObservedNetwork::new(&network(seed), false).unwrap();
    let mut statistics = StatisticsTap::new(&observed, BATCH);
    let mut features = FeatureTap::new(["bn2".to_owned(), "flatten".to_owned()]);
    let teacher = observed.network().run(images.clone(), &mut Taps(vec![&mut statistics, &mut features]));
    let mut seen = FeatureTap::new(["bn2".to_owned()]);
    let student = network(seed + 100).run(images.clone(), &mut seen);
    let labels: Vec<u32> = (0..count as u32).map(|image| image % 5).collect();
    sum(method.terms(&GeneratorView {
        images,
        targets: Some(one_hot(&labels, 5, &Device::flex())),
        teacher,
        statistics: &statistics.statistics().unwrap(),
        teacher_features: std::slice::from_ref(&features.features["bn2"]),
        last_features: features.features["flatten"].clone().reshape([count, 3]),
        student: Some(StudentView { logits: student, features: vec![seen.features["bn2"].clone()] }),
    }))
}

/// `(L(x + h d) - L(x - h d)) / 2h = <grad L, d>` for the images x, with `d` along the gradient and at random.
///
/// Absolute values and hinges have kinks, and one of the four batches may lie on one.
pub(in crate::generator) fn assert_gradient_towards_images(entry: &Entry<dyn GeneratorMethod>) {
    let method = (entry.build)((entry.defaults)()).unwrap();
    let step = 1e-3;
    let mut errors: Vec<f64> = (1..5)
        .map(|seed| {
            let at = images(4, seed);
            let leaf = at.clone().autodiff().require_grad();
            let gradient = leaf.grad(&loss(leaf.clone(), method.as_ref(), seed).backward()).unwrap();
            let length = host(gradient.clone()).iter().map(|value| value * value).sum::<f64>().sqrt();
            let own = gradient.clone() / length * 4.0;
            let random = Tensor::<4>::from_data(values(&[4, 3, 8, 8], (-0.3, 0.3), seed), &Device::flex());
            let error = |direction: Tensor<4>| {
                let slope: f64 = host(gradient.clone() * direction.clone()).iter().sum();
                let moved = |by: f64| host(loss(at.clone() + direction.clone() * by, method.as_ref(), seed))[0];
                let measured = (moved(step) - moved(-step)) / (2.0 * step);
                (measured - slope).abs() / (4.0 * length)
            };
            error(own.clone()).max(error(own + random))
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors[2] < 3e-2, "{}: {errors:?}", entry.name);
}

/// The options and the start of the message of each fault.
pub(in crate::generator) fn assert_faults(entry: &Entry<dyn GeneratorMethod>, faults: &[(&str, &str)]) {
    for (options, message) in faults {
        let error = (entry.build)(options.parse().unwrap()).err().unwrap().to_string();
        assert!(error.contains(message), "{options}: {error}");
    }
}
