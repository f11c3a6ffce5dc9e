//! Small networks and data for the tests.

use std::collections::BTreeMap;

use blindfold_zoo::{BatchNorm2d, Conv2d, Layer, Network, NetworkBuilder, Normalization, Op, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::bn::{Statistics, StatisticsLoss, Target, statistics_losses};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::progress::{NoProgress, Progress, Step};
use crate::real_images::RealImages;
use crate::source::{Request, image_sources};

/// Values in `[low, high)` of the shape.
pub(crate) fn values(shape: &[usize], (low, high): (f32, f32), seed: u64) -> TensorData {
    let mut random = stream(seed, "test values");
    let count = shape.iter().product::<usize>();
    TensorData::new((0..count).map(|_| random.random_range(low..high)).collect::<Vec<f32>>(), shape.to_vec())
}

/// Images `[count, 3, 8, 8]`.
pub(crate) fn images(count: usize, seed: u64) -> Tensor<4> {
    Tensor::from_data(values(&[count, 3, 8, 8], (-1.5, 1.5), seed), &Device::flex())
}

/// A batch norm with random statistics, some scales negative.
pub(crate) fn batch_norm(name: &str, channels: usize, seed: u64) -> BatchNorm2d {
    let draw = |low, high, part: u64| values(&[channels], (low, high), 7 * seed + part);
    let mut gamma: Vec<f32> = draw(0.4, 1.5, 0).iter().collect();
    gamma[0] = -gamma[0];
    let gamma = TensorData::new(gamma, [channels]);
    BatchNorm2d::new(name, [gamma, draw(-0.5, 0.5, 1), draw(-0.5, 0.5, 2), draw(0.3, 2.0, 3)], 1e-5, &Device::flex())
}

/// Convolutions (one with a bias, one strided), a residual addition and a pre-activation batch norm, for images `[3, 8, 8]`.
pub(crate) fn small_network(seed: u64) -> Network {
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, seed);
    let norm = |builder: &mut NetworkBuilder<'_>, name: &str, input, channels, part: u64| {
        builder.push(name, &[input], Layer::BatchNorm2d(batch_norm(name, channels, 10 * seed + part)))
    };
    let conv = builder.conv("conv1", 0, [4, 3, 3], 1, 1, false);
    let bn = norm(&mut builder, "bn1", conv, 4, 1);
    let stem = builder.op("relu1", &[bn], Op::Relu);
    let weight = values(&[5, 4, 3, 3], (-0.5, 0.5), seed + 1);
    let layer = Conv2d::new("conv2", weight, Some(values(&[5], (-1.0, 1.0), seed + 2)), [2; 2], [1; 2], 1, &device);
    let conv = builder.push("conv2", &[stem], Layer::Conv2d(layer));
    let body = norm(&mut builder, "bn2", conv, 5, 2);
    let conv = builder.conv("shortcut", stem, [5, 4, 1], 2, 0, false);
    let shortcut = norm(&mut builder, "bn3", conv, 5, 3);
    let sum = builder.op("add", &[body, shortcut], Op::Add);
    let bn = norm(&mut builder, "bn4", sum, 5, 4);
    let relu = builder.op("relu2", &[bn], Op::Relu);
    let pool = builder.op("avgpool", &[relu], Op::GlobalAvgPool);
    let flat = builder.op("flatten", &[pool], Op::Flatten);
    builder.linear("linear", flat, 6, 5);
    builder.finish("small", [3, 8, 8], 6)
}

/// One 3x3 convolution and its batch norm: smooth, so that finite differences are exact to rounding.
pub(crate) fn smooth_network() -> Network {
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, 5);
    let conv = builder.conv("conv", 0, [4, 3, 3], 1, 1, false);
    let bn = builder.push("bn", &[conv], Layer::BatchNorm2d(batch_norm("bn", 4, 5)));
    let conv = builder.conv("conv2", bn, [3, 4, 3], 2, 1, false);
    let bn = builder.push("bn2", &[conv], Layer::BatchNorm2d(batch_norm("bn2", 3, 6)));
    let pool = builder.op("avgpool", &[bn], Op::GlobalAvgPool);
    builder.op("flatten", &[pool], Op::Flatten);
    builder.finish("smooth", [3, 8, 8], 3)
}

/// A network without batch norm.
pub(crate) fn plain_network() -> Network {
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, 5);
    let conv = builder.conv("conv", 0, [4, 3, 8], 1, 0, true);
    builder.op("flatten", &[conv], Op::Flatten);
    builder.finish("plain", [3, 8, 8], 4)
}

pub(crate) fn normalization() -> Normalization {
    Normalization { mean: vec![0.4, 0.5, 0.6], std: vec![0.2, 0.25, 0.3] }
}

/// Random bytes with labels that go round.
pub(crate) fn real_images(count: usize, classes: usize) -> RealImages {
    let pixels = values(&[count * 192], (0.0, 256.0), 9).iter::<f32>().map(|value| value as u8).collect();
    let labels = (0..count).map(|index| (index % classes) as u16).collect();
    RealImages::new("sample", [3, 8, 8], pixels, labels, classes).unwrap()
}

pub(crate) fn synthesize(name: &str, table: &str, teacher: &Network, seed: u64) -> Result<ImageSet, SynthError> {
    synthesize_from(name, table, teacher, seed, None)
}

