//! `shift`: images moved by a few pixels.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Augment, Augmented, checked_probability, choose};
use crate::optimised::geometry::{matrices, resample};

/// Settings of `shift`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShiftConfig {
    /// Pixels of padding on all four sides, of which a window of the image's size is cut out.
    pub pad: usize,
    /// Probability of each image to be moved.
    pub probability: f64,
}

impl Default for ShiftConfig {
    fn default() -> Self {
        Self { pad: 4, probability: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let config: ShiftConfig = parse(table)?;
    checked_probability(config.probability)?;
    if i32::try_from(config.pad).is_err() {
        return Err(ConfigError::invalid("pad", config.pad, "write a number of pixels, such as 4"));
    }
    Ok(Box::new(Shift(config)))
}

/// Each image padded with zeros, and a window of its size cut out anywhere.
///
/// ```text
/// y[n, c, i, j] = x'[n, c, i - d_n, j - r_n]      d, r uniform in -pad..=pad      x' = 0 outside the image
/// ```
/// d = r = 0 for the images that are not moved; 0 is the mean pixel of the normalised space.
///
/// # Shapes
/// images: `[batch, channel, height, width]`, `pad` below height and width. Labels stay.
/// # Range
/// Values of the image, and 0.
/// # Source
/// He et al., "Deep residual learning", CVPR 2016, section 4.2 (`pad` = 4 for images of 32 pixels).
/// # Differences from the source
/// The source mirrors half of the windows: that is `flip`'s. It moves every image, as a `probability` of 1 does.
#[derive(Debug)]
struct Shift(ShiftConfig);

impl Augment for Shift {
    fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), ConfigError> {
        match self.0.pad < height.min(width) {
            true => Ok(()),
            false => {
                let fix = format!("write less than the image's {height}x{width} pixels");
                Err(ConfigError::invalid("pad", self.0.pad, fix))
            }
        }
    }

    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let count = batch.len();
        let chosen = choose(count, self.0.probability, random);
        let reach = self.0.pad as i32;
        let moves: Vec<[i32; 2]> = chosen
            .iter()
            .map(|&chosen| {
                let drawn = [0, 1].map(|_| random.random_range(-reach..=reach));
                if chosen { drawn } else { [0, 0] }
            })
            .collect();
        if moves.iter().all(|drawn| *drawn == [0, 0]) {
            return batch;
        }
        let [_, _, height, width] = batch.images.dims();
        let side = |axis: usize, length: usize| {
            let values = moves.iter().flat_map(|drawn| moved(length, drawn[axis])).collect();
            matrices(&batch.images, values, [count, length, length])
        };
        let (rows, columns) = (side(0, height), side(1, width));
        let images = resample(batch.images.clone(), rows, columns);
        batch.with_images(images)
    }
}

/// The matrix `[length, length]` that moves a column of pixels on by `by`.
fn moved(length: usize, by: i32) -> Vec<f32> {
    let mut weights = vec![0.0f32; length * length];
    for (place, row) in weights.chunks_mut(length).enumerate() {
        let from = usize::try_from(place as i64 - i64::from(by));
        if let Some(weight) = from.ok().and_then(|from| row.get_mut(from)) {
            *weight = 1.0;
        }
    }
    weights
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "shift",
    summary: "images moved by a few pixels each way, zeros where nothing comes in",
    source: "He et al., Deep residual learning, CVPR 2016, section 4.2",
    defaults: defaults_of::<ShiftConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;
    use burn::tensor::Tensor;

    use super::*;
    use crate::augmentation::tests::{apply, batch, fault};
    use crate::sample::{host, images};

    /// The image moved value by value.
    fn expected(image: &[f64], [down, right]: [i64; 2]) -> Vec<f64> {
        let value = |channel: i64, row: i64, column: i64| match (0..8).contains(&row) && (0..8).contains(&column) {
            true => image[(channel * 64 + row * 8 + column) as usize],
            false => 0.0,
        };
        let places = (0..3).flat_map(|channel| (0..64).map(move |place| (channel, place / 8, place % 8)));
        places.map(|(channel, row, column)| value(channel, row - down, column - right)).collect()
    }

    #[test]
    fn every_image_is_moved_within_reach_and_exactly() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let moved = host(&apply("shift", "pad = 1", batch(6, 5), &mut stream(seed, "test shift")).images);
            for (moved, image) in moved.chunks(192).zip(host(&images(6, 5)).chunks(192)) {
                let all = (-1..=1).flat_map(|down| (-1..=1).map(move |right| [down, right]));
                let found: Vec<[i64; 2]> = all.filter(|&shift| expected(image, shift) == moved).collect();
                assert_eq!(found.len(), 1, "{found:?}");
                seen.extend(found);
            }
        }
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn some_images_stay_where_not_all_are_chosen() {
        let mut random = stream(3, "test shift");
        let moved = host(&apply("shift", "pad = 2\nprobability = 0.5", batch(200, 5), &mut random).images);
        let still = moved.chunks(192).zip(host(&images(200, 5)).chunks(192)).filter(|(a, b)| a == b).count();
        // One of 25 moves is none: 0.5 + 0.5 / 25 of 200.
        assert!((74..=134).contains(&still), "{still}");
    }

    #[test]
    fn the_gradient_comes_from_where_the_pixels_do() {
        let leaf = images(1, 2).autodiff().require_grad();
        let one = Augmented { images: leaf.clone(), labels: None, shares: None, classes: 2 };
        let shown: Tensor<4> = apply("shift", "pad = 3", one, &mut stream(3, "test shift")).images;
        let kept = host(&shown.clone().inner()).iter().filter(|value| **value != 0.0).count();
        let gradient = host(&leaf.grad(&shown.sum().backward()).unwrap());
        assert!(gradient.iter().all(|value| *value == 0.0 || *value == 1.0));
        assert_eq!(gradient.iter().filter(|value| **value == 1.0).count(), kept);
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("shift", "probability = -0.5").starts_with("`shift.probability`: -0.5"));
        let shift = (ENTRY.build)("pad = 8".parse().unwrap()).unwrap();
        assert!(shift.check([3, 8, 9]).unwrap_err().to_string().starts_with("`pad`: 8"));
        shift.check([3, 9, 9]).unwrap();
    }
}
