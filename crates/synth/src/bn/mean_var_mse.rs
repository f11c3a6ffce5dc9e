//! `mean-var-mse`: the distance of GDFQ.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Sampling, Statistics, StatisticsLoss};

/// Settings of `mean-var-mse`: there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanVarMseConfig {}

fn build(table: toml::Table) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let MeanVarMseConfig {} = parse(table)?;
    Ok(Box::new(MeanVarMse))
}

/// Mean squared error of the mean and of the variance of the batch, averaged over layers.
///
/// ```text
/// L = (1/K) sum_l ( MSE(mu_l(x), m_l) + MSE(var_l(x), v_l) )
/// ```
/// mu_l, var_l: mean and *biased* variance over the batch of the input of batch norm `l`, by channel; m_l, v_l: its running
/// statistics; K: the number of batch norms; MSE: mean over channels.
///
/// # Shapes
/// - statistics: `[1, channel]`; output: `[1]`
/// # Range
/// `>= 0`; 0 iff the statistics coincide. Unit: the mean's part is a squared activation, the variance's its fourth power.
/// # Source
/// Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, eq. 5, <https://arxiv.org/abs/2003.03603>.
/// # Differences from the source
/// The source has no input term; with a weight above 0 it is the same formula with the images as the one layer.
struct MeanVarMse;

impl StatisticsLoss for MeanVarMse {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: false, unbiased: false }
    }

    fn evaluate(&self, statistics: &Statistics, _images: usize) -> Tensor<1> {
        let layers = statistics.target.layers.len() as f64;
        let mean = statistics.mean.clone() - statistics.target.mean.clone();
        let var = statistics.var.clone() - statistics.target.var.clone();
        let share = statistics.by_layer(|_, channels| 1.0 / (layers * channels as f64));
        ((mean.clone() * mean + var.clone() * var) * share).sum()
    }
}

pub(super) const ENTRY: Entry<dyn StatisticsLoss> = Entry {
    name: "mean-var-mse",
    summary: "mean squared error of mean and biased variance of the batch, averaged over layers",
    source: "Xu et al., GDFQ, ECCV 2020, eq. 5",
    defaults: defaults_of::<MeanVarMseConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{close, loss, statistics};

    #[test]
    fn it_is_its_formula() {
        let loss = loss("mean-var-mse", "");
        let statistics = statistics(&[[1.0, 2.0, -1.0]], &[[1.0, 4.0, 0.25]]);
        let first = 1.0 + 0.0;
        let second = (4.0 + 9.0 + 1.0 + 0.5625) / 2.0;
        close(loss.evaluate(&statistics, 64), (first + second) / 2.0, 1e-5);
    }

    #[test]
    fn it_takes_no_keys() {
        let error =
            crate::statistics_losses().unwrap().build("mean-var-mse", "epsilon = 1".parse().unwrap()).err().unwrap();
        assert!(error.to_string().contains("epsilon"), "{error}");
    }
}