pub(crate) fn synthesize_from(
    name: &str,
    table: &str,
    teacher: &Network,
    seed: u64,
    real: Option<&RealImages>,
) -> Result<ImageSet, SynthError> {
    let source = image_sources().unwrap().build(name, table.parse().unwrap()).unwrap();
    let normalization = normalization();
    source.synthesize(Request { teacher, normalization: &normalization, seed, real, progress: &mut NoProgress })
}

pub(crate) fn loss(name: &str, table: &str) -> Box<dyn StatisticsLoss> {
    statistics_losses().unwrap().build(name, table.parse().unwrap()).unwrap()
}

/// Statistics of two layers, of one and of two channels: by how much the means miss their target, and the variances, whose
/// target is 1.
pub(crate) fn statistics<const N: usize>(gaps: &[[f32; 3]; N], var: &[[f32; 3]; N]) -> Statistics {
    let device = Device::flex();
    let rows = |rows: &[[f32; 3]; N]| Tensor::<2>::from_data(TensorData::new(rows.concat(), [N, 3]), &device);
    Statistics {
        mean: rows(gaps) + 0.3,
        var: rows(var),
        target: Target {
            mean: Tensor::full([1, 3], 0.3, &device),
            var: Tensor::ones([1, 3], &device),
            layers: vec![0..1, 1..3],
            exact: false,
        },
    }
}

pub(crate) fn close(value: Tensor<1>, expected: f64, tolerance: f64) {
    let value: f64 = value.into_scalar();
    assert!((value - expected).abs() <= tolerance * (1.0 + expected.abs()), "{value} instead of {expected}");
}

/// What a source reported, an iteration an entry: its scalars by name.
pub(crate) type Trace = Vec<BTreeMap<String, f64>>;

struct Tracer(Trace);

impl Progress for Tracer {
    fn step(&mut self, step: Step<'_>) {
        assert_eq!(step.iteration, self.0.len() + 1);
        assert!(step.iteration <= step.total);
        self.0.push(step.scalars.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
    }
}

/// As [`synthesize`], with what the source reported.
pub(crate) fn traced(name: &str, table: &str, teacher: &Network, seed: u64) -> (ImageSet, Trace) {
    let source = image_sources().unwrap().build(name, table.parse().unwrap()).unwrap();
    let mut tracer = Tracer(Trace::new());
    let normalization = normalization();
    let request = Request { teacher, normalization: &normalization, seed, real: None, progress: &mut tracer };
    let images = source.synthesize(request).unwrap();
    (images, tracer.0)
}

/// The mean of a reported value over the first and over the last `count` iterations.
pub(crate) fn ends(trace: &[BTreeMap<String, f64>], name: &str, count: usize) -> (f64, f64) {
    let mean = |part: &[BTreeMap<String, f64>]| part.iter().map(|entry| entry[name]).sum::<f64>() / part.len() as f64;
    (mean(&trace[..count]), mean(&trace[trace.len() - count..]))
}

/// The teacher's mean probability of the images' labels.
pub(crate) fn probability_of_labels(teacher: &Network, images: &ImageSet) -> f64 {
    let logits = teacher.forward(images.tensor(0..images.len(), &Device::flex()));
    let labels = images.labels.as_ref().unwrap();
    crate::optimised::prior::probability_of(logits, labels).mean().into_scalar::<f32>().into()
}

/// The fault of a source's table.
pub(crate) fn fault(name: &str, table: &str) -> String {
    image_sources().unwrap().build(name, table.parse().unwrap()).err().unwrap().to_string()
}

pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// The gradient of `f` at `at`.
pub(crate) fn gradient_of<const D: usize>(at: &Tensor<D>, f: impl Fn(Tensor<D>) -> Tensor<1>) -> Vec<f64> {
    let leaf = at.clone().autodiff().require_grad();
    host(&leaf.grad(&f(leaf.clone()).backward()).unwrap())
}

/// Checks the gradient of `f` against finite differences, along a random direction and along the gradient itself.
pub(crate) fn assert_slope<const D: usize>(at: &Tensor<D>, step: f64, f: impl Fn(Tensor<D>) -> Tensor<1>) {
    let length = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let gradient = gradient_of(at, &f);
    let random: Vec<f64> = values(&at.dims(), (-1.0, 1.0), 77).iter::<f64>().collect();
    let along: Vec<f64> = gradient.iter().map(|value| value / length(&gradient) * length(&random)).collect();
    for direction in [random, along] {
        let slope: f64 = gradient.iter().zip(&direction).map(|(gradient, d)| gradient * d).sum();
        let moved = |by: f64| {
            let values = direction.iter().map(|value| (value * by) as f32).collect::<Vec<f32>>();
            let shift = Tensor::<D>::from_data(TensorData::new(values, at.dims()), &Device::flex());
            f(at.clone() + shift).into_scalar::<f32>()
        };
        let measured = f64::from(moved(step) - moved(-step)) / (2.0 * step);
        let scale = length(&gradient) * length(&direction);
        assert!((measured - slope).abs() < 5e-3 * scale, "{measured} instead of {slope} of {scale}");
    }
}

/// What `scripts/reference/optimised_images.py` computed.
pub(crate) fn optimised_reference() -> serde_json::Value {
    serde_json::from_str(include_str!("../tests/data/optimised_images.json")).unwrap()
}

pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// A tensor of the reference.
pub(crate) fn referenced<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = numbers(&optimised_reference()[name]).into_iter().map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Compares with `tolerance` times the largest of the expected values.
pub(crate) fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * largest, "{what}: {index} is {found} instead of {expected}");
    }
}
