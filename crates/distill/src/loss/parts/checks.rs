//! What options must be.

use blindfold_zoo::ConfigError;

/// Refuses what is no finite number above 0.
pub(crate) fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(ConfigError::invalid(key, value, "write a number > 0")),
    }
}

/// Refuses what is no finite number from 0 on.
pub(crate) fn non_negative(key: &str, value: f64) -> Result<(), ConfigError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(ConfigError::invalid(key, value, "write a number >= 0")),
    }
}
