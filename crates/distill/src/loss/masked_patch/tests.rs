//! Masked patches: closed forms, PyTorch's values, draws.

use std::cell::RefCell;

use blindfold_zoo::NetworkBuilder;
use burn::tensor::Device;

use super::*;
use crate::image_reference::ImageReference;
use crate::loss::{Pair, View};
use crate::network_pair::{Twins, signals_of};
use crate::reference::floats;

fn masked_patch(config: MaskedPatchConfig) -> MaskedPatch {
    MaskedPatch::new(config).unwrap()
}

/// Two images of two channels, 4x4 pixels.
fn images() -> Tensor<4> {
    let pixels: Vec<f32> = (0..64).map(|place| ((place * 37) % 23) as f32 / 4.0 + 1.0).collect();
    Tensor::from_data(TensorData::new(pixels, [2, 2, 4, 4]), &Device::default())
}

#[test]
fn values_and_gradients_are_pytorchs() {
    ImageReference::load().check("masked-patch", |case, signals| {
        masked_patch(parse(case.options.clone()).unwrap()).value_at(signals, &case.masked)
    });
}

/// Where a node's output is the image itself, what a mask costs is the mean square of the masked pixels over the
/// variance.
#[test]
fn a_network_that_sees_pixels_pays_for_the_masked_ones() {
    let loss = masked_patch(MaskedPatchConfig { patch: 2, floor: 0.0, ..Default::default() });
    let masked = [vec![0, 3], vec![2]];
    let found = f64::from(floats(loss.value_at(&signals_of(&Twins(|images| images), images()), &masked))[0]);
    let pixels = floats(images());
    let mut expected = 0.0;
    for channel in 0..2 {
        let values: Vec<(bool, f64)> = (0..32)
            .map(|place| (place / 16, place % 16))
            .map(|(image, place)| {
                let patch = place / 4 / 2 * 2 + place % 4 / 2;
                (masked[image].contains(&patch), f64::from(pixels[image * 32 + channel * 16 + place]))
            })
            .collect();
        let mean = values.iter().map(|(_, value)| value).sum::<f64>() / 32.0;
        let variance = values.iter().map(|(_, value)| (value - mean).powi(2)).sum::<f64>() / 32.0;
        let hidden: f64 = values.iter().filter(|(hidden, _)| *hidden).map(|(_, value)| value.powi(2)).sum();
        expected += hidden / variance / 64.0;
    }
    assert!((found - expected).abs() < 1e-5 * expected, "{found} is not {expected}");
}

#[test]
fn a_channel_s_unit_does_not_matter_where_it_is_the_only_one() {
    let loss = masked_patch(MaskedPatchConfig { patch: 2, ..Default::default() });
    let at = |map: fn(Tensor<4>) -> Tensor<4>| floats(loss.value(&signals_of(&Twins(map), images())))[0];
    let (plain, scaled) = (at(|images| images.narrow(1, 0, 1)), at(|images| images.narrow(1, 0, 1).mul_scalar(50.0)));
    assert!((plain - scaled).abs() < 1e-4 * plain, "{plain} and {scaled}");
}

/// Teacher: channel 0 constant, channel 1 the student's. With the floor 0.5 the constant one counts with 0.5 * (0 + v)
/// / 2.
#[test]
fn a_constant_channel_counts_with_the_floor() {
    let loss = masked_patch(MaskedPatchConfig { patch: 2, floor: 0.5, ..Default::default() });
    let networks = Twins(|images| images);
    let mut signals = signals_of(&networks, images());
    let (first, second) = (images().narrow(1, 0, 1), images().narrow(1, 1, 1));
    signals.features[0].teacher = Tensor::cat(vec![first.clone().zeros_like().add_scalar(3.0), second.clone()], 1);
    let found = f64::from(floats(loss.value_at(&signals, &[vec![], vec![]]))[0]);
    let mean_of = |values: Vec<f32>| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let mean = mean_of(floats(second.clone()));
    let variance = mean_of(floats(second.sub_scalar(mean).square()));
    let expected = mean_of(floats(first.sub_scalar(3.0).square())) / (0.25 * variance) / 2.0;
    assert!((found - expected).abs() < 1e-4 * expected, "{found} is not {expected}");
}

#[test]
fn patches_at_the_edges_are_cut() {
    let patches = Patches { side: 2, height: 3, width: 5 };
    assert_eq!((patches.columns(), patches.count()), (3, 6));
    assert_eq!(patches.kept(&[1, 5]), [1., 1., 0., 0., 1., 1., 1., 0., 0., 1., 1., 1., 1., 1., 0.]);
    let all = patches.kept(&[0, 1, 2, 3, 4, 5]);
    assert!(all.iter().all(|kept| *kept == 0.0));
}

#[test]
fn each_image_loses_the_same_share_of_patches_drawn_from_seed_and_step() {
    /// Keeps the images that the student reads.
    struct Watched(RefCell<Vec<Vec<f32>>>);
    impl Pair for Watched {
        fn student(&self, images: Tensor<4>) -> View {
            self.0.borrow_mut().push(floats(images.clone()));
            self.teacher(images)
        }
        fn teacher(&self, images: Tensor<4>) -> View {
            Twins(|images| images).teacher(images)
        }
    }
    let loss = masked_patch(MaskedPatchConfig { patch: 1, share: 0.3, ..Default::default() });
    let ones = || Tensor::<4>::ones([6, 1, 4, 4], &Device::default());
    let at = |seed, step| {
        let watched = Watched(RefCell::default());
        let signals = Signals { seed, step, ..signals_of(&watched, ones()) };
        loss.value(&signals);
        let shown = watched.0.borrow();
        shown.last().unwrap().clone()
    };
    let masked = at(5, 7);
    for image in masked.chunks_exact(16) {
        assert_eq!(image.iter().sum::<f32>(), 11.0, "0.3 * 16 patches are 5");
    }
    assert_ne!(masked[..16], masked[16..32]);
    assert_eq!(masked, at(5, 7));
    assert_ne!(masked, at(5, 8));
    assert_ne!(masked, at(6, 7));
}

#[test]
fn only_features_ask_for_nodes() {
    let of = |target| masked_patch(MaskedPatchConfig { target, ..Default::default() });
    assert_eq!(of(MaskedTarget::Features).features(), Features::LastBlock);
    assert_eq!(of(MaskedTarget::Logits).features(), Features::None);
}

#[test]
fn what_masks_nothing_or_all_is_an_error() {
    let message = |table| (ENTRY.build)(table).unwrap_err().to_string();
    assert!(message(toml::toml! { patch = 0 }).contains("`patch`: 0"));
    assert!(message(toml::toml! { share = 1.0 }).contains("`share`: 1"));
    assert!(message(toml::toml! { temperature = 0.0 }).contains("`temperature`: 0"));
    let network = NetworkBuilder::new(&Device::default(), 1).finish("input", [3, 8, 8], 192);
    let refused = |patch, share| {
        let loss = masked_patch(MaskedPatchConfig { patch, share, ..Default::default() });
        loss.check(&network, &[]).unwrap_err().to_string()
    };
    assert!(refused(8, 0.5).contains("`patch`: 8"));
    assert!(refused(4, 0.1).contains("`share`: 0.1") && refused(4, 0.1).contains("0 of the 4"));
    assert!(refused(4, 0.9).contains("4 of the 4"));
    masked_patch(MaskedPatchConfig::default()).check(&network, &[]).unwrap();
}
