//! Block reconstruction with activation quantization that is dropped at random.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::engine::reconstruct;
use super::schedule::Annealing;
use super::settings::{BATCH, ITERATIONS, Rounding, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`QDrop`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QDropConfig {
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
}

impl Default for QDropConfig {
    fn default() -> Self {
        Self {
            iterations: ITERATIONS,
            batch: BATCH,
            lr: 1e-3,
            activation_lr: 4e-5,
            lambda: 0.01,
            beta_start: 20.0,
            beta_end: 2.0,
            warmup: 0.2,
            drop: 0.5,
        }
    }
}

/// The roundings of a block's weights and the steps of its activations, learned together, while at random places
/// activations are not quantized.
///
/// ```text
/// x^  = where(u < drop, x, Q_s(x))                    at each site, u uniform for each value
/// in  = where(u < drop, x_teacher, x_student)         for what the block reads
/// min_{V,s}  (1 / (B H W)) sum (y - y~)^2 + lambda * sum (1 - |2 h(V) - 1|^beta)
/// ```
/// Roundings as in [`AdaRound`](super::AdaRound), steps as in [`ActivationSteps`](super::ActivationSteps).
///
/// # Range
/// No block's error, nothing dropped, is above that of nearest rounding with the calibrated steps: one that would be
/// keeps them. Weights and activations whose codecs are not uniform integers keep what they have.
///
/// # Source
/// Wei et al., QDrop: Randomly Dropping Quantization for Extremely Low-bit Post-Training Quantization, ICLR 2022.
///
/// # Differences from the source
/// 1,000 iterations a block where the paper has 20,000 (see [`AdaRound`](super::AdaRound) on the learning rate);
/// calibrated by the configuration's range estimator and images.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the block.
#[derive(Debug, Clone)]
pub struct QDrop {
    settings: Settings,
}

impl QDrop {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &QDropConfig) -> Result<Self, ConfigError> {
        let QDropConfig { iterations, batch, lr, activation_lr, lambda, beta_start, beta_end, warmup, drop } = *config;
        let annealing = Annealing { start: beta_start, end: beta_end, warmup };
        let settings = Settings {
            stretch: Stretch::Block,
            iterations,
            batch,
            exponent: 2.0,
            rounding: Some(Rounding { lr, lambda, annealing, step_lr: None }),
            activation_lr: Some(activation_lr),
            drop,
            prediction: None,
            correction: None,
        };
        Ok(Self { settings: settings.checked()? })
    }
}

impl FittingStep for QDrop {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("qdrop", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "qdrop",
    summary: "roundings and activation steps learned block by block, activation quantization dropped at random",
    source: "Wei et al., QDrop: Randomly Dropping Quantization for Extremely Low-bit PTQ, ICLR 2022",
    defaults: defaults_of::<QDropConfig>,
    build: |table| Ok(Box::new(QDrop::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = QDropConfig::default();
        for (key, config) in [
            ("activation_lr", QDropConfig { activation_lr: 0.0, ..plain.clone() }),
            ("drop", QDropConfig { drop: 1.0, ..plain.clone() }),
        ] {
            let error = QDrop::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")), "{error}");
        }
        assert!(QDrop::new(&plain).is_ok());
    }
}
