//! Learned rounding, block by block.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::engine::reconstruct;
use super::schedule::Annealing;
use super::settings::{BATCH, ITERATIONS, Rounding, Settings};
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`Brecq`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrecqConfig {
    /// Steps of the optimizer for each block; 20,000 in the paper.
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

impl Default for BrecqConfig {
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

/// The roundings of all layers of a block, learned together on the block's output.
///
/// ```text
/// min_V  (1 / (B H W)) sum_{b,c,h,w} (y - y~)^2 + lambda * sum (1 - |2 h(V) - 1|^beta)
/// ```
/// `y`: the block's output in the teacher; `y~`: in the student, with soft roundings as in
/// [`AdaRound`](super::AdaRound) and on what the student, rounded so far, passes to the block. Layers outside of blocks
/// (the first, the last, transitions) are blocks of their own. The second phase is the step
/// [`ActivationSteps`](super::ActivationSteps).
///
/// # Range
/// No block's error is above nearest rounding's: one that would be keeps nearest rounding. Weights whose codecs are not
/// uniform integers keep their nearest levels.
///
/// # Source
/// Li et al., BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, ICLR 2021.
///
/// # Differences from the source
/// 1,000 iterations a block where the paper has 20,000: the `V` of a rounding moves by at most about `lr` an iteration,
/// so that with few of them a larger rate, such as 0.01, decides more roundings. The plain squared error (the authors'
/// default) without the paper's Fisher weights. The first layer is reconstructed too.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the block.
#[derive(Debug, Clone)]
pub struct Brecq {
    settings: Settings,
}

impl Brecq {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &BrecqConfig) -> Result<Self, ConfigError> {
        let BrecqConfig { iterations, batch, lr, lambda, beta_start, beta_end, warmup } = *config;
        let annealing = Annealing { start: beta_start, end: beta_end, warmup };
        let settings = Settings {
            stretch: Stretch::Block,
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

impl FittingStep for Brecq {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("brecq", &self.settings, request, student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "brecq",
    summary: "rounding up or down learned block by block on the blocks' outputs",
    source: "Li et al., BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, ICLR 2021",
    defaults: defaults_of::<BrecqConfig>,
    build: |table| Ok(Box::new(Brecq::new(&parse(table)?)?)),
};
