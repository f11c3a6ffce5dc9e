//! Contrast across augmentations: closed forms, PyTorch's values, draws.

use std::collections::BTreeSet;

use blindfold_zoo::NetworkBuilder;
use burn::tensor::Device;

use super::*;
use crate::image_reference::ImageReference;
use crate::loss::{Pair, View};
use crate::network_pair::{Twins, signals_of};
use crate::reference::floats;

fn contrastive(config: ContrastiveConfig) -> Contrastive {
    Contrastive::new(config).unwrap()
}

/// Three images of three channels, each with a channel of its own.
fn orthogonal_images() -> Tensor<4> {
    let colours: Tensor<4> = Tensor::<2>::eye(3, &Device::default()).reshape([3, 3, 1, 1]);
    colours.expand([3, 3, 4, 4])
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let draws = |moves: &[(isize, isize, bool)]| -> Vec<Draw> {
        moves.iter().map(|&(down, right, flip)| Draw { down, right, flip }).collect()
    };
    ImageReference::load().check("contrastive", |case, signals| {
        let loss = contrastive(parse(case.options.clone()).unwrap());
        loss.value_at(signals, &draws(&case.student_moves), &draws(&case.teacher_moves))
    });
}

/// A teacher whose images are orthogonal, and a student that takes each image for the `by`-th after it.
struct Shuffled {
    by: i32,
}

impl Pair for Shuffled {
    fn student(&self, images: Tensor<4>) -> View {
        let order: Vec<i32> = (0..3).map(|image| (image + self.by) % 3).collect();
        let order = Tensor::<1, Int>::from_data(TensorData::new(order, [3]), &images.device());
        self.teacher(images.select(0, order))
    }

    fn teacher(&self, images: Tensor<4>) -> View {
        Twins(|images| images).teacher(images)
    }
}

#[test]
fn agreement_is_least_where_student_and_teacher_are_the_same_and_nothing_moves() {
    let (least, worse) = ((2.0 * (-2f64).exp()).ln_1p(), (2.0 + 2f64.exp()).ln());
    for symmetric in [false, true] {
        let config = ContrastiveConfig { shift: 0, flip: false, temperature: 0.5, symmetric, ..Default::default() };
        let loss = contrastive(config);
        for (by, expected) in [(0, least), (1, worse), (2, worse)] {
            let networks = Shuffled { by };
            let value = f64::from(floats(loss.value(&signals_of(&networks, orthogonal_images())))[0]);
            assert!((value - expected).abs() < 1e-5, "{by}: {value} is not {expected}");
        }
    }
}

#[test]
fn images_that_look_alike_cost_the_logarithm_of_their_number() {
    let images = Tensor::<4>::ones([5, 2, 6, 6], &Device::default());
    let networks = Twins(|images| images);
    let value = floats(contrastive(ContrastiveConfig::default()).value(&signals_of(&networks, images)))[0];
    assert!((value - 5f32.ln()).abs() < 1e-5, "{value}");
}

#[test]
fn images_move_as_they_do_on_the_host() {
    let shape = [2, 3, 4];
    let pixels: Vec<f32> = (1..=72).map(|value| value as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels.clone(), [3, 2, 3, 4]), &Device::default());
    for draws in [
        [Draw { down: 1, right: 2, flip: false }, Draw { down: -2, right: -3, flip: false }, Draw::default()],
        [
            Draw { down: 0, right: 0, flip: true },
            Draw { down: 1, right: 2, flip: true },
            Draw { down: -1, right: -1, flip: true },
        ],
    ] {
        let mut expected = vec![0f32; 72];
        for ((draw, image), target) in draws.iter().zip(pixels.chunks(24)).zip(expected.chunks_mut(24)) {
            draw.apply(image, target, shape, 0.0);
        }
        assert_eq!(floats(moved(&images, &draws)), expected);
    }
}

#[test]
fn draws_reach_all_shifts_and_follow_from_seed_and_step() {
    let loss = contrastive(ContrastiveConfig { shift: 2, ..Default::default() });
    let mut random = stream(1, "test");
    let draws: Vec<Draw> = (0..500).map(|_| loss.draw(&mut random)).collect();
    let places: BTreeSet<(isize, isize)> = draws.iter().map(|draw| (draw.down, draw.right)).collect();
    assert_eq!(places.len(), 25);
    assert!(draws.iter().all(|draw| draw.down.abs() <= 2 && draw.right.abs() <= 2));
    assert!((200..300).contains(&draws.iter().filter(|draw| draw.flip).count()));
    fn corner(images: Tensor<4>) -> Tensor<4> {
        images.narrow(2, 0, 2).narrow(3, 0, 2).reshape([4, 4, 1, 1])
    }
    let pixels: Vec<f32> = (0..64).map(|place| ((place * 29) % 17) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [4, 1, 4, 4]), &Device::default());
    let at = |seed, step| {
        let networks = Twins(corner);
        let signals = Signals { seed, step, ..signals_of(&networks, images.clone()) };
        floats(loss.value(&signals))[0].to_bits()
    };
    assert_eq!(at(3, 4), at(3, 4));
    assert_ne!(at(3, 4), at(3, 5));
    assert_ne!(at(3, 4), at(4, 4));
}

#[test]
fn what_does_not_fit_is_an_error() {
    assert!((ENTRY.build)(toml::toml! { temperature = 0.0 }).unwrap_err().to_string().contains("`temperature`: 0"));
    let network = NetworkBuilder::new(&Device::default(), 1).finish("input", [3, 8, 6], 144);
    let check = |shift| contrastive(ContrastiveConfig { shift, ..Default::default() }).check(&network, &[]);
    assert!(check(6).unwrap_err().to_string().contains("`shift`: 6"));
    check(5).unwrap();
}

#[test]
fn an_empty_list_of_nodes_means_the_last_block() {
    assert_eq!(contrastive(ContrastiveConfig::default()).features(), Features::LastBlock);
}
