//! Faults of the user's input, which end the program with exit code 2.

use std::io::ErrorKind;

use blindfold_distill::DistillError;
use blindfold_quant::QuantError;
use blindfold_synth::SynthError;
use blindfold_zoo::{ConfigError, WeightError};

use crate::causes::with_causes;
use crate::data::DataError;
use crate::record::{CompareError, RecordError};

/// The user's input was wrong: what, where, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// An error with its causes as a fault of the user's input.
    pub fn of(error: anyhow::Error) -> Self {
        Self(with_causes(&error))
    }
}

/// Whether an error is the user's to mend: exit code 2, not 1.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause.is::<ConfigError>()
            || cause.is::<WeightError>()
            || cause.is::<DataError>()
            || cause.is::<CompareError>()
            || cause.downcast_ref::<RecordError>().is_some_and(record_is_usage)
            || cause.downcast_ref::<QuantError>().is_some_and(quant_is_usage)
            || cause.downcast_ref::<DistillError>().is_some_and(distill_is_usage)
            || cause.downcast_ref::<SynthError>().is_some_and(synth_is_usage)
    })
}

/// What to do about an error whose own words do not say it.
pub(crate) fn advice(error: &anyhow::Error) -> Option<&'static str> {
    let damaged = |error: &RecordError| matches!(error, RecordError::Format { .. });
    let found = error.chain().any(|cause| cause.downcast_ref::<RecordError>().is_some_and(damaged));
    found.then_some("the file is damaged: take it from a copy, or move its folder aside and run again")
}

/// Places that cannot be written and files that were damaged are the user's to mend, other answers of the system not.
fn record_is_usage(error: &RecordError) -> bool {
    use ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    match error {
        RecordError::Io { source, .. } => {
            matches!(source.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem)
        }
        RecordError::Format { .. } => true,
        other => other.is_usage(),
    }
}

fn quant_is_usage(error: &QuantError) -> bool {
    match error {
        QuantError::Config(_) => true,
        QuantError::At { source, .. } => quant_is_usage(source),
        _ => false,
    }
}

fn distill_is_usage(error: &DistillError) -> bool {
    match error {
        DistillError::Config(_) | DistillError::Weights(_) => true,
        DistillError::Quant(error) => quant_is_usage(error),
        _ => false,
    }
}

fn synth_is_usage(error: &SynthError) -> bool {
    use SynthError::{Config, NoBatchNorm, NoRealImages, Shape, TooFewRealImages};
    matches!(error, TooFewRealImages { .. } | NoBatchNorm { .. } | Shape { .. } | NoRealImages | Config(_))
}
