use burn::tensor::Device;

use super::*;
use crate::optimised::class_centres::reference::{check, labels, reference, tensor};
use crate::optimised::class_centres::tests::easy_teacher;
use crate::sample::{fault, probability_of_labels, small_network, synthesize};

#[test]
fn the_hard_sample_loss_is_that_of_pytorch() {
    let reference = reference();
    let logits = tensor::<2>(&reference["logits"], [4, 5]);
    for case in reference["hard_sample"].as_array().unwrap() {
        let gamma = case["gamma"].as_f64().unwrap();
        let labels = labels(&reference);
        check(&format!("gamma {gamma}"), case, logits.clone(), |logits| hard_sample_loss(logits, &labels, gamma));
    }
}

#[test]
fn a_certain_answer_has_a_finite_gradient() {
    for gamma in [0.0, 0.5, 2.0] {
        let logits = Tensor::<2>::from_floats([[200.0, 0.0], [0.0, 200.0]], &Device::flex()).autodiff().require_grad();
        let value = hard_sample_loss(logits.clone(), &[0, 0], gamma);
        let gradient = logits.grad(&value.clone().backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(f32::is_finite), "gamma {gamma}");
        let value: f64 = value.into_scalar();
        assert!((value - 100.0).abs() < 1e-3, "gamma {gamma}: {value}");
    }
}

#[test]
fn the_probability_of_the_asked_class_rises() {
    let teacher = easy_teacher();
    for crop in [0.0, 0.5] {
        let make = |iterations: usize| {
            let own = format!("labels = \"balanced\"\ncrop_probability = {crop:?}");
            synthesize("hast", &format!("count = 6\niterations = {iterations}\n{own}"), &teacher, 3).unwrap()
        };
        let (before, after) = (probability_of_labels(&teacher, &make(0)), probability_of_labels(&teacher, &make(60)));
        assert!(after > before + 0.2, "crop {crop}: {before} to {after}");
    }
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 5\nbatch = 3\niterations = 5";
    let images = synthesize("hast", table, &network, 3).unwrap();
    assert_eq!(images, synthesize("hast", table, &network, 3).unwrap());
    assert_ne!(images, synthesize("hast", table, &network, 4).unwrap());
    assert_eq!(images.labels.unwrap().len(), 5);
    assert!(images.pixels.iter().all(|value| value.is_finite()));
}

#[test]
fn faults_name_their_key() {
    assert!(fault("hast", "batch = 0").starts_with("`hast.batch`: 0 is not valid"));
    assert!(fault("hast", "labels = \"none\"").starts_with("`hast.labels`"));
    assert!(fault("hast", "beta = -1.0").starts_with("`hast.beta`: -1 is not valid"));
    assert!(fault("hast", "gamma = -1.0").starts_with("`hast.gamma`: -1 is not valid"));
    assert!(fault("hast", "crop_probability = 2.0").starts_with("`hast.crop_probability`: 2 is not valid"));
    assert!(fault("hast", "schedule = { kind = \"plateau\", factor = 2.0 }").starts_with("`hast.schedule.factor`: 2"));
}
