//! Learned rounding, layer by layer.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::engine::reconstruct;
use super::schedule::Annealing;
use super::settings::{BATCH, ITERATIONS, Rounding, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`AdaRound`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaRoundConfig {
    /// Steps of the optimizer for each layer; 10,000 in the paper.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// Learning rate of the roundings.
    pub lr: f64,
    /// Weight of the regulariser.
    pub lambda: f64,
    /// Its exponent after the warm-up.
    pub beta_start: f64,
    /// Its exponent at the end.
    pub beta_end: f64,
    /// Share of the iterations without it.
    pub warmup: f64,
}

impl Default for AdaRoundConfig {
    fn default() -> Self {
        Self {
            iterations: ITERATIONS,
            batch: BATCH,
            lr: 1e-3,
            lambda: 0.01,
            beta_start: 20.0,
            beta_end: 2.0,
            warmup: 0.2,
        }
    }
}

/// Rounds each weight up or down so that its layer's output stays close, rather than the weight itself.
///
/// ```text
/// min_V  E ||f(W x) - f(W~ x^)||^2 + lambda * sum (1 - |2 h(V) - 1|^beta)
/// W~ = s * clamp(floor(W / s) + h(V), low, high)       h(V) = clamp(sigmoid(V) (zeta - gamma) + gamma, 0, 1)
/// ```
/// `x^`: what the student, rounded so far, passes to the layer; `f`: the batch norm and the rectifier that belong to
/// it; `zeta = 1.1`, `gamma = -0.1`. `beta` falls linearly after the warm-up. In the end `h = 1` where `V >= 0`, else
/// 0.
///
/// # Range
/// No layer's error is above nearest rounding's: one that would be keeps nearest rounding. Weights whose codecs are not
/// uniform integers keep their nearest levels.
///
/// # Source
/// Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020.
///
/// # Differences from the source
/// 1,000 iterations a layer where the paper has 10,000: the `V` of a rounding moves by at most about `lr` an iteration,
/// so that with few of them a larger rate, such as 0.01, decides more roundings. Batch norms that are not folded run
/// with their running statistics.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the layer.
#[derive(Debug, Clone)]
pub struct AdaRound {
    settings: Settings,
}

impl AdaRound {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &AdaRoundConfig) -> Result<Self, ConfigError> {
        let AdaRoundConfig { iterations, batch, lr, lambda, beta_start, beta_end, warmup } = *config;
        let annealing = Annealing { start: beta_start, end: beta_end, warmup };
        let settings = Settings {
            stretch: Stretch::Layer,
            iterations,
            batch,
            exponent: 2.0,
            rounding: Some(Rounding { lr, lambda, annealing, step_lr: None }),
            activation_lr: None,
            drop: 0.0,
            prediction: None,
            correction: None,
        };
        Ok(Self { settings: settings.checked()? })
    }
}

impl FittingStep for AdaRound {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("adaround", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "adaround",
    summary: "rounding up or down learned layer by layer on the layers' outputs",
    source: "Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020",
    defaults: defaults_of::<AdaRoundConfig>,
    build: |table| Ok(Box::new(AdaRound::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = AdaRoundConfig::default();
        for (key, config) in [
            ("iterations", AdaRoundConfig { iterations: 0, ..plain.clone() }),
            ("batch", AdaRoundConfig { batch: 0, ..plain.clone() }),
            ("lr", AdaRoundConfig { lr: -1.0, ..plain.clone() }),
            ("lambda", AdaRoundConfig { lambda: f64::NAN, ..plain.clone() }),
            ("beta_start", AdaRoundConfig { beta_start: 0.5, ..plain.clone() }),
            ("beta_end", AdaRoundConfig { beta_end: 1e9, ..plain.clone() }),
            ("warmup", AdaRoundConfig { warmup: 1.0, ..plain.clone() }),
        ] {
            let error = AdaRound::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")) && error.contains("write"), "{error}");
        }
        assert!(AdaRound::new(&plain).is_ok());
    }
}
