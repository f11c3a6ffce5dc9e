//! `smoothness`: images that are near to their blurred selves.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ImagePrior, PriorView};
use crate::optimised::prior::smoothness;
use crate::source::check_blur;

/// Settings of `smoothness`. The source's constants were not at hand: these are this project's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmoothnessConfig {
    /// Width in pixels of the blur's window, odd.
    pub kernel: usize,
    /// Deviation in pixels of the blur.
    pub sigma: f64,
}

impl Default for SmoothnessConfig {
    fn default() -> Self {
        Self { kernel: 3, sigma: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImagePrior>, ConfigError> {
    let config: SmoothnessConfig = parse(table)?;
    check_blur(["kernel", "sigma"], config.kernel, config.sigma)?;
    Ok(Box::new(Smoothness(config)))
}

/// Squared distance of the images to their blurred selves.
///
/// ```text
/// R = mean over all values of (x - G x)^2
/// ```
/// G: the Gaussian blur of `kernel` pixels and deviation `sigma`, mirrored at the borders.
///
/// # Shapes
/// - images: `[batch, channel, height, width]`; output: `[1]`
/// # Range
/// `>= 0`; 0 for constant images. Unit: the squared one of the normalised space.
/// # Source
/// Haroush et al., "The Knowledge Within: Methods for Data-Free Model Compression", CVPR 2020,
/// <https://arxiv.org/abs/1912.01274> (recalled, not read).
/// # Differences from the source
/// Window and deviation are this project's.
struct Smoothness(SmoothnessConfig);

impl ImagePrior for Smoothness {
    fn value(&self, view: &PriorView<'_>) -> Tensor<1> {
        smoothness(view.images.clone(), self.0.kernel, self.0.sigma)
    }
}

pub(super) const ENTRY: Entry<dyn ImagePrior> = Entry {
    name: "smoothness",
    summary: "mean squared distance of the images to their blurred selves",
    source: "Haroush et al., The Knowledge Within, CVPR 2020",
    defaults: defaults_of::<SmoothnessConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::prior::tests::{fault, of_images, prior};
    use crate::sample::{assert_slope, close, images};

    #[test]
    fn a_stripe_has_its_closed_form() {
        // A blur in one dimension of weights (w, c, w): the stripe keeps c of its height, its neighbours get w of it.
        let bell = (-0.5f64 / 0.25).exp();
        let (w, c) = (bell / (1.0 + 2.0 * bell), 1.0 / (1.0 + 2.0 * bell));
        let row = [[0.0, 0.0, 2.0, 0.0, 0.0]; 5];
        let stripe = Tensor::<4>::from_floats([[row]], &Device::flex());
        let smoothness = prior("smoothness", "sigma = 0.5");
        let expected = 4.0 * ((1.0 - c).powi(2) + 2.0 * w * w) / 5.0;
        close(of_images(smoothness.as_ref(), stripe), expected, 1e-5);
        close(of_images(smoothness.as_ref(), Tensor::full([1, 2, 4, 4], 1.5, &Device::flex())), 0.0, 1e-6);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let smoothness = prior("smoothness", "kernel = 5\nsigma = 1.5");
        assert_slope(&images(2, 4), 1e-2, |x| of_images(smoothness.as_ref(), x));
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("smoothness", "kernel = 4").starts_with("`smoothness.kernel`: 4 is not valid"));
        assert!(fault("smoothness", "sigma = 0.0").starts_with("`smoothness.sigma`: 0 is not valid"));
    }
}
