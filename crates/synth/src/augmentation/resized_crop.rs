//! `resized-crop`: boxes of images, stretched to the whole.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Augment, Augmented, checked_probability, choose, where_chosen};
use crate::optimised::geometry::{CropBox, resized_crop};

/// Settings of `resized-crop`. IntraQ and its descendants have `min_scale` 0.5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCropConfig {
    /// Least share of an image's area that a box covers.
    pub min_scale: f64,
    /// Largest share of an image's area that a box covers.
    pub max_scale: f64,
    /// Largest ratio of a box's longer to its shorter side.
    pub max_ratio: f64,
    /// Probability of each image to be cropped.
    pub probability: f64,
}

impl Default for ResizedCropConfig {
    fn default() -> Self {
        Self { min_scale: 0.08, max_scale: 1.0, max_ratio: 4.0 / 3.0, probability: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let config: ResizedCropConfig = parse(table)?;
    checked_probability(config.probability)?;
    if !(config.min_scale > 0.0 && config.min_scale <= config.max_scale) {
        let fix = "write a share of the area above 0, at most `max_scale`";
        return Err(ConfigError::invalid("min_scale", config.min_scale, fix));
    }
    if config.max_scale > 1.0 {
        return Err(ConfigError::invalid("max_scale", config.max_scale, "write a share of the area, at most 1"));
    }
    if !(config.max_ratio >= 1.0 && config.max_ratio.is_finite()) {
        return Err(ConfigError::invalid("max_ratio", config.max_ratio, "write a number of at least 1"));
    }
    Ok(Box::new(ResizedCrop(config)))
}

/// A random box of each image, stretched to the image's size.
///
/// ```text
/// y_n = x_n[box_n], linear between pixels
/// box_n: of an area of min_scale to max_scale of the image's and a ratio of sides of 1/max_ratio to max_ratio,
///        log-uniform, anywhere in the image
/// ```
///
/// # Shapes
/// images: `[batch, channel, height, width]`. Labels stay.
/// # Range
/// Within the range of each image's values.
/// # Source
/// Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6, as `RandomResizedCrop` of torchvision.
/// # Differences from the source
/// No antialiasing. Where ten draws give no box that fits, it is the whole image.
#[derive(Debug)]
struct ResizedCrop(ResizedCropConfig);

impl Augment for ResizedCrop {
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let config = &self.0;
        let [count, _, height, width] = batch.images.dims();
        let chosen = choose(count, config.probability, random);
        let (scale, ratio) = ([config.min_scale, config.max_scale], [1.0 / config.max_ratio, config.max_ratio]);
        let boxes: Vec<CropBox> = (0..count).map(|_| CropBox::random([height, width], scale, ratio, random)).collect();
        let crop = |images| resized_crop(images, &boxes, [height, width]);
        let images = where_chosen(batch.images.clone(), &chosen, crop);
        batch.with_images(images)
    }
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "resized-crop",
    summary: "a random box of each image, stretched to its size",
    source: "Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6, as in torchvision",
    defaults: defaults_of::<ResizedCropConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use crate::augmentation::tests::{apply, batch, fault};
    use crate::sample::{assert_near, host, images};

    #[test]
    fn a_box_of_all_of_the_image_is_the_image() {
        let table = "min_scale = 1.0\nmax_ratio = 1.0";
        let shown = apply("resized-crop", table, batch(3, 5), &mut stream(3, "test crop"));
        assert_near("crop", &host(&shown.images), &host(&images(3, 5)), 1e-6);
    }

    #[test]
    fn crops_stay_within_the_images_values_and_differ() {
        let shown = apply("resized-crop", "min_scale = 0.3", batch(6, 5), &mut stream(3, "test crop"));
        assert_eq!(shown.images.dims(), [6, 3, 8, 8]);
        let (shown, plain) = (host(&shown.images), host(&images(6, 5)));
        let ends = |values: &[f64]| values.iter().fold((9.0f64, -9.0f64), |(a, b), &v| (a.min(v), b.max(v)));
        for (shown, plain) in shown.chunks(192).zip(plain.chunks(192)) {
            let ((low, high), (least, most)) = (ends(shown), ends(plain));
            assert!(low > least - 1e-5 && high < most + 1e-5, "{low} {high} of {least} {most}");
        }
        let changed = shown.chunks(192).zip(plain.chunks(192)).filter(|(a, b)| a != b).count();
        assert!(changed >= 3, "{changed}");
    }

    #[test]
    fn some_images_stay_where_not_all_are_chosen() {
        let table = "min_scale = 0.2\nmax_scale = 0.4\nprobability = 0.5";
        let shown = host(&apply("resized-crop", table, batch(100, 5), &mut stream(3, "test crop")).images);
        let still = shown.chunks(192).zip(host(&images(100, 5)).chunks(192)).filter(|(a, b)| a == b).count();
        assert!((25..=75).contains(&still), "{still}");
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("resized-crop", "min_scale = 0.0").starts_with("`resized-crop.min_scale`: 0"));
        assert!(fault("resized-crop", "max_scale = 1.5").starts_with("`resized-crop.max_scale`: 1.5"));
        assert!(fault("resized-crop", "max_ratio = 0.5").starts_with("`resized-crop.max_ratio`: 0.5"));
        assert!(fault("resized-crop", "probability = 2.0").starts_with("`resized-crop.probability`: 2"));
    }
}
