//! Learned activation steps, block by block: the second phase of BRECQ.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::engine::reconstruct;
use super::settings::{BATCH, ITERATIONS, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`ActivationSteps`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActivationStepsConfig {
    /// Steps of the optimizer for each block; 5,000 in the paper.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// Learning rate at the start; it falls to 0 as a half cosine.
    pub lr: f64,
    /// `p` of the loss.
    pub exponent: f64,
}

impl Default for ActivationStepsConfig {
    fn default() -> Self {
        Self { iterations: ITERATIONS, batch: BATCH, lr: 4e-4, exponent: 2.4 }
    }
}

/// The steps of a block's activations, learned on the block's output; weights stay.
///
/// ```text
/// min_s  (1 / (B H W)) sum_{b,c,h,w} |y - y~(s)|^p
/// x^ = s * round(clamp(x / s, low, high))        dx^/ds = round(x / s) - x / s inside, low or high outside
/// ```
/// The sites of a block are those among its nodes. Images as the network's input keep their step.
///
/// # Range
/// No block's mean squared error is above that of the calibrated steps: one that would be keeps them. Dynamic ranges,
/// codecs that are not uniform integers, and channels with different zero points keep what they have.
///
/// # Source
/// Li et al., BRECQ, ICLR 2021; the gradient of Esser et al., Learned Step Size Quantization, ICLR 2020.
///
/// # Differences from the source
/// 1,000 iterations a block where the paper has 5,000. The range estimator of the configuration gives the start.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the block.
#[derive(Debug, Clone)]
pub struct ActivationSteps {
    settings: Settings,
}

impl ActivationSteps {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &ActivationStepsConfig) -> Result<Self, ConfigError> {
        let ActivationStepsConfig { iterations, batch, lr, exponent } = *config;
        let settings = Settings {
            stretch: Stretch::Block,
            iterations,
            batch,
            exponent,
            rounding: None,
            activation_lr: Some(lr),
            drop: 0.0,
            prediction: None,
            correction: None,
        };
        Ok(Self { settings: settings.checked()? })
    }
}

impl FittingStep for ActivationSteps {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("activation-steps", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "activation-steps",
    summary: "steps of activations learned block by block, weights frozen: the second phase of BRECQ",
    source: "Li et al., BRECQ, ICLR 2021; Esser et al., Learned Step Size Quantization, ICLR 2020",
    defaults: defaults_of::<ActivationStepsConfig>,
    build: |table| Ok(Box::new(ActivationSteps::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = ActivationStepsConfig::default();
        for (key, config) in [
            ("lr", ActivationStepsConfig { lr: 0.0, ..plain.clone() }),
            ("exponent", ActivationStepsConfig { exponent: 0.5, ..plain.clone() }),
        ] {
            let error = ActivationSteps::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")), "{error}");
        }
        assert!(ActivationSteps::new(&plain).is_ok());
    }
}
