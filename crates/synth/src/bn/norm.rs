//! `norm`: the distance of DeepInversion.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Sampling, Statistics, StatisticsLoss};

/// Settings of `norm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormConfig {
    /// Weight of the first batch norm; the others have 1.
    pub first_weight: f64,
}

impl Default for NormConfig {
    fn default() -> Self {
        Self { first_weight: 10.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let config: NormConfig = parse(table)?;
    if !(config.first_weight >= 0.0 && config.first_weight.is_finite()) {
        return Err(ConfigError::invalid("first_weight", config.first_weight, "write 0 or a positive number"));
    }
    Ok(Box::new(Norm { first_weight: config.first_weight }))
}

/// Lengths, not squared, of the differences of the mean and of the variance of the batch.
///
/// ```text
/// L = sum_l w_l ( |mu_l(x) - m_l| + |var_l(x) - v_l| ),  w_1 = first_weight, others 1
/// ```
/// mu_l, var_l: mean and *biased* variance over the batch of the input of batch norm `l`, by channel; m_l, v_l: its running
/// statistics; `|.|`: Euclidean length over channels, whose gradient is 0 where the difference is.
///
/// # Shapes
/// - statistics: `[1, channel]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff the statistics coincide. Unit: the mean's part is an activation, the variance's its square.
/// # Source
/// Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020, eq. 4,
/// <https://arxiv.org/abs/1912.08795>.
/// # Differences from the source
/// The source has no input term; with a weight above 0 it is the same formula, unweighted, with the images as the one layer.
struct Norm {
    first_weight: f64,
}

/// Below this length the gradient is 0.
const SHORTEST: f64 = 1e-12;

impl Norm {
    fn weighted(statistics: &Statistics, first_weight: f64) -> Tensor<1> {
        let mean = statistics.mean.clone() - statistics.target.mean.clone();
        let var = statistics.var.clone() - statistics.target.var.clone();
        let mean = mean.clone() * mean;
        let var = var.clone() * var;
        let mut lengths = Vec::with_capacity(2 * statistics.target.layers.len());
        for (layer, channels) in statistics.target.layers.iter().enumerate() {
            let weight = if layer == 0 { first_weight } else { 1.0 };
            for squares in [&mean, &var] {
                let sum = squares.clone().narrow(1, channels.start, channels.len()).sum();
                lengths.push(sum.clamp_min(SHORTEST * SHORTEST).sqrt() * weight);
            }
        }
        Tensor::cat(lengths, 0).sum()
    }
}

impl StatisticsLoss for Norm {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: false, unbiased: false }
    }

    fn evaluate(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        Self::weighted(statistics, self.first_weight)
    }

    fn evaluate_input(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        Self::weighted(statistics, 1.0)
    }
}

pub(super) const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "norm",
    summary: "unsquared lengths of the differences of mean and biased variance of the batch",
    source: "Yin et al., DeepInversion, CVPR 2020, eq. 4",
    defaults: defaults_of::<NormConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{close, loss, statistics};

    #[test]
    fn it_is_its_formula() {
        let statistics = statistics(&[[1.0, 2.0, -1.0]], &[[2.0, 4.0, 0.25]]);
        let others = 5f64.sqrt() + (9.0f64 + 0.5625).sqrt();
        close(loss("norm", "").evaluate(&statistics, 64), 10.0 * 2.0 + others, 1e-4);
        close(loss("norm", "first_weight = 0.5").evaluate(&statistics, 64), 0.5 * 2.0 + others, 1e-4);
        close(loss("norm", "").evaluate_input(&statistics, 64), 2.0 + others, 1e-4);
    }

    #[test]
    fn the_gradient_at_the_target_is_zero() {
        let mut statistics = statistics(&[[0.0; 3]], &[[1.0; 3]]);
        let mean = statistics.mean.autodiff().require_grad();
        statistics.mean = mean.clone();
        let gradient = mean.grad(&loss("norm", "").evaluate(&statistics, 4).backward()).unwrap();
        assert_eq!(gradient.into_data().iter::<f32>().collect::<Vec<_>>(), [0.0; 3]);
    }
}
