use super::super::Silent;
use super::*;
use crate::families::Families;
use crate::plan::{LayerOverride, Plan, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::testing::{images, plain, small};

fn step(lambda1: f64, lambda2: f64, recompute_statistics: bool) -> DfMpc {
    DfMpc::new(DfMpcConfig { lambda1, lambda2, recompute_statistics }).unwrap()
}

/// The first convolution of each block at 2 bits, the others at 8.
fn student(protocol: Protocol, second: Precision) -> QuantizedNetwork {
    let network = small(2);
    let mut low = LayerOverride::new("layer?.0.conv1");
    low.weight_bits = Some(Precision::Int(2));
    let mut high = LayerOverride::new("layer?.0.conv2");
    high.weight_bits = Some(second);
    let config = QuantConfig { protocol, layer: vec![low, high], ..Default::default() };
    let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
    QuantizedNetwork::with_weights(network, plan).unwrap()
}

fn fit(step: &DfMpc, student: &QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
    let teacher = student.network.clone();
    let images = images(&teacher, 1, 1);
    let request = FitRequest { teacher: &teacher, images: &images, seed: 1, progress: &mut Silent };
    step.fit(request, student.clone())
}

fn weight(network: &QuantizedNetwork, name: &str) -> Vec<f32> {
    host_values(network.network.node(network.network.find(name).unwrap()).layer.weight().unwrap())
}

fn quantized(network: &QuantizedNetwork, name: &str) -> Vec<f32> {
    let layers = network.weight_tensors().unwrap();
    layers.iter().find(|layer| layer.name == name).unwrap().quantized().unwrap()
}

fn norm(network: &QuantizedNetwork, name: &str) -> Statistics {
    match &network.network.node(network.network.find(name).unwrap()).layer {
        Layer::BatchNorm2d(norm) => Statistics::of(norm),
        other => panic!("{}", other.kind()),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn the_coefficient_minimises_the_objective() {
    let (w, q) = ([0.3f32, -0.8, 0.5, 0.1], [0.5f32, -0.5, 0.5, 0.0]);
    let between = Between { gamma: 1.3, beta: 0.4, mean: -0.2, deviation: 0.7 };
    for (lambda1, lambda2) in [(0.0, 0.0), (0.5, 0.0), (0.5, 0.1), (3.0, 2.0)] {
        for recompute in [true, false] {
            for between in [Some(between), None] {
                let found = step(lambda1, lambda2, recompute).compensate(&w, &q, between, 0.6);
                let (gain, gain_q, shift, shift_q) = match between {
                    None => (1.0, 1.0, 0.6, 0.6),
                    Some(Between { gamma, beta, mean, deviation }) => {
                        let (gain, gain_q) = (gamma / deviation, gamma / (deviation * found.deviation));
                        (gain, gain_q, beta - gain * mean, beta - gain_q * mean * found.mean)
                    }
                };
                let objective = |c: f64| {
                    let error = |(w, q): (&f32, &f32)| c * gain_q * f64::from(*q) - gain * f64::from(*w);
                    let weights: f64 = w.iter().zip(&q).map(|pair| error(pair).powi(2)).sum();
                    weights + lambda1 * (c * shift_q - shift).powi(2) + lambda2 * c * c
                };
                let (c, least) = (found.coefficient, objective(found.coefficient));
                assert!(objective(c + 1e-3) > least && objective(c - 1e-3) > least, "{lambda1} {lambda2}: {c}");
                // The objective is a parabola: the two differences are equal at its vertex alone.
                assert!((objective(c + 1.0) - objective(c - 1.0)).abs() < 1e-9, "{lambda1} {lambda2}: {c}");
            }
        }
    }
}

#[test]
fn without_lambdas_it_is_the_cosine_or_the_least_squares_factor() {
    let (w, q) = ([0.3f32, -0.8, 0.5, 0.1], [0.5f32, -0.5, 0.5, 0.0]);
    let between = Some(Between { gamma: -2.0, beta: 0.4, mean: 5.0, deviation: 0.7 });
    // <w^, w> = 0.8, |w^|^2 = 0.75, |w|^2 = 0.99.
    let cosine = step(0.0, 0.0, true).compensate(&w, &q, between, 0.0);
    assert!((cosine.coefficient - 0.8 / (0.75f64 * 0.99).sqrt()).abs() < 1e-6);
    assert!((cosine.mean - 0.8 / 0.99).abs() < 1e-6 && (cosine.deviation - (0.75f64 / 0.99).sqrt()).abs() < 1e-6);
    for between in [between, None] {
        let factor = step(0.0, 0.0, false).compensate(&w, &q, between, 0.0);
        assert!((factor.coefficient - 0.8 / 0.75).abs() < 1e-6);
        assert_eq!((factor.mean, factor.deviation), (1.0, 1.0));
    }
}

#[test]
fn weights_quantized_to_a_multiple_are_made_up_for_entirely() {
    let (w, q) = ([0.3f32, -0.8, 0.5], [0.6f32, -1.6, 1.0]);
    let between = Some(Between { gamma: 1.3, beta: 0.4, mean: -0.2, deviation: 0.7 });
    let recomputed = step(0.5, 0.0, true).compensate(&w, &q, between, 0.0);
    assert!((recomputed.coefficient - 1.0).abs() < 1e-6, "the batch norm does it");
    assert!((recomputed.mean - 2.0).abs() < 1e-6 && (recomputed.deviation - 2.0).abs() < 1e-6);
    assert!((step(0.0, 0.0, true).compensate(&w, &q, None, 0.0).coefficient - 0.5).abs() < 1e-6);
}

#[test]
fn channels_without_weights_and_opposite_ones_are_defined() {
    let zero = step(0.5, 0.0, true).compensate(&[0.0; 3], &[0.0; 3], None, 0.2);
    assert_eq!((zero.coefficient, zero.mean, zero.deviation), (1.0, 1.0, 1.0));
    let lost = step(0.0, 0.0, false).compensate(&[0.1, 0.0], &[0.0; 2], None, 0.0);
    assert_eq!(lost.coefficient, 1.0);
    let opposite = step(0.0, 0.0, false).compensate(&[1.0], &[-1.0], None, 0.0);
    assert_eq!(opposite.coefficient, 0.0);
}

#[test]
fn pairs_lie_within_blocks_and_do_not_overlap() {
    for folded in [false, true] {
        let network = if folded { blindfold_zoo::fold_batch_norms(small(1)) } else { small(1) };
        let names: Vec<[&str; 2]> = pairs(&network, |_| true)
            .iter()
            .map(|pair| [pair.first, pair.second].map(|id| network.node(id).name.as_str()))
            .collect();
        let blocks = [["layer1.0.conv1", "layer1.0.conv2"], ["layer2.0.conv1", "layer2.0.conv2"]];
        assert_eq!(names, blocks);
        assert!(pairs(&network, |_| true).iter().all(|pair| pair.norm.is_none() == folded));
    }
    assert!(pairs(&plain(1), |_| true).is_empty(), "pooling lies between");
}

#[test]
fn both_layers_get_what_the_formula_says() {
    let before = student(Protocol::Gdfq, Precision::Int(8));
    let after = fit(&step(0.0, 0.0, true), &before).unwrap();
    for block in ["layer1.0", "layer2.0"] {
        let [first, second, bn] = ["conv1", "conv2", "bn1"].map(|name| format!("{block}.{name}"));
        let (w, q) = (weight(&before, &first), quantized(&before, &first));
        assert_eq!(weight(&after, &first), w, "the first layer stays");
        let (old, new) = (weight(&before, &second), weight(&after, &second));
        let (old_norm, new_norm) = (norm(&before, &bn), norm(&after, &bn));
        let outputs = old_norm.gamma.len();
        let length = w.len() / outputs;
        for channel in 0..outputs {
            let (w, q) = (&w[channel * length..][..length], &q[channel * length..][..length]);
            let cosine = dot(w, q) / (dot(w, w) * dot(q, q)).sqrt();
            for (index, (old, new)) in old.iter().zip(&new).enumerate() {
                if index / 9 % outputs == channel {
                    assert!((f64::from(*new) - cosine * f64::from(*old)).abs() < 1e-6, "{second} {index}");
                }
            }
            let mean = f64::from(old_norm.mean[channel]) * dot(w, q) / dot(w, w);
            assert!((f64::from(new_norm.mean[channel]) - mean).abs() < 1e-5, "{bn}");
            let spread = (f64::from(old_norm.variance[channel]) + 1e-5) * dot(q, q) / dot(w, w);
            assert!((f64::from(new_norm.variance[channel]) + 1e-5 - spread).abs() < 1e-5 * spread, "{bn}");
        }
        assert_eq!((&new_norm.gamma, &new_norm.beta), (&old_norm.gamma, &old_norm.beta));
        let codec = &after.weights[&second];
        let range = codec.uniform().unwrap().map(0).representable();
        let row = &new[..new.len() / outputs];
        let (low, high) = row.iter().fold((0.0f32, 0.0f32), |(low, high), &x| (low.min(x), high.max(x)));
        let step = codec.uniform().unwrap().map(0).step();
        assert!((range.0 - low).abs() < step && (range.1 - high).abs() < step, "quantized for the new weights");
    }
}

#[test]
fn folded_batch_norms_and_a_second_layer_in_floating_point_work() {
    for second in [Precision::Int(8), Precision::Float] {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let before = student(protocol, second);
            let after = fit(&step(0.0, 0.0, false), &before).unwrap();
            for block in ["layer1.0", "layer2.0"] {
                let [first, second] = ["conv1", "conv2"].map(|name| format!("{block}.{name}"));
                let (w, q) = (weight(&before, &first), quantized(&before, &first));
                let (old, new) = (weight(&before, &second), weight(&after, &second));
                let length = w.len() / if block == "layer1.0" { 8 } else { 16 };
                let (w, q) = (&w[..length], &q[..length]);
                let factor = dot(w, q) / dot(q, q);
                assert!((f64::from(new[4]) - factor * f64::from(old[4])).abs() < 1e-6, "{protocol} {second}");
            }
            let frozen = usize::from(second != Precision::Float) * 2;
            let fresh = after.weights.keys().filter(|name| !before.weights.contains_key(*name)).count();
            assert_eq!(fresh, if protocol == Protocol::Gdfq { frozen } else { 0 });
        }
    }
}

#[test]
fn a_network_without_pairs_and_a_negative_lambda_are_errors() {
    let network = plain(1);
    let plan = Plan::new(&QuantConfig::default(), &network, &Families::builtin()).unwrap();
    let lonely = QuantizedNetwork::with_weights(network, plan).unwrap();
    let error = fit(&step(0.5, 0.0, true), &lonely).unwrap_err().to_string();
    assert!(error.contains("without a pair"), "{error}");
    let error = DfMpc::new(DfMpcConfig { lambda1: -1.0, ..Default::default() }).unwrap_err().to_string();
    assert!(error.contains("lambda1"), "{error}");
}
