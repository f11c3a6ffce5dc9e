//! Block reconstruction with learned weight steps.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::engine::reconstruct;
use super::schedule::Annealing;
use super::settings::{BATCH, ITERATIONS, Rounding, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`GenieM`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenieMConfig {
    /// Steps of the optimizer for each block; 20,000 in the paper.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// Learning rate of the roundings.
    pub lr: f64,
    /// Learning rate of the weights' steps at the start; it falls to 0 as a half cosine.
    pub weight_step_lr: f64,
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

impl Default for GenieMConfig {
    fn default() -> Self {
        Self {
            iterations: ITERATIONS,
            batch: BATCH,
            lr: 1e-3,
            weight_step_lr: 1e-4,
            activation_lr: 4e-5,
            lambda: 1.0,
            beta_start: 20.0,
            beta_end: 2.0,
            warmup: 0.2,
            drop: 0.5,
        }
    }
}

/// [`QDrop`](super::QDrop) with weight steps that are learned too, apart from the rounding.
///
/// ```text
/// B  = floor(W / s_0)                                  frozen
/// W~ = s * clamp(B + h(V), low, high)                  s learned from s_0 on, one a group
/// ```
/// in multiples of the step. Because the integers `B` do not move with `s`, neither does what `V` decides between.
///
/// # Range
/// As [`QDrop`](super::QDrop). A step stays within a factor of 4 of where it began.
///
/// # Source
/// Jeon et al., Genie: Show Me the Data for Quantization, CVPR 2023 (GENIE-M).
///
/// # Differences from the source
/// 1,000 iterations a block where the paper has 20,000; calibrated by the configuration's range estimator and images;
/// the bound on steps.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the block.
#[derive(Debug, Clone)]
pub struct GenieM {
    settings: Settings,
}

impl GenieM {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &GenieMConfig) -> Result<Self, ConfigError> {
        let GenieMConfig { iterations, batch, lr, weight_step_lr, activation_lr, lambda, drop, .. } = *config;
        let GenieMConfig { beta_start, beta_end, warmup, .. } = *config;
        let annealing = Annealing { start: beta_start, end: beta_end, warmup };
        let settings = Settings {
            stretch: Stretch::Block,
            iterations,
            batch,
            exponent: 2.0,
            rounding: Some(Rounding { lr, lambda, annealing, step_lr: Some(weight_step_lr) }),
            activation_lr: Some(activation_lr),
            drop,
            prediction: None,
            correction: None,
        };
        Ok(Self { settings: settings.checked()? })
    }
}

impl FittingStep for GenieM {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("genie-m", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "genie-m",
    summary: "QDrop with learned weight steps on a frozen integer base",
    source: "Jeon et al., Genie: Show Me the Data for Quantization, CVPR 2023",
    defaults: defaults_of::<GenieMConfig>,
    build: |table| Ok(Box::new(GenieM::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = GenieMConfig::default();
        for (key, config) in [
            ("weight_step_lr", GenieMConfig { weight_step_lr: 0.0, ..plain.clone() }),
            ("activation_lr", GenieMConfig { activation_lr: f64::INFINITY, ..plain.clone() }),
        ] {
            let error = GenieM::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")), "{error}");
        }
        assert!(GenieM::new(&plain).is_ok());
    }
}
