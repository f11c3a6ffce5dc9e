//! `flip`: mirrored images.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Augment, Augmented, checked_probability, choose};
use crate::optimised::geometry::mirror;

/// Settings of `flip`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlipConfig {
    /// Probability of each image to be mirrored.
    pub probability: f64,
}

impl Default for FlipConfig {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let config: FlipConfig = parse(table)?;
    checked_probability(config.probability)?;
    Ok(Box::new(Flip(config)))
}

/// Some of the images mirrored left to right.
///
/// ```text
/// y[n, c, i, j] = x[n, c, i, width - 1 - j]      with probability `probability`, each image for itself
/// ```
///
/// # Shapes
/// images: `[batch, channel, height, width]`. Labels stay.
/// # Range
/// The values of the image.
/// # Source
/// Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NIPS 2012, section 4.1.
/// # Differences from the source
/// The source cuts patches out at the same time: that is `resized-crop`'s and `shift`'s.
#[derive(Debug)]
struct Flip(FlipConfig);

impl Augment for Flip {
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let chosen = choose(batch.len(), self.0.probability, random);
        let images = mirror(batch.images.clone(), &chosen);
        batch.with_images(images)
    }
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "flip",
    summary: "images mirrored left to right, half of them",
    source: "Krizhevsky et al., ImageNet classification with deep convolutional networks, NIPS 2012, section 4.1",
    defaults: defaults_of::<FlipConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use crate::augmentation::tests::{apply, batch, fault};
    use crate::sample::{host, images};

    #[test]
    fn each_image_is_mirrored_or_not() {
        let mut random = stream(3, "test flip");
        let shown = host(&apply("flip", "", batch(200, 5), &mut random).images);
        let (plain, turned) = (host(&images(200, 5)), host(&images(200, 5).flip([3])));
        let mut mirrored = 0;
        for (shown, (plain, turned)) in shown.chunks(192).zip(plain.chunks(192).zip(turned.chunks(192))) {
            assert!(shown == plain || shown == turned);
            mirrored += usize::from(shown == turned);
        }
        assert!((65..=135).contains(&mirrored), "{mirrored}");
        let all = apply("flip", "probability = 1.0", batch(3, 5), &mut random);
        assert_eq!(host(&all.images), host(&images(3, 5).flip([3])));
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("flip", "probability = 1.5").starts_with("`flip.probability`: 1.5"));
    }
}
