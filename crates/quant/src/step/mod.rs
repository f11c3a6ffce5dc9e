//! Plugin family: fitting steps that change a quantized network without training it as a whole.

mod batch_norm_range;
mod batch_norm_reestimation;
mod bias_correction;
mod df_mpc;
mod lapq;
mod powell;
mod reconstruct;
mod rescale;
mod seq_mse;
mod squant;
mod stochastic;
mod weight_correction;

use std::fmt::Debug;

pub use batch_norm_range::{BatchNormRange, BatchNormRangeConfig};
pub use batch_norm_reestimation::{BatchNormReestimation, BatchNormReestimationConfig, MeasuredWith};
pub use bias_correction::{BiasCorrection, BiasCorrectionConfig, CorrectionMode};
pub use df_mpc::{DfMpc, DfMpcConfig};
pub use lapq::{Lapq, LapqConfig};
pub use reconstruct::{
    ActivationSteps, ActivationStepsConfig, AdaRound, AdaRoundConfig, Admm, AdmmConfig, Brecq, BrecqConfig,
    DistributionCorrectionConfig, Dropout, GenieM, GenieMConfig, PdQuant, PdQuantConfig, QDrop, QDropConfig, Stretch,
};
pub use seq_mse::{SeqMse, SeqMseConfig};
pub use squant::{Squant, SquantConfig};
pub use stochastic::{StochasticRounding, StochasticRoundingConfig};
pub use weight_correction::{WeightCorrection, WeightCorrectionConfig};

use blindfold_zoo::{Entry, Network};
use burn::tensor::Tensor;

use crate::error::QuantError;
use crate::network::QuantizedNetwork;

/// When a step works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Weights have their codecs, activations are in floating point and will be calibrated afterwards.
    Weights,
    /// Activations are calibrated as well.
    Network,
}

/// Changes a quantized network: codes, scales, biases, statistics.
pub trait FittingStep: Debug + Send + Sync {
    /// When it works.
    fn stage(&self) -> Stage;

    /// Whether it looks at images.
    fn needs_images(&self) -> bool;

    /// The changed network.
    ///
    /// # Errors
    /// [`QuantError::Cancelled`] when [`FitProgress::cancelled`] says so; a step's own.
    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError>;
}

/// What a step is given besides the student.
pub struct FitRequest<'a> {
    /// The teacher in floating point, without gradients, the same graph as the student's network: batch norms folded where
    /// the protocol folds them, passes applied.
    pub teacher: &'a Network,
    /// All images `[image, channel, height, width]`, on the device; for a step that looks at none it may be one image of zeros.
    pub images: &'a Tensor<4>,
    /// The seed of random streams: `blindfold_zoo::stream(seed, "purpose")`.
    pub seed: u64,
    /// Told of every unit of work; may ask to stop.
    pub progress: &'a mut dyn FitProgress,
}

/// Told how a step gets on.
pub trait FitProgress {
    /// Unit `done` of `total` ended (a layer, a block, an iteration), with values to log.
    fn unit(&mut self, done: usize, total: usize, values: &[(String, f64)]);

    /// Whether the user wants to stop.
    fn cancelled(&self) -> bool {
        false
    }

    /// Keeps the student as it is after unit `done`, for a restart.
    fn checkpoint(&mut self, _done: usize, _student: &QuantizedNetwork) -> Result<(), QuantError> {
        Ok(())
    }

    /// The unit to start from, and the student as it was then, if an earlier life of this step left one.
    fn resume(&mut self) -> Option<(usize, crate::network::QuantizedState)> {
        None
    }
}

/// Progress that nobody sees.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl FitProgress for Silent {
    fn unit(&mut self, _done: usize, _total: usize, _values: &[(String, f64)]) {}
}

/// All fitting steps of this crate.
pub const BUILTIN: &[Entry<dyn FittingStep>] = &[
    squant::ENTRY,
    stochastic::ENTRY,
    weight_correction::ENTRY,
    bias_correction::ENTRY,
    batch_norm_reestimation::ENTRY,
    batch_norm_range::ENTRY,
    df_mpc::ENTRY,
    seq_mse::ENTRY,
    lapq::ENTRY,
    reconstruct::adaround::ENTRY,
    reconstruct::brecq::ENTRY,
    reconstruct::activation_steps::ENTRY,
    reconstruct::qdrop::ENTRY,
    reconstruct::pd_quant::ENTRY,
    reconstruct::genie_m::ENTRY,
    reconstruct::admm::ENTRY,
];
