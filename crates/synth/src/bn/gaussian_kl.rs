//! `gaussian-kl`: the distance of The Knowledge Within.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Sampling, Statistics, StatisticsLoss, checked_epsilon};

/// Settings of `gaussian-kl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianKlConfig {
    /// Added to both variances.
    pub epsilon: f64,
}

impl Default for GaussianKlConfig {
    fn default() -> Self {
        Self { epsilon: 1e-5 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let config: GaussianKlConfig = parse(table)?;
    Ok(Box::new(GaussianKl { epsilon: checked_epsilon(config.epsilon)? }))
}

/// Kullback-Leibler divergence of the batch's statistics, read as Gaussians, from the remembered ones.
///
/// ```text
/// L = sum_l sum_c KL( N(mu, r) || N(m, s) ) = sum_l sum_c 1/2 ( r/s - 1 - ln(r/s) + (mu - m)^2 / s )
/// r = var + e,  s = v + e
/// ```
/// mu, var: mean and *biased* variance over the batch of the input of batch norm `l`, by channel; m, v: its running
/// statistics.
///
/// # Shapes
/// - statistics: `[1, channel]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff the statistics coincide. Unit: nats, and so the same for every scale of a layer's activations.
/// # Source
/// Haroush et al., "The Knowledge Within: Methods for Data-Free Model Compression", CVPR 2020, batch-norm statistics
/// loss, <https://arxiv.org/abs/1912.01274> (recalled, not read).
/// # Differences from the source
/// The epsilon, its value that of the usual batch norm, keeps channels without variance finite. The source has no
/// input term; with a weight above 0 it is the same formula with the images as the one layer.
struct GaussianKl {
    epsilon: f64,
}

impl StatisticsLoss for GaussianKl {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: false, unbiased: false }
    }

    fn evaluate(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        let variance = statistics.target.var.clone() + self.epsilon;
        let ratio = (statistics.var.clone() + self.epsilon) / variance.clone();
        let gap = statistics.mean.clone() - statistics.target.mean.clone();
        let spread = ratio.clone() - 1.0 - ratio.log();
        (spread + gap.clone() * gap / variance).sum() * 0.5
    }
}

pub(super) const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "gaussian-kl",
    summary: "divergence of the batch's mean and biased variance, read as Gaussians, from the remembered ones",
    source: "Haroush et al., The Knowledge Within, CVPR 2020",
    defaults: defaults_of::<GaussianKlConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{close, loss, statistics};

    #[test]
    fn it_is_its_formula() {
        let loss = loss("gaussian-kl", "epsilon = 1e-9");
        let statistics = statistics(&[[1.0, 2.0, -1.0]], &[[1.0, 4.0, 0.25]]);
        let kl = |gap: f64, var: f64| 0.5 * (var - 1.0 - var.ln() + gap * gap);
        close(loss.evaluate(&statistics, 64), kl(1.0, 1.0) + kl(2.0, 4.0) + kl(-1.0, 0.25), 1e-5);
    }

    #[test]
    fn the_epsilon_stands_with_both_variances() {
        let statistics = statistics(&[[0.0; 3]], &[[0.0, 1.0, 1.0]]);
        let ratio: f64 = 0.5 / 1.5;
        close(loss("gaussian-kl", "epsilon = 0.5").evaluate(&statistics, 1), 0.5 * (ratio - 1.0 - ratio.ln()), 1e-5);
    }
}
