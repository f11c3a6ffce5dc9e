//! Rotations: closed forms, PyTorch's values, draws.

use burn::tensor::Device;

use super::*;
use crate::image_reference::ImageReference;
use crate::network_pair::{Twins, signals_of};
use crate::reference::floats;

fn rotation(options: toml::Table) -> Rotation {
    Rotation::new(parse(options).unwrap()).unwrap()
}

/// Four channels, one for each corner of the images' first channel: `[batch, 4, 1, 1]`.
fn corners(images: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let pixel = |row, column| images.clone().narrow(1, 0, 1).narrow(2, row, 1).narrow(3, column, 1);
    let (row, column) = (height - 1, width - 1);
    Tensor::cat(vec![pixel(0, 0), pixel(0, column), pixel(row, 0), pixel(row, column)], 1)
}

/// Two images with one bright corner each.
fn bright_corners(height: usize, width: usize) -> Tensor<4> {
    let mut pixels = vec![0f32; 2 * height * width];
    pixels[0] = 1.0;
    pixels[2 * height * width - 1] = 3.0;
    Tensor::from_data(TensorData::new(pixels, [2, 1, height, width]), &Device::default())
}

fn value(loss: &Rotation, networks: &Twins, images: Tensor<4>) -> f64 {
    f64::from(floats(loss.value(&signals_of(networks, images)))[0])
}

#[test]
fn values_and_gradients_are_pytorchs() {
    ImageReference::load().check("rotation", |case, signals| {
        let loss = rotation(case.options.clone());
        match loss.config.mode {
            RotationMode::Prediction => loss.value(signals),
            RotationMode::Consistency => loss.value_at(signals, &case.turns),
        }
    });
}

#[test]
fn a_network_whose_rotations_are_orthogonal_finds_them_as_the_temperature_falls() {
    for temperature in [1.0, 0.25, 0.02f64] {
        let loss = Rotation::new(RotationConfig { temperature, ..Default::default() }).unwrap();
        let found = value(&loss, &Twins(corners), bright_corners(3, 3));
        let expected = (3.0 * (-1.0 / temperature).exp()).ln_1p();
        assert!((found - expected).abs() < 1e-6, "{temperature}: {found} is not {expected}");
    }
}

#[test]
fn rotations_that_look_alike_cost_the_logarithm_of_their_number() {
    let images = Tensor::cat(vec![bright_corners(3, 3), bright_corners(3, 3).add_scalar(0.5)], 1);
    let found = value(&rotation(toml::Table::new()), &Twins(|images| images), images);
    assert!((found - 4f64.ln()).abs() < 1e-5, "{found}");
}

#[test]
fn images_that_are_not_square_turn_by_half_a_circle() {
    let loss = rotation(toml::toml! { temperature = 0.5 });
    let found = value(&loss, &Twins(corners), bright_corners(2, 5));
    let expected = (-2f64).exp().ln_1p();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    let consistency = rotation(toml::toml! { mode = "consistency" });
    assert!(value(&consistency, &Twins(corners), bright_corners(2, 5)).abs() < 1e-6);
}

#[test]
fn quarters_turn_counterclockwise() {
    let images = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &Device::default());
    let after = |quarters| floats(turned(images.clone(), quarters));
    assert_eq!(after(0), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(after(1), [2.0, 4.0, 1.0, 3.0]);
    assert_eq!(after(2), [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(after(3), [3.0, 1.0, 4.0, 2.0]);
    let both = Tensor::cat(vec![images.clone(), images.mul_scalar(10.0)], 0);
    assert_eq!(floats(turned_each(&both, &[1, 3])), [2.0, 4.0, 1.0, 3.0, 30.0, 10.0, 40.0, 20.0]);
}

#[test]
fn the_turns_follow_from_seed_and_step() {
    /// Answers with the place of the bright corner, and a student that is not sure of it.
    struct Unsure;
    impl Pair for Unsure {
        fn student(&self, images: Tensor<4>) -> View {
            let view = Twins(corners).teacher(images);
            let doubt = Tensor::<2>::from_floats([[0.1, 0.2, 0.4, 0.8]], &view.logits.device());
            View { logits: view.logits * doubt, ..view }
        }
        fn teacher(&self, images: Tensor<4>) -> View {
            Twins(corners).teacher(images)
        }
    }
    let loss = rotation(toml::toml! { mode = "consistency" });
    let at = |seed, step| {
        let signals = Signals { seed, step, ..signals_of(&Unsure, bright_corners(3, 3)) };
        floats(loss.value(&signals))[0].to_bits()
    };
    assert_eq!(at(1, 2), at(1, 2));
    let steps: BTreeSet<u32> = (0..40).map(|step| at(1, step)).collect();
    assert!(steps.len() > 8, "two images turn in 16 ways, of which 40 steps show {}", steps.len());
    assert!((0..40).any(|step| at(1, step) != at(2, step)));
}

#[test]
fn consistency_looks_at_logits_alone() {
    assert_eq!(rotation(toml::toml! { mode = "consistency" }).features(), Features::None);
    assert_eq!(rotation(toml::Table::new()).features(), Features::LastBlock);
    let named = rotation(toml::toml! { nodes = ["relu"] });
    assert_eq!(named.features(), Features::Matching(&["relu".to_owned()]));
}

#[test]
fn a_temperature_of_zero_is_an_error() {
    let message = |table| (ENTRY.build)(table).unwrap_err().to_string();
    assert!(message(toml::toml! { temperature = 0.0 }).contains("`temperature`: 0"));
    assert!(message(toml::toml! { logit_temperature = 0.0 }).contains("`logit_temperature`: 0"));
}
