use blindfold_zoo::{FeatureTap, Network, Taps};
use burn::tensor::Tensor;

use super::*;
use crate::error::QuantError;
use crate::families::Families;
use crate::plan::{Plan, PluginChoice, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::ste::Ste;
use crate::testing::{images, plain, small};

fn config(protocol: Protocol, weight_bits: u8, activation_bits: u8) -> QuantConfig {
    QuantConfig {
        protocol,
        weight_bits: Precision::Int(weight_bits),
        activation_bits: Precision::Int(activation_bits),
        ..Default::default()
    }
}

fn calibrated(network: Network, config: &QuantConfig) -> QuantizedNetwork {
    let plan = Plan::new(config, &network, &Families::builtin()).unwrap();
    let batches = vec![images(&network, 8, 2), images(&network, 8, 3)];
    QuantizedNetwork::calibrate(network, plan, batches.into_iter()).unwrap()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (difference / b.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()).sqrt()
}

#[test]
fn with_eight_bits_the_logits_are_close_and_with_two_they_are_not() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let network = small(1);
        let x = images(&network, 16, 9);
        let teacher = values(network.forward(x.clone()));
        let eight =
            distance(&values(calibrated(network.clone(), &config(protocol, 8, 8)).forward(x.clone())), &teacher);
        let two = distance(&values(calibrated(network.clone(), &config(protocol, 2, 2)).forward(x.clone())), &teacher);
        assert!(eight < 0.05 && two > 0.1, "{protocol}: {eight} {two}");
        let float =
            QuantConfig { weight_bits: Precision::Float, activation_bits: Precision::Float, ..config(protocol, 8, 8) };
        let plan = Plan::new(&float, &network, &Families::builtin()).unwrap();
        let passed = QuantizedNetwork::calibrate(network, plan, std::iter::empty()).unwrap();
        assert!(distance(&values(passed.forward(x)), &teacher) < 1e-5);
    }
}

#[test]
fn the_network_for_evaluation_is_the_same_function() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let quantized = calibrated(small(4), &config(protocol, 4, 8));
        let x = images(&quantized.network, 16, 9);
        let evaluation = quantized.for_evaluation().unwrap();
        assert!(
            evaluation.is_baked() && evaluation.network.nodes().iter().all(|node| node.layer.kind() != "batch-norm")
        );
        let difference = distance(&values(evaluation.forward(x.clone())), &values(quantized.forward(x)));
        assert!(difference < 1e-4, "{protocol}: {difference}");
    }
}

#[test]
fn what_flows_has_no_more_values_than_codes() {
    let quantized = calibrated(small(5), &config(Protocol::Gdfq, 3, 4));
    let names: Vec<String> = quantized.plan.activations().map(|target| target.name.clone()).collect();
    let mut features = FeatureTap::new(names.clone());
    let mut fake = quantized.tap();
    quantized.network.run(images(&quantized.network, 4, 6), &mut Taps(vec![&mut fake, &mut features]));
    assert_eq!(names.len(), 5);
    for name in names {
        let mut levels: Vec<f32> = features.features[&name].clone().into_data().try_to_vec().unwrap();
        levels.sort_by(f32::total_cmp);
        levels.dedup();
        assert!(levels.len() <= 16, "{name}: {}", levels.len());
    }
}

#[test]
fn later_sites_are_calibrated_on_quantized_inputs() {
    let network = small(6);
    let x = images(&network, 8, 2);
    let plan = Plan::new(&config(Protocol::Gdfq, 2, 2), &network, &Families::builtin()).unwrap();
    let quantized = QuantizedNetwork::calibrate(network, plan, std::iter::once(x.clone())).unwrap();
    let mut without = quantized.clone();
    without.activations.remove("layer2.0.relu2");
    let mut features = FeatureTap::new(["layer2.0.relu2".to_owned()]);
    without.network.run(x, &mut Taps(vec![&mut without.tap(), &mut features]));
    let seen = features.features["layer2.0.relu2"].clone().into_data().try_to_vec::<f32>().unwrap();
    let max = seen.into_iter().fold(0.0, f32::max);
    let map = quantized.activations["layer2.0.relu2"].uniform().unwrap().map(0);
    assert!((3.0 / map.scale / max - 1.0).abs() < 1e-6, "the range of a site is that of the values it gets in use");
}

