//! `l2`: small images.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ImagePrior, PriorView};
use crate::optimised::prior::image_norm;

/// Settings of `l2`: there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L2Config {}

fn build(table: toml::Table) -> Result<Box<dyn ImagePrior>, ConfigError> {
    let L2Config {} = parse(table)?;
    Ok(Box::new(L2))
}

/// The mean Euclidean length of the images.
///
/// ```text
/// R = (1/N) sum_n |x_n|
/// ```
/// `|.|`: over all values of an image, not squared; its gradient is 0 where an image is 0.
///
/// # Shapes
/// - images: `[batch, channel, height, width]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff every image is the mean pixel throughout. Unit: that of the normalised space; it grows with the root of
/// the number of values.
/// # Source
/// Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020, `R_l2` of eq. 3,
/// <https://arxiv.org/abs/1912.08795>.
/// # Differences from the source
/// None.
struct L2;

impl ImagePrior for L2 {
    fn value(&self, view: &PriorView<'_>) -> Tensor<1> {
        image_norm(view.images.clone())
    }
}

pub(super) const ENTRY: Entry<dyn ImagePrior> = Entry {
    name: "l2",
    summary: "mean Euclidean length of the images",
    source: "Yin et al., DeepInversion, CVPR 2020, eq. 3",
    defaults: defaults_of::<L2Config>,
    build,
};

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::prior::tests::{of_images, prior};
    use crate::sample::{assert_slope, close, gradient_of, images};

    #[test]
    fn it_is_its_formula() {
        let l2 = prior("l2", "");
        let two = Tensor::<4>::from_floats([[[[3.0, 4.0]]], [[[0.0, -1.0]]]], &Device::flex());
        close(of_images(l2.as_ref(), two), (5.0 + 1.0) / 2.0, 1e-6);
        assert_slope(&images(2, 4), 1e-2, |x| of_images(l2.as_ref(), x));
    }

    #[test]
    fn at_0_the_gradient_is_0() {
        let l2 = prior("l2", "");
        let gradient = gradient_of(&Tensor::<4>::zeros([1, 1, 2, 2], &Device::flex()), |x| of_images(l2.as_ref(), x));
        assert_eq!(gradient, [0.0; 4]);
    }
}
