//! How pixels become a network's input.

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// `x = (pixel / 255 - mean) / std`, channel by channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// One value a channel, in units of the pixel range 0 to 1.
    pub mean: Vec<f32>,
    /// One positive value a channel, in the same units.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Checks that there is one finite mean and one positive deviation for each of `channels`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] naming what does not fit.
    pub fn check(&self, channels: usize) -> Result<(), ConfigError> {
        if self.mean.len() != channels || self.std.len() != channels {
            let found = format!("{} means and {} deviations", self.mean.len(), self.std.len());
            return Err(ConfigError::invalid(
                "normalization",
                found,
                format!("give one of each for the {channels} channels"),
            ));
        }
        if let Some(bad) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(ConfigError::invalid("normalization.mean", bad, "means must be finite"));
        }
        if let Some(bad) = self.std.iter().find(|std| !(**std > 0.0 && std.is_finite())) {
            return Err(ConfigError::invalid("normalization.std", bad, "deviations must be positive"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_finite_and_deviations_positive() {
        let check = |mean: f32, std: f32| Normalization { mean: vec![mean], std: vec![std] }.check(1);
        assert!(check(0.0, 1.0).is_ok());
        for (mean, std, key) in [(f32::NAN, 1.0, "mean"), (f32::INFINITY, 1.0, "mean"), (0.0, 0.0, "std")] {
            let error = check(mean, std).unwrap_err().to_string();
            assert!(error.contains(&format!("normalization.{key}")), "{error}");
        }
    }
}
