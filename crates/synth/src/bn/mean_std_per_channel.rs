//! `mean-std-per-channel`: the distance of GENIE.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Sampling, Statistics, StatisticsLoss, checked_epsilon};

/// Settings of `mean-std-per-channel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanStdPerChannelConfig {
    /// Added to the running variances before the root.
    pub epsilon: f64,
}

impl Default for MeanStdPerChannelConfig {
    fn default() -> Self {
        Self { epsilon: 1e-6 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let config: MeanStdPerChannelConfig = parse(table)?;
    Ok(Box::new(MeanStdPerChannel { epsilon: checked_epsilon(config.epsilon)? }))
}

/// Squared distance of the mean and the standard deviation of the batch, divided by each layer's number of channels.
///
/// ```text
/// L = sum_l (1/C_l) ( |mu_l(x) - m_l|^2 + |sigma_l(x) - s_l|^2 ),  sigma = sqrt(var),  s = sqrt(v + e)
/// ```
/// mu_l, var_l: mean and *unbiased* variance over the batch of the input of batch norm `l`, by channel; m_l, v_l: its running
/// statistics; C_l: its number of channels. Where a variance is 0 its root has the gradient 0.
///
/// The input term is taken image by image and summed over channels, as in the source: `(1/N) sum_n ( |mu|^2 + |sigma - 1|^2 )`.
///
/// # Shapes
/// - statistics: `[1, channel]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff the statistics coincide. Unit: squared activation.
/// # Source
/// Jeon et al., "GENIE: Show Me the Data for Quantization", CVPR 2023, section 3.1, <https://arxiv.org/abs/2212.04780>.
/// # Differences from the source
/// None.
struct MeanStdPerChannel {
    epsilon: f64,
}

/// Variances below this count as it.
const SMALLEST_VARIANCE: f64 = 1e-12;

impl MeanStdPerChannel {
    fn squared(&self, statistics: &Statistics) -> Tensor<2> {
        let mean = statistics.mean.clone() - statistics.target.mean.clone();
        let std = statistics.var.clone().clamp_min(SMALLEST_VARIANCE).sqrt() - statistics.target.std(self.epsilon);
        mean.clone() * mean + std.clone() * std
    }
}

impl StatisticsLoss for MeanStdPerChannel {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: false, unbiased: true }
    }

    fn evaluate(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        (self.squared(statistics) * statistics.by_layer(|_, channels| 1.0 / channels as f64)).sum()
    }

    fn input_sampling(&self) -> Sampling {
        Sampling { per_image: true, unbiased: true }
    }

    fn evaluate_input(&self, statistics: &Statistics, images: usize) -> Tensor<1> {
        self.squared(statistics).sum() / images as f64
    }
}

pub(super) const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "mean-std-per-channel",
    summary: "squared distance of mean and standard deviation of the batch, divided by each layer's channels",
    source: "Jeon et al., GENIE, CVPR 2023, section 3.1",
    defaults: defaults_of::<MeanStdPerChannelConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{close, loss, statistics};

    #[test]
    fn it_is_its_formula() {
        let loss = loss("mean-std-per-channel", "");
        let statistics = statistics(&[[1.0, 2.0, -1.0]], &[[1.0, 4.0, 0.25]]);
        close(loss.evaluate(&statistics, 64), 1.0 + (4.0 + 1.0 + 1.0 + 0.25) / 2.0, 1e-5);
    }

    #[test]
    fn the_input_term_is_taken_image_by_image() {
        let loss = loss("mean-std-per-channel", "");
        assert!(loss.input_sampling().per_image && !loss.sampling().per_image);
        let statistics = statistics(&[[1.0, 2.0, -1.0], [0.0; 3]], &[[1.0; 3], [1.0; 3]]);
        close(loss.evaluate_input(&statistics, 2), 3.0, 1e-5);
    }
}
