//! The batch-norm loss `bhattacharyya`: how little two Gaussians overlap.

use blindfold::burn::tensor::Tensor;
use blindfold::synth::{Sampling, Statistics, StatisticsLoss};
use blindfold::zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

/// Settings of `bhattacharyya`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BhattacharyyaConfig {
    /// `e`, above 0.
    pub epsilon: f64,
}

impl Default for BhattacharyyaConfig {
    fn default() -> Self {
        Self { epsilon: 1e-5 }
    }
}

/// Bhattacharyya's distance of the batch's statistics, read as Gaussians, from the remembered ones.
///
/// ```text
/// L = sum_l sum_c ( (mu - m)^2 / (4 (r + s)) + 1/2 ln( (r + s) / (2 sqrt(r s)) ) ),  r = var + e,  s = v + e
/// ```
/// mu, var: mean and *biased* variance over the batch of the input of batch norm `l`, by channel; m, v: its running
/// statistics; e: `epsilon`.
///
/// # Shapes
/// - statistics: `[1, channel]`; output: `[1]`
///
/// # Range
/// `>= 0`; 0 iff the statistics coincide. Symmetric in both, unlike `gaussian-kl`.
///
/// # Source
/// Bhattacharyya, On a measure of divergence between two statistical populations defined by their probability
/// distributions, Bulletin of the Calcutta Mathematical Society 35, 1943.
///
/// # Differences from the source
/// Summed over channels as if they were independent; the epsilon keeps channels without variance finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Bhattacharyya {
    epsilon: f64,
}

impl Bhattacharyya {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an epsilon that is not above 0.
    pub fn new(config: &BhattacharyyaConfig) -> Result<Self, ConfigError> {
        match config.epsilon.is_finite() && config.epsilon > 0.0 {
            true => Ok(Self { epsilon: config.epsilon }),
            false => Err(ConfigError::invalid("epsilon", config.epsilon, "write a number > 0, such as 1e-5")),
        }
    }
}

impl StatisticsLoss for Bhattacharyya {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: false, unbiased: false }
    }

    fn evaluate(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        let own = statistics.var.clone() + self.epsilon;
        let target = statistics.target.var.clone() + self.epsilon;
        let gap = statistics.mean.clone() - statistics.target.mean.clone();
        let sum = own.clone() + target.clone();
        let spread = sum.clone().div_scalar(2.0).log() - (own.log() + target.log()).div_scalar(2.0);
        (gap.square() / sum.mul_scalar(4.0) + spread.div_scalar(2.0)).sum()
    }
}

/// The batch-norm loss `bhattacharyya`.
pub const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "bhattacharyya",
    summary: "how little the batch's statistics and the remembered ones overlap, read as Gaussians",
    source: "Bhattacharyya: On a measure of divergence between two statistical populations, 1943",
    defaults: defaults_of::<BhattacharyyaConfig>,
    build: |table| Ok(Box::new(Bhattacharyya::new(&parse(table)?)?)),
};
