//! `mean-std-per-image`: the distance of ZeroQ.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Sampling, Statistics, StatisticsLoss, checked_epsilon};

/// Settings of `mean-std-per-image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanStdPerImageConfig {
    /// Added to both variances before the root.
    pub epsilon: f64,
}

impl Default for MeanStdPerImageConfig {
    fn default() -> Self {
        Self { epsilon: 1e-6 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let config: MeanStdPerImageConfig = parse(table)?;
    Ok(Box::new(MeanStdPerImage { epsilon: checked_epsilon(config.epsilon)? }))
}

/// Squared distance of the mean and the standard deviation of each image.
///
/// ```text
/// L = (1/N) sum_n sum_l ( |mu_l(x_n) - m_l|^2 + |sigma_l(x_n) - s_l|^2 ),  sigma = sqrt(var + e),  s = sqrt(v + e)
/// ```
/// mu_l, var_l: mean and *unbiased* variance over the positions of one image of the input of batch norm `l`, by channel;
/// m_l, v_l: its running statistics. The squares are summed over channels and layers.
///
/// # Shapes
/// - statistics: `[image, channel]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff each image alone has the statistics of the batch norms. Unit: squared activation.
/// # Source
/// Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, eq. 1, <https://arxiv.org/abs/2001.00281>.
/// # Differences from the source
/// The source pairs the convolutions of a network with its batch norms in the order of their declaration; here the
/// statistics are those of what each batch norm reads, also where that is not a convolution.
struct MeanStdPerImage {
    epsilon: f64,
}

impl StatisticsLoss for MeanStdPerImage {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: true, unbiased: true }
    }

    fn evaluate(&self, statistics: &Statistics, images: usize) -> Tensor<1> {
        squared(statistics, self.epsilon).sum() / images as f64
    }
}

/// `(mean - m)^2 + (sqrt(var + e) - s)^2` for each image and channel.
fn squared(statistics: &Statistics, epsilon: f64) -> Tensor<2> {
    let mean = statistics.mean.clone() - statistics.target.mean.clone();
    let std = (statistics.var.clone() + epsilon).sqrt() - statistics.target.std(epsilon);
    mean.clone() * mean + std.clone() * std
}

pub(super) const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "mean-std-per-image",
    summary: "squared distance of mean and standard deviation, image by image, summed over channels and layers",
    source: "Cai et al., ZeroQ, CVPR 2020, eq. 1",
    defaults: defaults_of::<MeanStdPerImageConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{close, loss, statistics};

    #[test]
    fn it_is_its_formula() {
        let loss = loss("mean-std-per-image", "");
        let statistics = statistics(&[[1.0, 2.0, -1.0], [0.0, 1.0, 0.5]], &[[1.0, 4.0, 0.25], [2.25, 1.0, 1.0]]);
        let first = 1.0 + 4.0 + 1.0 + 0.0 + 1.0 + 0.25;
        let second = 0.0 + 1.0 + 0.25 + 0.25;
        close(loss.evaluate(&statistics, 2), (first + second) / 2.0, 1e-5);
        close(loss.evaluate(&statistics, 8), (first + second) / 8.0, 1e-5);
    }

    #[test]
    fn both_standard_deviations_have_the_epsilon() {
        let statistics = statistics(&[[0.0; 3]], &[[0.0, 1.0, 1.0]]);
        let loss = loss("mean-std-per-image", "epsilon = 0.5");
        close(loss.evaluate(&statistics, 1), ((1.5f64).sqrt() - 0.5f64.sqrt()).powi(2), 1e-5);
    }
}
