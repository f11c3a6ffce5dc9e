//! What PyTorch makes of the losses that look at the images, for the tests; written by
//! `scripts/reference/image_losses.py`.

use blindfold_zoo::{Layer, Network, NetworkBuilder, Op};
use burn::module::Param;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::Deserialize;

use crate::loss::Signals;
use crate::network_pair::{NetworkPair, signals_of};
use crate::reference::floats;

/// `tests/data/image_losses.json`: images and labels, all parameters of both networks, and the cases.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageReference {
    images: Vec<f32>,
    labels: Vec<i32>,
    student: Vec<f32>,
    teacher: Vec<f32>,
    cases: Vec<ImageCase>,
}

/// A loss with its options, what it drew at random, its value and its gradient with respect to all parameters of the
/// student.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageCase {
    name: String,
    pub(crate) options: toml::Table,
    /// Quarter turns of each image.
    #[serde(default)]
    pub(crate) turns: Vec<usize>,
    /// Masked patches of each image.
    #[serde(default)]
    pub(crate) masked: Vec<Vec<usize>>,
    /// Pixels down, pixels right, and whether it is mirrored: of each image that the student reads.
    #[serde(default)]
    pub(crate) student_moves: Vec<(isize, isize, bool)>,
    /// The same of each image that the teacher reads.
    #[serde(default)]
    pub(crate) teacher_moves: Vec<(isize, isize, bool)>,
    value: f64,
    gradient: Vec<f64>,
}

/// Half the distance between the two places of the difference quotient.
const STEP: f32 = 1e-3;

impl ImageReference {
    pub(crate) fn load() -> Self {
        serde_json::from_str(include_str!("../tests/data/image_losses.json")).unwrap()
    }

    /// Asserts that `value` gives PyTorch's value and gradient in every case of the loss `name`, and that the
    /// gradient's slope is that of a difference quotient.
    pub(crate) fn check(&self, name: &str, value: impl Fn(&ImageCase, &Signals<'_>) -> Tensor<1>) {
        let cases: Vec<&ImageCase> = self.cases.iter().filter(|case| case.name == name).collect();
        assert!(!cases.is_empty(), "{name} has no cases");
        for case in cases {
            let what = format!("{name} {}", case.options);
            let (found, gradient) = self.evaluate(&self.student, |signals| value(case, signals));
            assert!((found - case.value).abs() <= 1e-4 * case.value.abs(), "{what}: {found} is not {}", case.value);
            assert_eq!(gradient.len(), case.gradient.len(), "{what}");
            let scale = case.gradient.iter().fold(0f64, |largest, entry| largest.max(entry.abs()));
            for (index, (ours, theirs)) in gradient.iter().zip(&case.gradient).enumerate() {
                let difference = (f64::from(*ours) - theirs).abs();
                assert!(difference <= 1e-4 * scale, "{what}: gradient {index} is {ours}, not {theirs}");
            }
            let moved = |by: f32| {
                let student: Vec<f32> = self
                    .student
                    .iter()
                    .zip(&gradient)
                    .map(|(parameter, slope)| if *slope == 0.0 { *parameter } else { parameter + by * slope.signum() })
                    .collect();
                self.evaluate(&student, |signals| value(case, signals)).0
            };
            let quotient = (moved(STEP) - moved(-STEP)) / (2.0 * f64::from(STEP));
            let slope: f64 = gradient.iter().map(|entry| f64::from(entry.abs())).sum();
            assert!((quotient - slope).abs() < 1e-2 * slope, "{what}: {quotient} is not {slope}");
        }
    }

    fn evaluate(&self, student: &[f32], value: impl Fn(&Signals<'_>) -> Tensor<1>) -> (f64, Vec<f32>) {
        let device = Device::default();
        let pair = NetworkPair {
            student: network(student, &device).trainable(),
            teacher: network(&self.teacher, &device),
            nodes: vec!["relu".to_owned()],
        };
        let images = TensorData::new(self.images.clone(), [4, 3, 8, 8]);
        let labels = TensorData::new(self.labels.clone(), [4]);
        let signals = Signals {
            labels: Some(Tensor::from_data(labels, &device)),
            ..signals_of(&pair, Tensor::from_data(images, &device))
        };
        let value = value(&signals);
        let gradients = value.backward();
        (f64::from(floats(value.inner())[0]), gradient(&pair.student, &gradients))
    }
}

/// Convolution, ReLU, average pooling in four windows, linear layer; `values` are all parameters in node order.
fn network(values: &[f32], device: &Device) -> Network {
    let mut graph = NetworkBuilder::new(device, 0);
    let conv = graph.conv("conv", 0, [4, 3, 3], 1, 1, true);
    graph.op("relu", &[conv], Op::Relu);
    graph.block("block", conv, 0);
    graph.op("pool", &[graph.last()], Op::AvgPool { kernel: 4, stride: 4, padding: 0 });
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), 5, 16);
    let network = graph.finish("reference", [3, 8, 8], 5);
    let mut rest = values;
    let mut state = Vec::new();
    for (name, data) in network.state() {
        let (values, others) = rest.split_at(data.num_elements());
        state.push((name, TensorData::new(values.to_vec(), data.shape().clone())));
        rest = others;
    }
    assert!(rest.is_empty());
    network.with_state(state).unwrap()
}

/// With respect to all parameters in node order; zeros where a loss does not depend on one.
fn gradient(network: &Network, gradients: &Gradients) -> Vec<f32> {
    fn of<const D: usize>(parameter: &Param<Tensor<D>>, gradients: &Gradients) -> Vec<f32> {
        let value = parameter.val();
        let size = value.dims().iter().product();
        value.grad(gradients).map_or_else(|| vec![0.0; size], floats)
    }
    let mut values = Vec::new();
    for node in network.nodes() {
        let (weight, bias) = match &node.layer {
            Layer::Conv2d(conv) => (of(&conv.weight, gradients), &conv.bias),
            Layer::Linear(linear) => (of(&linear.weight, gradients), &linear.bias),
            _ => continue,
        };
        values.extend(weight);
        values.extend(bias.iter().flat_map(|bias| of(bias, gradients)));
    }
    values
}
