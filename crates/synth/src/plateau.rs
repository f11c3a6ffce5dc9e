//! A learning rate that falls when the loss stops falling.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

/// Settings of [`PlateauScheduler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Steps without improvement that are let pass before the rate falls.
    pub patience: usize,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// The rate never falls below this.
    pub min_lr: f64,
    /// A loss improves when it is below `best * (1 - threshold)`.
    pub threshold: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { patience: 100, factor: 0.1, min_lr: 1e-4, threshold: 1e-4 }
    }
}

impl PlateauConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(ConfigError::invalid("factor", self.factor, "write a number between 0 and 1"));
        }
        if !(self.min_lr >= 0.0 && self.min_lr.is_finite()) {
            return Err(ConfigError::invalid("min_lr", self.min_lr, "write 0 or a positive number"));
        }
        if !(0.0..1.0).contains(&self.threshold) {
            return Err(ConfigError::invalid("threshold", self.threshold, "write a number from 0 to below 1"));
        }
        Ok(())
    }
}

/// PyTorch's `ReduceLROnPlateau` in mode `min` with a relative threshold and no cooldown.
///
/// ```text
/// loss < best * (1 - threshold):  best = loss, bad = 0     else: bad += 1
/// bad > patience:  new = max(lr * factor, min_lr), lr = new if lr - new > 1e-8, bad = 0
/// ```
///
/// # Source
/// `torch.optim.lr_scheduler.ReduceLROnPlateau`; the numbers of the test were computed with PyTorch.
#[derive(Debug, Clone)]
pub struct PlateauScheduler {
    config: PlateauConfig,
    lr: f64,
    best: f64,
    bad: usize,
}

/// Smaller decreases of the rate are left out, as in PyTorch.
const SMALLEST_DECREASE: f64 = 1e-8;

impl PlateauScheduler {
    /// A scheduler that starts at `lr`.
    pub fn new(lr: f64, config: PlateauConfig) -> Self {
        Self { config, lr, best: f64::INFINITY, bad: 0 }
    }

    /// The rate of the next step.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Takes the loss of the step that was made.
    pub fn step(&mut self, loss: f64) {
        if loss < self.best * (1.0 - self.config.threshold) {
            self.best = loss;
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.bad > self.config.patience {
            let lower = (self.lr * self.config.factor).max(self.config.min_lr);
            if self.lr - lower > SMALLEST_DECREASE {
                self.lr = lower;
            }
            self.bad = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: PlateauConfig, losses: &[f64]) -> Vec<f64> {
        let mut scheduler = PlateauScheduler::new(0.5, config);
        losses
            .iter()
            .map(|&loss| {
                scheduler.step(loss);
                scheduler.lr()
            })
            .collect()
    }

    #[test]
    fn the_rates_are_those_of_pytorch() {
        let losses = [
            10.0, 9.0, 8.9999, 8.9995, 8.999, 8.98, 8.98, 8.98, 8.98, 8.98, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7,
            5.8, 5.9, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0,
        ];
        let mut expected = vec![0.5; 8];
        expected.extend([0.05; 5]);
        expected.extend([0.005000000000000001; 3]);
        expected.extend([0.0005000000000000001; 3]);
        expected.extend([0.0001; 13]);
        assert_eq!(rates(PlateauConfig { patience: 2, ..PlateauConfig::default() }, &losses), expected);
    }

    #[test]
    fn the_threshold_is_relative() {
        let losses = [1.0, 1.0 - 0.99e-4, 1.0 - 1.01e-4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let config = PlateauConfig { patience: 1, factor: 0.5, ..PlateauConfig::default() };
        assert_eq!(rates(config, &losses), [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]);
    }

    #[test]
    fn values_outside_their_range_are_named() {
        let error = PlateauConfig { factor: 1.5, ..PlateauConfig::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "`factor`: 1.5 is not valid: write a number between 0 and 1");
    }
}
