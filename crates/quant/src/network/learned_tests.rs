use blindfold_zoo::Network;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Tensor;

use super::*;
use crate::audit::{Audit, Role};
use crate::error::QuantError;
use crate::families::Families;
use crate::granularity::Granularity;
use crate::plan::{Dynamic, Plan, PluginChoice, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::testing::{images, small};

/// Kind and bits.
type Choice = (&'static str, u8);

/// Weights and activations.
const PAIRS: [(Choice, Choice); 11] = [
    (("lsq", 3), ("lsq", 3)),
    (("lsq-plus", 4), ("lsq-plus", 2)),
    (("dorefa", 4), ("pact", 4)),
    (("dorefa", 3), ("dorefa", 3)),
    (("ewgs", 3), ("ewgs", 2)),
    (("n2uq", 3), ("n2uq", 3)),
    (("apot", 4), ("apot", 4)),
    (("power-of-two", 3), ("power-of-two", 3)),
    (("binary", 1), ("binary", 1)),
    (("binary", 1), ("reactnet", 1)),
    (("ternary", 2), ("lsq", 4)),
];

fn config(weight: (&str, u8), activation: (&str, u8)) -> QuantConfig {
    let mut config = QuantConfig {
        protocol: Protocol::Gdfq,
        weight_bits: Precision::Int(weight.1),
        activation_bits: Precision::Int(activation.1),
        ..QuantConfig::default()
    };
    config.weight.learned = Some(PluginChoice::named(weight.0));
    let activation = PluginChoice::named(activation.0);
    // Low enough that values lie beyond it, or its clip would have no gradient.
    config.activation.learned =
        Some(if activation.kind == "pact" { activation.with("alpha", 0.5) } else { activation });
    config
}

fn calibrated(network: Network, config: &QuantConfig) -> QuantizedNetwork {
    let plan = Plan::new(config, &network, &Families::builtin()).unwrap();
    let batches = vec![images(&network, 6, 2), images(&network, 6, 3)];
    QuantizedNetwork::calibrate(network, plan, batches.into_iter()).unwrap()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn frozen_networks_give_the_same_logits_and_pass_the_audit() {
    for (weight, activation) in PAIRS {
        for per_channel in [false, true] {
            let mut config = config(weight, activation);
            if per_channel {
                config.activation.granularity = Some(Granularity::PerChannel);
            } else {
                config.weight.granularity = Some(Granularity::PerTensor);
            }
            let learned = calibrated(small(1), &config).with_learned().unwrap();
            let x = images(&learned.network, 4, 9);
            let logits = values(learned.forward(x.clone()));
            let size = logits.iter().fold(1.0f32, |size, logit| size.max(logit.abs()));
            let what = format!("{weight:?} {activation:?} {per_channel}");
            assert!(logits.iter().all(|logit| logit.is_finite()), "{what}");
            let frozen = learned.frozen_learned().unwrap();
            assert!(frozen.learned.is_none() && learned.learned.is_some());
            assert!(difference(&values(frozen.forward(x.clone())), &logits) <= 1e-5 * size, "{what}");
            // Folding rounds otherwise, so that a value at a threshold may fall to its other side.
            let evaluation = learned.for_evaluation().unwrap();
            assert!(difference(&values(evaluation.forward(x.clone())), &logits) <= 0.05 * size, "{what}");
            let audit = Audit::of(&learned, Some(x)).unwrap();
            let rows = audit.rows.iter().filter(|row| row.role == Role::Weight);
            assert!(rows.clone().count() == 6 && rows.clone().all(|row| row.quantizer == weight.0), "{what}");
            assert_eq!(learned.codes_of_weights().unwrap(), frozen.codes_of_weights().unwrap(), "{what}");
        }
    }
}

/// The mean over eight networks, since the error of a single one is much a matter of luck.
#[test]
fn a_student_with_fresh_quantizers_errs_about_as_much_as_the_calibrated_one() {
    for kind in ["ewgs", "n2uq"] {
        let logarithm = |seed: u64| {
            let network = small(seed);
            let x = images(&network, 64, 9);
            let expected = values(network.forward(x.clone()));
            let error = |student: &QuantizedNetwork| -> f64 {
                let found = values(student.forward(x.clone()));
                found.iter().zip(&expected).map(|(found, expected)| f64::from(found - expected).powi(2)).sum()
            };
            let student = calibrated(network.clone(), &config((kind, 4), (kind, 4)));
            let plain = error(&student);
            (error(&student.with_learned().unwrap()) / plain).ln()
        };
        let ratio = ((1..=8).map(logarithm).sum::<f64>() / 8.0).exp();
        assert!(ratio < 3.0, "{kind}: {ratio}");
    }
}

#[test]
fn a_step_of_an_optimizer_moves_every_kind_of_parameter() {
    for (weight, activation) in PAIRS {
        let student = calibrated(small(2), &config(weight, activation)).with_learned().unwrap().trainable();
        let what = format!("{weight:?} {activation:?}");
        let learned = student.learned.clone().unwrap();
        let before = student.state().learned.unwrap();
        let logits = student.forward(images(&student.network, 4, 5));
        let mut gradients = logits.powi_scalar(2).sum().backward();
        let own = GradientsParams::from_module(&mut gradients, &learned);
        let count = before.weights.values().chain(before.activations.values());
        let count: usize = count.map(|values| values.values.len()).sum();
        assert_eq!((own.len(), learned.is_empty()), (count, count == 0), "{what}");
        if count == 0 {
            continue;
        }
        let moved = SgdConfig::new().init().step(1e-3, learned, own);
        let after = QuantizedNetwork { learned: Some(moved.frozen()), ..student.frozen() };
        assert_ne!(after.state().learned.unwrap(), before, "{what}");
        assert!(values(after.forward(images(&after.network, 2, 6))).iter().all(|logit| logit.is_finite()), "{what}");
    }
}

#[test]
fn a_state_restores_the_same_bits() {
    for (weight, activation) in [PAIRS[0], PAIRS[5], PAIRS[9]] {
        let learned = calibrated(small(3), &config(weight, activation)).with_learned().unwrap();
        let x = images(&learned.network, 4, 9);
        let bytes = learned.state().to_bytes().unwrap();
        let state = QuantizedState::from_bytes(&bytes).unwrap();
        assert_eq!(state.learned, learned.state().learned);
        let restored = QuantizedNetwork::from_state(small(4), learned.plan.clone(), state.clone()).unwrap();
        assert_eq!(values(restored.forward(x.clone())), values(learned.forward(x.clone())));
        let again = restored.with_learned().unwrap();
        assert_eq!(values(again.forward(x.clone())), values(learned.forward(x)), "statistics are kept as well");
        let mut broken = state;
        broken.learned.as_mut().unwrap().activations.remove("relu1");
        let error = QuantizedNetwork::from_state(small(4), learned.plan.clone(), broken).unwrap_err().to_string();
        assert!(error.contains("`relu1`"), "{error}");
    }
}

#[test]
fn a_plan_without_learned_quantizers_stays_as_it_is() {
    let mut plain = config(("lsq", 3), ("lsq", 3));
    (plain.weight.learned, plain.activation.learned) = (None, None);
    let quantized = calibrated(small(1), &plain);
    assert!(quantized.statistics.is_empty());
    let same = quantized.clone().with_learned().unwrap();
    assert!(same.learned.is_none() && same.learned_penalty().is_none());
    let text = String::from_utf8_lossy(&same.state().to_bytes().unwrap()).into_owned();
    assert!(!text.contains("learned") && !text.contains("statistics"));
    let x = images(&same.network, 4, 9);
    assert_eq!(values(same.forward(x.clone())), values(quantized.forward(x)));
}

#[test]
fn the_penalty_is_that_of_the_clips() {
    let learned = calibrated(small(1), &config(("dorefa", 4), ("pact", 4))).with_learned().unwrap().trainable();
    let penalty = learned.learned_penalty().unwrap();
    let sites = learned.plan.activations().count() as f32;
    assert!((penalty.clone().into_scalar::<f32>() - sites * 1e-4 * 0.25).abs() < 1e-8);
    let mut gradients = penalty.backward();
    let own = GradientsParams::from_module(&mut gradients, learned.learned.as_ref().unwrap());
    assert_eq!(own.len(), sites as usize);
    assert!(calibrated(small(1), &config(("lsq", 4), ("lsq", 4))).with_learned().unwrap().learned_penalty().is_none());
}

#[test]
fn what_does_not_fit_is_an_error_that_says_what_to_do() {
    let network = small(1);
    let plan = |config: &QuantConfig| Plan::new(config, &network, &Families::builtin());
    let refused = |config: &QuantConfig| plan(config).unwrap_err().to_string();
    let error = refused(&config(("pact", 4), ("pact", 4)));
    assert!(error.contains("`weight.learned`: `pact`") && error.contains("for activations alone"), "{error}");
    let error = refused(&config(("ternary", 4), ("lsq", 4)));
    assert!(error.contains("`weight.bits`: 4") && error.contains("`ternary` has 2 bits"), "{error}");
    let error = refused(&config(("lsqq", 4), ("lsq", 4)));
    assert!(error.contains("no learned quantizer `lsqq`"), "{error}");
    let mut dynamic = config(("lsq", 4), ("lsq", 4));
    dynamic.activation.dynamic = Some(Dynamic::PerBatch);
    assert!(refused(&dynamic).contains("`activation.learned`: `lsq` with dynamic ranges"));
    let uncalibrated = QuantizedNetwork::with_weights(network.clone(), plan(&config(("lsq", 4), ("lsq", 4))).unwrap());
    let error = uncalibrated.unwrap().with_learned().unwrap_err();
    assert!(matches!(error, QuantError::At { .. }) && error.to_string().contains("calibrate"), "{error}");
    let baked = calibrated(network, &config(("lsq", 4), ("lsq", 4))).for_evaluation().unwrap();
    assert!(baked.with_learned().unwrap_err().to_string().contains("converted for evaluation"));
}

#[test]
fn at_the_ends_of_brecq_nothing_is_learned() {
    let config = QuantConfig { protocol: Protocol::Brecq, ..config(("binary", 1), ("lsq", 4)) };
    let learned = calibrated(small(1), &config).with_learned().unwrap();
    let state = learned.state().learned.unwrap();
    assert_eq!(state.weights.len(), 4);
    assert!(!state.weights.contains_key("conv1") && !state.activations.contains_key("layer2.0.relu2"));
    assert!(state.activations.contains_key("layer1.0.relu1"));
}

#[test]
fn parameters_that_diverged_are_a_fault_that_names_the_layer() {
    let learned = calibrated(small(1), &config(("lsq", 4), ("lsq", 4))).with_learned().unwrap();
    let mut state = learned.state();
    state.learned.as_mut().unwrap().activations.get_mut("relu1").unwrap().values.insert("step".into(), vec![f32::NAN]);
    let broken = learned.with_state(state).unwrap();
    let mut tap = broken.tap();
    broken.network.run(images(&broken.network, 2, 1), &mut tap);
    assert!(tap.fault().unwrap().to_string().starts_with("`relu1`"));
    assert!(broken.frozen_learned().unwrap_err().to_string().starts_with("`relu1`"));
}