#[test]
fn weights_that_follow_get_new_grids_and_frozen_ones_do_not() {
    let twice = |network: Network| {
        network.map_layers(|_, layer| match layer.weight() {
            Some(weight) => layer.with_weight(weight * 2.0),
            None => layer,
        })
    };
    let following = calibrated(plain(1), &config(Protocol::Gdfq, 3, 8));
    let codes = following.codes_of_weights().unwrap();
    assert_eq!(
        codes.iter().map(|(name, codes)| (name.as_str(), codes.len())).collect::<Vec<_>>(),
        [("first", 108), ("classifier", 20)]
    );
    assert!(codes.iter().flat_map(|(_, codes)| codes).all(|code| (-4..=3).contains(code)));
    let doubled = following.clone().with_network(twice(following.network.clone()));
    assert_eq!(doubled.codes_of_weights().unwrap(), codes, "min-max codes do not depend on the scale");
    let mut frozen_config = config(Protocol::Gdfq, 3, 8);
    frozen_config.weight.range = Some(PluginChoice::named("mse"));
    let frozen = calibrated(plain(1), &frozen_config);
    assert_eq!(frozen.weights.len(), 2);
    let doubled = frozen.clone().with_network(twice(frozen.network.clone()));
    assert_ne!(doubled.codes_of_weights().unwrap(), frozen.codes_of_weights().unwrap());
}

#[test]
fn gradients_pass_through_to_float_weights() {
    for ste in [Ste::PassThrough, Ste::ClipMask] {
        let mut quantized = calibrated(plain(2), &QuantConfig { ste, ..config(Protocol::Gdfq, 4, 8) });
        quantized.network = quantized.network.trainable();
        let x = images(&quantized.network, 4, 5);
        let gradients = quantized.forward(x.clone()).sum().backward();
        let weight = quantized.network.node(quantized.network.find("classifier").unwrap()).layer.weight().unwrap();
        assert_eq!(weight.dims(), [5, 4, 1, 1]);
        let blindfold_zoo::Layer::Linear(linear) = &quantized.network.node(quantized.network.output()).layer else {
            panic!()
        };
        let gradient: Vec<f32> = linear.weight.val().grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        let mut features = FeatureTap::new(["flatten".to_owned()]);
        quantized.network.run(x, &mut Taps(vec![&mut quantized.tap(), &mut features]));
        let sums: Vec<f32> = features.features["flatten"].clone().inner().sum_dim(0).into_data().try_to_vec().unwrap();
        for (index, found) in gradient.iter().enumerate() {
            let expected = sums[index % 4];
            let clipped = ste == Ste::ClipMask && *found == 0.0;
            assert!(
                clipped || (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{ste:?} {index}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_state_restores_the_same_bits() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let quantized = calibrated(small(7), &config(protocol, 4, 4));
        let x = images(&quantized.network, 4, 9);
        let text = serde_json::to_string(&quantized.state().activations).unwrap();
        let mut state = quantized.state();
        state.activations = serde_json::from_str(&text).unwrap();
        let restored = QuantizedNetwork::from_state(small(8), quantized.plan.clone(), state.clone()).unwrap();
        assert_eq!(values(restored.forward(x.clone())), values(quantized.forward(x)));
        state.activations.remove("relu1");
        let error = QuantizedNetwork::from_state(small(8), quantized.plan.clone(), state).unwrap_err();
        assert!(matches!(error, QuantError::OtherGrids { .. }) && error.to_string().contains("relu1"));
    }
}

#[test]
fn broken_input_is_an_error_that_names_the_layer() {
    let network = plain(1);
    let plan = Plan::new(&config(Protocol::Gdfq, 4, 4), &network, &Families::builtin()).unwrap();
    let none = QuantizedNetwork::calibrate(network.clone(), plan.clone(), std::iter::empty());
    assert!(matches!(none, Err(QuantError::NoImages)));
    let broken = network.clone().map_layers(|name, layer| match layer.weight() {
        Some(weight) if name == "first" => layer.with_weight(weight * f32::NAN),
        _ => layer,
    });
    let error = Calibrator::new(broken.clone(), plan.clone()).unwrap_err().to_string();
    assert!(error.starts_with("`first`: value 0 of 108 is NaN"), "{error}");
    let x = images(&network, 2, 1);
    let mut calibrator = Calibrator::new(network, plan).unwrap();
    let error = calibrator.observe(x.clone() * f32::INFINITY).unwrap_err().to_string();
    assert!(error.starts_with("`relu`: value"), "{error}");
    calibrator.observe(x.clone()).unwrap();
    let diverged = calibrator.finish().unwrap().with_network(broken);
    let mut tap = diverged.tap();
    let logits = values(diverged.network.run(x, &mut tap));
    assert!(logits.iter().all(|logit| logit.is_nan()));
    assert!(tap.fault().unwrap().to_string().contains("first"));
}
