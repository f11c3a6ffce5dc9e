//! `total-variation`: smooth images, by the differences of neighbouring pixels.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ImagePrior, PriorView};
use crate::optimised::prior::{total_variation_l1, total_variation_l2};

/// How differences of neighbouring pixels are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariationNorm {
    /// The Euclidean length of the differences of the whole batch, a direction at a time.
    L2,
    /// The mean of their absolute values, a direction at a time.
    L1,
}

/// Settings of `total-variation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TotalVariationConfig {
    /// How the differences are measured.
    pub norm: VariationNorm,
}

impl Default for TotalVariationConfig {
    fn default() -> Self {
        Self { norm: VariationNorm::L2 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImagePrior>, ConfigError> {
    let config: TotalVariationConfig = parse(table)?;
    Ok(Box::new(TotalVariation(config)))
}

/// How much neighbouring pixels differ.
///
/// ```text
/// l2:  R = sum_k |d_k|          l1:  R = sum_k mean |d_k|
/// ```
/// d_k: the differences of all pixels to their neighbours to the right, below, below to the left and below to the right;
/// `|d_k|` of l2: the Euclidean length over the whole batch, whose gradient is 0 where it is 0; of l1: absolute values.
///
/// # Shapes
/// - images: `[batch, channel, height, width]`, sides of at least 2; output: `[1]`
/// # Range
/// `>= 0`; 0 iff every channel of every image has one value. Unit: that of the normalised space; l2 grows with the root of
/// the number of pixels and of images, l1 does not.
/// # Source
/// Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020, `R_TV` of eq. 3,
/// <https://arxiv.org/abs/1912.08795>, both norms as in its code.
/// # Differences from the source
/// The code divides the differences of l1 by 255 and multiplies their sum by 255 again; here neither is done.
struct TotalVariation(TotalVariationConfig);

impl ImagePrior for TotalVariation {
    fn value(&self, view: &PriorView<'_>) -> Tensor<1> {
        let images = view.images.clone();
        match self.0.norm {
            VariationNorm::L2 => total_variation_l2(images),
            VariationNorm::L1 => total_variation_l1(images),
        }
    }
}

pub(super) const ENTRY: Entry<dyn ImagePrior> = Entry {
    name: "total-variation",
    summary: "differences of neighbouring pixels in four directions, by length or by absolute value",
    source: "Yin et al., DeepInversion, CVPR 2020, eq. 3",
    defaults: defaults_of::<TotalVariationConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::prior::tests::{fault, of_images, prior};
    use crate::sample::{assert_slope, close, images};

    /// Columns that grow, so that no difference between them is near 0, where an absolute value has its corner.
    fn ramp() -> Tensor<4> {
        images(2, 4) * 0.01 + Tensor::<4>::from_floats([[[[0.0, 1.0, 3.0, 4.5, 7.0, 9.0, 9.5, 12.0]]]], &Device::flex())
    }

    #[test]
    fn a_step_between_two_columns_has_its_closed_form() {
        let step = || Tensor::<4>::from_floats([[[[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]]], &Device::flex());
        // Three differences of 2 to the right, two in each diagonal, none downwards.
        let of = |table: &str| of_images(prior("total-variation", table).as_ref(), step());
        close(of(""), 12f64.sqrt() + 2.0 * 8f64.sqrt(), 1e-6);
        close(of("norm = 'l2'"), 12f64.sqrt() + 2.0 * 8f64.sqrt(), 1e-6);
        close(of("norm = 'l1'"), 3.0 * 2.0, 1e-6);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let [l2, l1] = ["norm = 'l2'", "norm = 'l1'"].map(|table| prior("total-variation", table));
        assert_slope(&images(2, 4), 1e-2, |x| of_images(l2.as_ref(), x));
        // Of images whose rows are alike: the differences downwards stay 0.
        let across = |x: Tensor<4>| of_images(l1.as_ref(), x.mean_dim(2).repeat_dim(2, 2));
        assert_slope(&ramp(), 1e-2, across);
    }

    #[test]
    fn an_unknown_norm_is_answered_with_those_that_there_are() {
        let error = fault("total-variation", "norm = 'l3'");
        assert!(error.contains("`l2`") && error.contains("`l1`"), "{error}");
    }
}
