//! Local object reinforcement: now and then the teacher sees a part of every image.

use blindfold_zoo::{ConfigError, Stream};
use burn::tensor::Tensor;
use rand::RngExt;

use crate::optimised::geometry::{CropBox, mirror, resized_crop};

/// With a probability, a random box of every image stretched to the whole, and some of them mirrored.
///
/// ```text
/// with probability p (one draw a step):  x'_n = x_n[box_n] stretched to the image's size, mirrored with probability f
/// box_n: of an area of min_scale to 1 of the image's and a ratio of sides of 1/max_ratio to max_ratio
/// ```
///
/// # Source
/// Zhong et al., IntraQ, CVPR 2022, local object reinforcement; the box is that of torchvision's `RandomResizedCrop`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::source) struct LocalCrop {
    /// p: key `crop_probability`.
    pub(in crate::source) probability: f64,
    /// Key `min_scale`.
    pub(in crate::source) min_scale: f64,
    /// Key `max_ratio`.
    pub(in crate::source) max_ratio: f64,
    /// f: key `flip_probability`.
    pub(in crate::source) flip: f64,
}

impl LocalCrop {
    /// The same, once its values are checked.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub(in crate::source) fn checked(self) -> Result<Self, ConfigError> {
        checked_probability("crop_probability", self.probability)?;
        checked_probability("flip_probability", self.flip)?;
        if !(self.min_scale > 0.0 && self.min_scale <= 1.0) {
            return Err(ConfigError::invalid("min_scale", self.min_scale, "write a share of the area, at most 1"));
        }
        if !(self.max_ratio >= 1.0 && self.max_ratio.is_finite()) {
            return Err(ConfigError::invalid("max_ratio", self.max_ratio, "write a number of at least 1"));
        }
        Ok(self)
    }

    /// What the teacher sees of these images.
    pub(in crate::source) fn apply(&self, images: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        if !random.random_bool(self.probability) {
            return images;
        }
        let [batch, _, height, width] = images.dims();
        let ratio = [1.0 / self.max_ratio, self.max_ratio];
        let boxes: Vec<CropBox> =
            (0..batch).map(|_| CropBox::random([height, width], [self.min_scale, 1.0], ratio, random)).collect();
        let mirrored: Vec<bool> = (0..batch).map(|_| random.random_bool(self.flip)).collect();
        mirror(resized_crop(images, &boxes, [height, width]), &mirrored)
    }
}

/// A probability as TOML gives it.
pub(in crate::source) fn checked_probability(key: &str, value: f64) -> Result<f64, ConfigError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::invalid(key, value, "write a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;
    use crate::sample::{host, images};

    const CROP: LocalCrop = LocalCrop { probability: 0.5, min_scale: 0.5, max_ratio: 4.0 / 3.0, flip: 0.5 };

    #[test]
    fn half_of_the_steps_show_the_whole_images() {
        let mut random = stream(3, "test crop");
        let whole = host(&images(2, 1));
        let shown = (0..200).filter(|_| host(&CROP.apply(images(2, 1), &mut random)) == whole).count();
        assert!((70..=130).contains(&shown), "{shown}");
    }

    #[test]
    fn a_box_of_the_whole_image_changes_nothing_and_a_mirror_turns_it() {
        let still = LocalCrop { probability: 1.0, min_scale: 1.0, max_ratio: 1.0, flip: 0.0 };
        let mut random = stream(3, "test crop");
        let (found, expected) = (host(&still.apply(images(3, 1), &mut random)), host(&images(3, 1)));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
        let turned = host(&LocalCrop { flip: 1.0, ..still }.apply(images(3, 1), &mut random));
        let expected = host(&images(3, 1).flip([3]));
        assert!(turned.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn the_gradient_reaches_what_is_shown() {
        let leaf = images(2, 1).autodiff().require_grad();
        let always = LocalCrop { probability: 1.0, ..CROP };
        let shown = always.apply(leaf.clone(), &mut stream(3, "test crop"));
        assert_eq!(shown.dims(), [2, 3, 8, 8]);
        let gradient: f64 = leaf.grad(&shown.sum().backward()).unwrap().into_data().iter::<f64>().sum();
        // Every pixel that is shown is a mean of pixels of the image.
        assert!((gradient - 2.0 * 3.0 * 64.0).abs() < 1e-2, "{gradient}");
    }

    #[test]
    fn faults_name_their_key() {
        let message = |crop: LocalCrop| crop.checked().unwrap_err().to_string();
        assert!(message(LocalCrop { probability: 1.5, ..CROP }).starts_with("`crop_probability`: 1.5"));
        assert!(message(LocalCrop { min_scale: 0.0, ..CROP }).starts_with("`min_scale`: 0"));
        assert!(message(LocalCrop { max_ratio: 0.5, ..CROP }).starts_with("`max_ratio`: 0.5"));
        assert!(message(LocalCrop { flip: -0.5, ..CROP }).starts_with("`flip_probability`: -0.5"));
        assert_eq!(CROP.checked(), Ok(CROP));
    }
}
