//! What can go wrong in training, as its user sees it.

use blindfold_quant::QuantError;
use blindfold_synth::SynthError;
use blindfold_zoo::{ConfigError, WeightError};

/// A fault in building, running or resuming a trainer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistillError {
    /// A value of the configuration, or a configuration that does not fit the network or the images.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A state that does not fit the network.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// A fault of the quantizer, such as a range that cannot be estimated.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A fault of a generator, such as a loss of its own that diverged.
    #[error(transparent)]
    Synth(SynthError),
    /// A loss became NaN or infinite.
    #[error(
        "step {step}: the loss `{term}` is {value}: lower `lr`, lower the weight of this loss, or check its inputs \
         (the last checkpoint is from before this step)"
    )]
    NotFinite {
        /// The step, from 0.
        step: usize,
        /// The term's name in the records.
        term: String,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// A weight of the student became NaN or infinite.
    #[error("step {step}: {fault}: lower `lr`, or check the images (the last checkpoint is from before this step)")]
    Diverged {
        /// The step, from 0.
        step: usize,
        /// Which weight, as the quantizer says it.
        fault: String,
    },
    /// A step was asked for after the last one.
    #[error("all {total} steps are done: raise `epochs` for more")]
    Done {
        /// Number of steps of the whole training.
        total: usize,
    },
    /// A checkpoint that cannot be read, or that belongs to another training.
    #[error(
        "the checkpoint {problem}: start again without it, or resume with the program and configuration that wrote it"
    )]
    Checkpoint {
        /// What is wrong with it, as the continuation of "the checkpoint".
        problem: String,
    },
}

impl From<SynthError> for DistillError {
    fn from(error: SynthError) -> Self {
        match error {
            SynthError::Config(error) => Self::Config(error),
            other => Self::Synth(other),
        }
    }
}

impl DistillError {
    /// The same error with `prefix.` before its key, for a table that stands within another.
    pub(crate) fn within(self, prefix: &str) -> Self {
        match self {
            Self::Config(error) => Self::Config(error.within(prefix)),
            other => other,
        }
    }

    /// A checkpoint that cannot be used; `problem` continues the sentence "the checkpoint ...".
    pub(crate) fn checkpoint(problem: impl Into<String>) -> Self {
        Self::Checkpoint { problem: problem.into() }
    }
}
