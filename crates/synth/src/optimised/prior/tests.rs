use burn::tensor::{Device, TensorData};

use super::*;
use crate::sample::{
    assert_near, assert_slope, close, gradient_of, host, images, numbers, optimised_reference, referenced,
};

const LABELS: [u32; 4] = [3, 0, 4, 1];

/// Value and gradient against PyTorch's, and the gradient against finite differences.
fn check<const D: usize>(name: &str, at: &Tensor<D>, f: impl Fn(Tensor<D>) -> Tensor<1>) {
    let expected = &optimised_reference()[name];
    close(f(at.clone()), expected["value"].as_f64().unwrap(), 1e-5);
    assert_near(name, &gradient_of(at, &f), &numbers(&expected["gradient"]), 1e-5);
    assert_slope(at, 1e-3, f);
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let images = referenced("images", [2, 3, 6, 5]);
    check("total_variation_l2", &images, total_variation_l2);
    check("image_norm", &images, image_norm);
    check("smoothness", &images, |x| smoothness(x, 3, 1.0));
    let logits = referenced("logits", [4, 5]);
    check("cross_entropy", &logits, |z| cross_entropy(z, &LABELS));
    check("soft_cross_entropy", &logits, |z| soft_cross_entropy(z, referenced("targets", [4, 5])));
}

#[test]
fn the_absolute_variation_is_that_of_pytorch() {
    let images = referenced("images", [2, 3, 6, 5]);
    let expected = &optimised_reference()["total_variation_l1"];
    close(total_variation_l1(images.clone()), expected["value"].as_f64().unwrap(), 1e-5);
    assert_near("l1", &gradient_of(&images, total_variation_l1), &numbers(&expected["gradient"]), 1e-5);
}

#[test]
fn a_step_between_two_columns_has_its_closed_form() {
    let step = TensorData::new([0.0f32, 2.0].repeat(3), [1, 1, 3, 2]);
    let step = Tensor::<4>::from_data(step, &Device::flex());
    // Three differences of 2 to the right, two in each diagonal, none downwards.
    close(total_variation_l2(step.clone()), 12f64.sqrt() + 2.0 * 8f64.sqrt(), 1e-6);
    close(total_variation_l1(step.clone()), 3.0 * 2.0, 1e-6);
    close(image_norm(step), 12f64.sqrt(), 1e-6);
}

#[test]
fn constant_images_are_smooth_and_have_finite_gradients() {
    let constant = Tensor::<4>::full([2, 3, 4, 4], 0.0, &Device::flex());
    let priors: [fn(Tensor<4>) -> Tensor<1>; 4] =
        [total_variation_l2, total_variation_l1, image_norm, |x| smoothness(x, 3, 1.0)];
    for prior in priors {
        close(prior(constant.clone()), 0.0, 1e-6);
        assert!(gradient_of(&constant, prior).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn probabilities_are_those_of_the_labels() {
    let logits = referenced("logits", [4, 5]);
    let found = host(&probability_of(logits.clone(), &LABELS));
    for (row, (found, label)) in host(&logits).chunks(5).zip(found.iter().zip(LABELS)) {
        let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
        assert!((found - row[label as usize].exp() / sum).abs() < 1e-6);
    }
    let mean = host(&log_probability_of(logits.clone(), &LABELS)).iter().sum::<f64>() / 4.0;
    close(cross_entropy(logits.clone(), &LABELS), -mean, 1e-6);
    assert_slope(&logits, 1e-2, |z| probability_of(z, &LABELS).sum());
    let hard = one_hot(&LABELS, 5, &Device::flex());
    close(
        soft_cross_entropy(logits.clone(), hard),
        f64::from(cross_entropy(logits, &LABELS).into_scalar::<f32>()),
        1e-6,
    );
}

#[test]
fn rougher_images_are_farther_from_their_blurred_selves() {
    let rough = images(2, 4);
    let smooth = gaussian_blur(rough.clone(), 5, 1.5);
    let [rough, smooth] = [rough, smooth].map(|x| f64::from(smoothness(x, 3, 1.0).into_scalar::<f32>()));
    assert!(smooth < 0.1 * rough, "{smooth} against {rough}");
}
