//! Block reconstruction that heeds the whole network's prediction.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::correction::{DistributionCorrection, DistributionCorrectionConfig};
use super::engine::reconstruct;
use super::schedule::Annealing;
use super::settings::{BATCH, ITERATIONS, Prediction, Rounding, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`PdQuant`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PdQuantConfig {
    /// Steps of the optimizer for each block; 20,000 in the paper.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// Learning rate of the roundings.
    pub lr: f64,
    /// Learning rate of the activations' steps at the start; it falls to 0 as a half cosine.
    pub activation_lr: f64,
    /// Weight of the regulariser.
    pub lambda: f64,
    /// Its exponent after the warm-up.
    pub beta_start: f64,
    /// Its exponent at the end.
    pub beta_end: f64,
    /// Share of the iterations without it.
    pub warmup: f64,
    /// Probability with which a value passes unquantized.
    pub drop: f64,
    /// Weight of the prediction difference: `1 / lamb_r` of the authors' code.
    pub prediction_weight: f64,
    /// Temperature of the predictions.
    pub temperature: f64,
    /// How what a block reads in the teacher is corrected before it is fitted.
    pub correction: DistributionCorrectionConfig,
}

impl Default for PdQuantConfig {
    fn default() -> Self {
        Self {
            iterations: ITERATIONS,
            batch: BATCH,
            lr: 3e-3,
            activation_lr: 4e-5,
            lambda: 0.01,
            beta_start: 20.0,
            beta_end: 2.0,
            warmup: 0.2,
            drop: 0.5,
            prediction_weight: 10.0,
            temperature: 4.0,
            correction: DistributionCorrectionConfig::default(),
        }
    }
}

/// [`QDrop`](super::QDrop) with the difference between the network's predictions with and without the block quantized.
///
/// ```text
/// min_{V,s}  L_qdrop + prediction_weight * (1 / B) sum_b KL(softmax(z / T) || softmax(z~ / T))
/// ```
/// `z`: the teacher's logits; `z~`: those of the quantized block followed by the rest of the network in floating point,
/// on the same mixed inputs as the reconstruction term.
///
/// What the block reads in the teacher (the values that are mixed in, and what the reconstruction term's target is the
/// output of) is first corrected towards the statistics of its batch norms, image by image and by Adam, from the
/// teacher's values `A`:
///
/// ```text
/// min_a  sum_l sum_c (m_lc(a) - mean_lc)^2 + (sqrt(v_lc(a) + e) - deviation_lc)^2  +  (weight / (H W)) sum (a - A)^2
/// ```
/// `m`, `v`: mean and unbiased variance over the image's positions of what batch norm `l` of the block reads; `mean`,
/// `deviation`: its running mean, and `sqrt(running_var + epsilon)`; `e = 1e-5`. Of a folded batch norm the output is
/// seen, from which the statistics of its input follow.
///
/// # Range
/// As [`QDrop`](super::QDrop); the error that must not rise is the block's alone, towards the teacher's output as it is
/// without correction, so that a block whose prediction is better at the cost of its own error keeps what it had. Of
/// each image's corrected values the best on the way are taken: their statistics are never further from the remembered
/// ones than before.
///
/// # Source
/// Liu et al., PD-Quant: Post-Training Quantization Based on Prediction Difference Metric, CVPR 2023; the statistics by
/// image, and `1 / lamb_c` as the `weight`, as in the authors' code.
///
/// # Differences from the source
/// The divergence is taken from the teacher's distribution to the student's, as PyTorch's `kl_div` takes it, and on the
/// mixed inputs, where the authors' code runs the block once more on the student's alone. 1,000 iterations a block where
/// the paper has 20,000. Of the correction: 50 iterations where the authors' code has 500; a rate that falls as a half
/// cosine, where theirs falls when the sum no longer does; the best values, not the last; `e` is theirs times 10; folded
/// channels whose `gamma` is next to 0 are left out.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the block.
#[derive(Debug, Clone)]
pub struct PdQuant {
    settings: Settings,
}

impl PdQuant {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &PdQuantConfig) -> Result<Self, ConfigError> {
        let PdQuantConfig { iterations, batch, lr, activation_lr, lambda, drop, temperature, .. } = *config;
        let PdQuantConfig { beta_start, beta_end, warmup, prediction_weight: weight, .. } = *config;
        let annealing = Annealing { start: beta_start, end: beta_end, warmup };
        let correction = DistributionCorrection::new(&config.correction).map_err(|error| error.within("correction"))?;
        let settings = Settings {
            stretch: Stretch::Block,
            iterations,
            batch,
            exponent: 2.0,
            rounding: Some(Rounding { lr, lambda, annealing, step_lr: None }),
            activation_lr: Some(activation_lr),
            drop,
            prediction: Some(Prediction { weight, temperature }),
            correction,
        };
        Ok(Self { settings: settings.checked()? })
    }
}

impl FittingStep for PdQuant {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("pd-quant", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "pd-quant",
    summary: "QDrop with the difference of the whole network's prediction in the loss, on corrected inputs",
    source: "Liu et al., PD-Quant: Post-Training Quantization Based on Prediction Difference Metric, CVPR 2023",
    defaults: defaults_of::<PdQuantConfig>,
    build: |table| Ok(Box::new(PdQuant::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = PdQuantConfig::default();
        let correction = DistributionCorrectionConfig { lr: f64::NAN, ..Default::default() };
        for (key, config) in [
            ("correction.lr", PdQuantConfig { correction, ..plain.clone() }),
            ("prediction_weight", PdQuantConfig { prediction_weight: 0.0, ..plain.clone() }),
            ("temperature", PdQuantConfig { temperature: -4.0, ..plain.clone() }),
        ] {
            let error = PdQuant::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")), "{error}");
        }
        assert!(PdQuant::new(&plain).is_ok());
    }
}
