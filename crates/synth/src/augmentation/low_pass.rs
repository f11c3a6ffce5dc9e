//! `low-pass`: images without their finest detail.

use std::f64::consts::TAU;

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Augment, Augmented, checked_probability, choose, where_chosen};
use crate::optimised::geometry::{matrices, resample};

/// Settings of `low-pass`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LowPassConfig {
    /// The filter's deviation, in pixels of the spectrum: the frequency, in periods an image, at which 61 % of the
    /// amplitude is left. The source's 80 is for images of 224 pixels; in proportion it is 11.4 for those of 32.
    pub cutoff: f64,
    /// Probability of each image to be filtered.
    pub probability: f64,
}

impl Default for LowPassConfig {
    fn default() -> Self {
        Self { cutoff: 80.0, probability: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let config: LowPassConfig = parse(table)?;
    checked_probability(config.probability)?;
    if !(config.cutoff > 0.0 && config.cutoff.is_finite()) {
        return Err(ConfigError::invalid("cutoff", config.cutoff, "write a positive number of pixels of the spectrum"));
    }
    Ok(Box::new(LowPass(config)))
}

/// Each plane's spectrum times a Gaussian.
///
/// ```text
/// Y(u, v) = H(u, v) X(u, v),   H(u, v) = exp(-D(u, v)^2 / (2 cutoff^2)),   D(u, v)^2 = u^2 + v^2
/// ```
/// X, Y: the discrete Fourier transforms of a plane before and after; u, v: frequencies in periods over the plane's
/// height and width, from `-length/2` up. Since H is the product of `h(u)` and `h(v)`, the same by multiplication:
///
/// ```text
/// y = R x C^T      R[i, k] = r[(i - k) mod height],   r[d] = (1/height) sum_u h(u) cos(2 pi u d / height);  C alike
/// ```
///
/// # Shapes
/// images: `[batch, channel, height, width]`. Labels stay.
/// # Range
/// The mean of each plane stays; edges are treated as if the plane went on with its other side.
/// # Source
/// Kim et al., "SynQ: Accurate Zero-shot Quantization by Synthesis-aware Fine-tuning", ICLR 2025,
/// <https://arxiv.org/abs/2603.18423>, low-pass filter; `cutoff` of its code.
/// # Differences from the source
/// None.
#[derive(Debug)]
struct LowPass(LowPassConfig);

impl Augment for LowPass {
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let chosen = choose(batch.len(), self.0.probability, random);
        let images = where_chosen(batch.images.clone(), &chosen, |images| filtered(images, self.0.cutoff));
        batch.with_images(images)
    }
}

fn filtered(images: Tensor<4>, cutoff: f64) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let side = |length: usize| matrices(&images, circulant(length, cutoff), [1, length, length]);
    let (rows, columns) = (side(height), side(width));
    resample(images, rows, columns)
}

/// The matrix `[length, length]` of the filter along one side.
fn circulant(length: usize, cutoff: f64) -> Vec<f32> {
    let gain = |place: usize| {
        let frequency = place.min(length - place) as f64;
        (-0.5 * (frequency / cutoff).powi(2)).exp()
    };
    let response: Vec<f64> = (0..length)
        .map(|offset| {
            let waves = (0..length).map(|place| {
                // A whole number of turns is left out before it is multiplied, to lose no digits.
                let turns = (place * offset % length) as f64 / length as f64;
                gain(place) * (TAU * turns).cos()
            });
            waves.sum::<f64>() / length as f64
        })
        .collect();
    (0..length * length).map(|place| response[(place / length + length - place % length) % length] as f32).collect()
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "low-pass",
    summary: "images filtered by a Gaussian in the Fourier domain",
    source: "Kim et al., SynQ, ICLR 2025, low-pass filter",
    defaults: defaults_of::<LowPassConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::augmentation::tests::{apply, batch, fault};
    use crate::sample::{assert_near, assert_slope, host, images, numbers};

    #[test]
    fn planes_are_those_of_the_fourier_transform() {
        let reference: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/augmentations.json")).unwrap();
        let cases = reference["low_pass"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let shape: Vec<usize> = numbers(&case["shape"]).into_iter().map(|side| side as usize).collect();
            let values: Vec<f32> = numbers(&case["images"]).into_iter().map(|value| value as f32).collect();
            let images = Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
            let found = filtered(images, case["cutoff"].as_f64().unwrap());
            assert_near("low pass", &host(&found), &numbers(&case["values"]), 2e-6);
        }
    }

    #[test]
    fn the_mean_of_each_plane_stays_and_detail_goes() {
        let shown = apply("low-pass", "cutoff = 1.0", batch(4, 5), &mut stream(3, "test filter"));
        let (shown, plain) = (host(&shown.images), host(&images(4, 5)));
        let mean = |plane: &[f64]| plane.iter().sum::<f64>() / 64.0;
        let spread = |plane: &[f64]| plane.iter().map(|value| (value - mean(plane)).powi(2)).sum::<f64>();
        for (shown, plain) in shown.chunks(64).zip(plain.chunks(64)) {
            assert!((mean(shown) - mean(plain)).abs() < 1e-6);
            assert!(spread(shown) < 0.3 * spread(plain), "{} of {}", spread(shown), spread(plain));
        }
        let still = apply("low-pass", "cutoff = 1e6", batch(4, 5), &mut stream(3, "test filter"));
        assert_near("all frequencies", &host(&still.images), &plain, 1e-6);
    }

    #[test]
    fn chosen_images_alone_are_filtered() {
        let table = "cutoff = 1.0\nprobability = 0.5";
        let shown = host(&apply("low-pass", table, batch(60, 5), &mut stream(3, "test filter")).images);
        let all = host(&apply("low-pass", "cutoff = 1.0", batch(60, 5), &mut stream(3, "test filter")).images);
        let plain = host(&images(60, 5));
        let mut still = 0;
        for (shown, (plain, all)) in shown.chunks(192).zip(plain.chunks(192).zip(all.chunks(192))) {
            assert!(shown == plain || shown == all);
            still += usize::from(shown == plain);
        }
        assert!((12..=48).contains(&still), "{still}");
    }

    #[test]
    fn the_gradient_is_filtered_too() {
        assert_slope(&images(2, 2), 1e-2, |x| filtered(x, 1.5).square().mean());
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("low-pass", "cutoff = 0.0").starts_with("`low-pass.cutoff`: 0"));
        assert!(fault("low-pass", "probability = 1.1").starts_with("`low-pass.probability`: 1.1"));
    }
}
