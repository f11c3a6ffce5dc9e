//! Class activation maps: a map by hand, PyTorch's values, refusals.

use blindfold_zoo::NetworkBuilder;
use burn::tensor::{Device, TensorData};

use super::*;
use crate::image_reference::ImageReference;
use crate::loss::{FeaturePair, Head, Pair, View};
use crate::reference::floats;

fn grad_cam(target: CamTarget, normalise: CamNorm) -> GradCam {
    GradCam::new(GradCamConfig { target, normalise, nodes: Vec::new() })
}

#[test]
fn values_and_gradients_are_pytorchs() {
    ImageReference::load()
        .check("grad-cam", |case, signals| GradCam::new(parse(case.options.clone()).unwrap()).value(signals));
}

/// Weights alone.
struct Heads {
    student: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
}

fn weight(rows: &[Vec<f32>]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), &Device::default())
}

impl Pair for Heads {
    fn student(&self, _images: Tensor<4>) -> View {
        unreachable!("this loss shows no other images")
    }

    fn teacher(&self, _images: Tensor<4>) -> View {
        unreachable!("this loss shows no other images")
    }

    fn head(&self) -> Option<Head> {
        Some(Head { student: weight(&self.student), teacher: weight(&self.teacher) })
    }
}

/// One image, the same map of two channels on both sides; the teacher finds the class 1, the label is 0.
fn signals(heads: &Heads) -> Signals<'_> {
    let device = Device::default();
    let map = Tensor::<4>::from_floats([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [0.0, 0.0]]]], &device);
    let logits = Tensor::<2>::from_floats([[0.0, 5.0]], &device);
    Signals {
        labels: Some(Tensor::from_ints([0], &device)),
        features: vec![FeaturePair { node: "map".into(), student: map.clone(), teacher: map }],
        networks: Some(heads),
        ..Signals::of_logits(logits.clone(), logits)
    }
}

fn value(loss: &GradCam, heads: &Heads) -> f64 {
    f64::from(floats(loss.value(&signals(heads)))[0])
}

/// Class 1: student `relu([1, -3, 0, 2]) / 4`, teacher `[1, 3, 0, 2] / 4`. Class 0: both `[2, 0, 0, 4] / 4`.
#[test]
fn the_maps_of_a_hand_made_network() {
    let heads = Heads { student: vec![vec![2.0, 0.0], vec![1.0, -1.0]], teacher: vec![vec![2.0, 0.0], vec![1.0, 1.0]] };
    for (normalise, expected) in [
        (CamNorm::None, 0.75f64.powi(2) / 4.0),
        (CamNorm::Max, ((0.5 - 1.0 / 3.0f64).powi(2) + 1.0 + (1.0 - 2.0 / 3.0f64).powi(2)) / 4.0),
        (CamNorm::L2, (2.0 - 2.0 * 5.0 / (5.0f64 * 14.0).sqrt()) / 4.0),
    ] {
        let found = value(&grad_cam(CamTarget::TeacherArgmax, normalise), &heads);
        assert!((found - expected).abs() < 1e-6, "{normalise:?}: {found} is not {expected}");
        assert!(value(&grad_cam(CamTarget::Label, normalise), &heads).abs() < 1e-12, "{normalise:?}");
    }
}

/// Where pooling leaves several positions, their weights add up: `[0.25, 0.75]` of each of four positions is `[1, 3]`.
#[test]
fn the_weights_of_all_pooled_positions_count() {
    let spread = Heads {
        student: vec![vec![0.0; 8], vec![0.25, 0.25, 0.25, 0.25, 0.5, 1.0, 0.5, 1.0]],
        teacher: vec![vec![0.0; 2], vec![1.0, 3.0]],
    };
    assert!(value(&grad_cam(CamTarget::TeacherArgmax, CamNorm::None), &spread).abs() < 1e-12);
}

#[test]
fn a_map_of_zeros_has_a_finite_gradient() {
    for normalise in [CamNorm::L2, CamNorm::Max, CamNorm::None] {
        let heads = Heads { student: vec![vec![1.0, 1.0]; 2], teacher: vec![vec![1.0, 1.0]; 2] };
        let mut signals = signals(&heads);
        let dead = Tensor::<4>::zeros([1, 2, 2, 2], &Device::default()).autodiff().require_grad();
        signals.features[0].student = dead.clone();
        let value = grad_cam(CamTarget::TeacherArgmax, normalise).value(&signals);
        let gradient = floats(dead.grad(&value.backward()).unwrap());
        assert!(gradient.iter().all(|entry| *entry == 0.0), "{normalise:?}: {gradient:?}");
    }
}

#[test]
fn only_the_target_label_needs_labels() {
    assert!(grad_cam(CamTarget::Label, CamNorm::L2).needs_labels());
    assert!(!grad_cam(CamTarget::TeacherArgmax, CamNorm::L2).needs_labels());
}

/// Convolution, ReLU, what `tail` adds, linear layer.
fn network(tail: &[(&str, Op)]) -> Network {
    let device = Device::default();
    let mut graph = NetworkBuilder::new(&device, 1);
    graph.conv("conv", 0, [4, 3, 3], 1, 1, true);
    graph.op("relu", &[graph.last()], Op::Relu);
    for &(name, op) in tail {
        graph.op(name, &[graph.last()], op);
    }
    graph.linear("linear", graph.last(), 5, 4);
    graph.finish("tailed", [3, 8, 8], 5)
}

#[test]
fn only_a_map_before_pooling_and_one_linear_layer_fits() {
    let loss = grad_cam(CamTarget::TeacherArgmax, CamNorm::L2);
    let check = |tail: &[(&str, Op)], node: &str| loss.check(&network(tail), &[node.to_owned()]);
    let global = ("pool", Op::GlobalAvgPool);
    check(&[global, ("flatten", Op::Flatten)], "relu").unwrap();
    check(&[("pool", Op::AvgPool { kernel: 8, stride: 8, padding: 0 })], "relu").unwrap();
    let message = check(&[("relu2", Op::Relu), global], "relu").unwrap_err().to_string();
    assert!(message.contains("`nodes`: `relu`") && message.contains("nodes = [\"relu2\"]"), "{message}");
    for tail in [
        vec![("pool", Op::MaxPool { kernel: 8, stride: 8, padding: 0 })],
        vec![("pool", Op::AvgPool { kernel: 8, stride: 8, padding: 1 })],
        vec![global, ("relu2", Op::Relu)],
        vec![],
    ] {
        let message = check(&tail, "relu").unwrap_err().to_string();
        assert!(message.contains("`nodes`") && message.contains("needs average pooling"), "{message}");
    }
    let two = loss.check(&network(&[global]), &["conv".to_owned(), "relu".to_owned()]).unwrap_err().to_string();
    assert!(two.contains("`conv`, `relu`"), "{two}");
}
