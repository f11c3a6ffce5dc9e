//! Faults of the user's input, which end the program with exit code 2.

use blindfold_zoo::{ConfigError, WeightError};

use crate::data::DataError;
use crate::record::{CompareError, RecordError};

/// The user's input was wrong: what, where, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// An error with its causes as a fault of the user's input.
    pub fn of(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
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
            || cause.downcast_ref::<RecordError>().is_some_and(RecordError::is_usage)
    })
}
