//! `cosine-margin`: images neither too near to the centre of their class nor too far from it.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ImagePrior, PriorView};
use crate::optimised::margin::checked_bounds;

/// Settings of `cosine-margin`. The defaults are those of the source for CIFAR-10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineMarginConfig {
    /// Cosine distance to the centre of its class below which an image is pushed away.
    pub lambda_l: f64,
    /// Cosine distance to the centre of its class above which an image is pulled back.
    pub lambda_u: f64,
}

impl Default for CosineMarginConfig {
    fn default() -> Self {
        Self { lambda_l: 0.05, lambda_u: 0.8 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImagePrior>, ConfigError> {
    let config: CosineMarginConfig = parse(table)?;
    Ok(Box::new(CosineMargin { bounds: checked_bounds(config.lambda_l, config.lambda_u)? }))
}

/// Hinges on the cosine distance of an image's features to the centre of its class.
///
/// ```text
/// d_n = 1 - cos(f_n, c(y_n))      R = mean_n ( max(0, lambda_l - d_n) + max(0, d_n - lambda_u) )
/// ```
/// f: the input of the teacher's last linear layer; c(y): its mean over the finished images of class y of the batches
/// before. The mean is over the images whose class has such images: in the first batch there are none, and R is 0.
///
/// # Shapes
/// - features: `[batch, features]`; output: `[1]`
/// # Range
/// `0 <= R <= 2`; `0 <= d <= 2`, so that `lambda_l = 0` and `lambda_u = 2` never act.
/// # Source
/// Zhong et al., "IntraQ: Learning Synthetic Images with Intra-Class Heterogeneity for Zero-Shot Network Quantization",
/// CVPR 2022, marginal distance constraint, <https://arxiv.org/abs/2111.09136>.
/// # Differences from the source
/// The source keeps the features of four groups of batches on disk; here all batches are of one synthesis.
struct CosineMargin {
    /// Lower and upper.
    bounds: [f64; 2],
}

impl ImagePrior for CosineMargin {
    fn needs_centres(&self) -> bool {
        true
    }

    fn value(&self, view: &PriorView<'_>) -> Tensor<1> {
        match view.margin {
            Some(margin) => margin.loss(view.features.clone(), self.bounds),
            None => Tensor::zeros([1], &view.features.device()),
        }
    }
}

pub(super) const ENTRY: Entry<dyn ImagePrior> = Entry {
    name: "cosine-margin",
    summary: "cosine distance of features to the centre of the class, neither below a margin nor above another",
    source: "Zhong et al., IntraQ, CVPR 2022, marginal distance constraint",
    defaults: defaults_of::<CosineMarginConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::optimised::margin::FeatureCentres;
    use crate::prior::PriorView;
    use crate::prior::tests::{fault, prior};
    use crate::sample::{assert_slope, close};

    /// The value at features of images of classes 0, 1 and 2, of which the first two have centres.
    fn value(table: &str, features: Tensor<2>) -> Tensor<1> {
        let mut centres = FeatureCentres::default();
        centres.add(Tensor::from_floats([[1.0, 1.0], [3.0, 4.0]], &Device::flex()), &[0, 1]);
        let margin = centres.margin(&[0, 1, 2], &Device::flex());
        let [batch, _] = features.dims();
        let images = Tensor::zeros([batch, 1, 2, 2], &Device::flex());
        let logits = features.clone();
        let view = PriorView { images, logits, features, labels: &[0, 1, 2], margin: margin.as_ref() };
        prior("cosine-margin", table).value(&view)
    }

    fn features() -> Tensor<2> {
        Tensor::from_floats([[1.0, 0.0], [2.0, 0.0], [5.0, 1.0]], &Device::flex())
    }

    #[test]
    fn it_is_its_formula() {
        // Distances by hand: 1 - 1/sqrt(2) from (1, 1), and 1 - 3/5 from (3, 4); the third has no centre.
        let (first, second) = (1.0 - 0.5f64.sqrt(), 0.4);
        close(value("lambda_l = 0.35\nlambda_u = 0.375", features()), (0.35 - first + second - 0.375) / 2.0, 1e-6);
        close(value("lambda_l = 0.0\nlambda_u = 2.0", features()), 0.0, 1e-7);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        assert_slope(&features(), 1e-3, |features| value("lambda_l = 0.35\nlambda_u = 0.375", features));
    }

    #[test]
    fn without_centres_it_is_0() {
        let features = features();
        let images = Tensor::zeros([3, 1, 2, 2], &Device::flex());
        let view = PriorView { images, logits: features.clone(), features, labels: &[0, 1, 2], margin: None };
        close(prior("cosine-margin", "").value(&view), 0.0, 0.0);
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("cosine-margin", "lambda_u = 2.5").starts_with("`cosine-margin.lambda_u`: 2.5 is not valid"));
        assert!(fault("cosine-margin", "lambda_l = 0.9").starts_with("`cosine-margin.lambda_l`: 0.9 with lambda_u"));
    }
}
