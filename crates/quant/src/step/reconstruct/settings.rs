//! What a reconstruction by gradient learns, and how: each method is one value of this.

use blindfold_zoo::ConfigError;

use super::correction::DistributionCorrection;
use super::schedule::Annealing;
use super::units::Stretch;

/// Iterations a unit that all methods have by default: a short budget for a CPU.
pub(super) const ITERATIONS: usize = 1000;
/// Images a batch that all methods have by default.
pub(super) const BATCH: usize = 32;

/// A method.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What is fitted together.
    pub(super) stretch: Stretch,
    /// Steps of the optimizer a unit.
    pub(super) iterations: usize,
    /// Images a step.
    pub(super) batch: usize,
    /// `p` of the reconstruction loss.
    pub(super) exponent: f64,
    /// How weights are learned, if they are.
    pub(super) rounding: Option<Rounding>,
    /// The learning rate of the steps of activations, if they are learned; it falls as a cosine.
    pub(super) activation_lr: Option<f64>,
    /// The probability with which a quantized activation, or a value that the unit reads, is replaced by its float.
    pub(super) drop: f64,
    /// The difference of the network's prediction, if it counts.
    pub(super) prediction: Option<Prediction>,
    /// How the teacher's values are corrected before a unit is fitted to them, if they are.
    pub(super) correction: Option<DistributionCorrection>,
}

/// Learned rounding.
#[derive(Debug, Clone)]
pub(super) struct Rounding {
    /// The learning rate of `V`.
    pub(super) lr: f64,
    /// Weight of the regulariser.
    pub(super) lambda: f64,
    /// Its exponent.
    pub(super) annealing: Annealing,
    /// The learning rate of the weights' steps, if they are learned; it falls as a cosine.
    pub(super) step_lr: Option<f64>,
}

/// The loss of the network's prediction.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    /// Its weight.
    pub(super) weight: f64,
    /// The temperature of both distributions.
    pub(super) temperature: f64,
}

impl Settings {
    /// Checks the values; the keys are those of the methods' tables.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        count("iterations", self.iterations)?;
        count("batch", self.batch)?;
        if !(1.0..=16.0).contains(&self.exponent) {
            return Err(ConfigError::invalid("exponent", self.exponent, "write a number from 1 to 16, such as 2.4"));
        }
        if let Some(Rounding { lr, lambda, annealing: Annealing { start, end, warmup }, step_lr }) = self.rounding {
            positive("lr", lr)?;
            if !(lambda >= 0.0 && lambda.is_finite()) {
                return Err(ConfigError::invalid("lambda", lambda, "write 0 or a positive number, such as 0.01"));
            }
            for (key, beta) in [("beta_start", start), ("beta_end", end)] {
                if !(1.0..=100.0).contains(&beta) {
                    return Err(ConfigError::invalid(key, beta, "write a number from 1 to 100"));
                }
            }
            if !(0.0..1.0).contains(&warmup) {
                return Err(ConfigError::invalid("warmup", warmup, "write a share from 0 to below 1, such as 0.2"));
            }
            if let Some(lr) = step_lr {
                positive("weight_step_lr", lr)?;
            }
        }
        if let Some(lr) = self.activation_lr {
            let key = if self.rounding.is_some() { "activation_lr" } else { "lr" };
            positive(key, lr)?;
        }
        if !(0.0..1.0).contains(&self.drop) {
            return Err(ConfigError::invalid("drop", self.drop, "write a probability from 0 to below 1, such as 0.5"));
        }
        if let Some(Prediction { weight, temperature }) = self.prediction {
            positive("prediction_weight", weight)?;
            positive("temperature", temperature)?;
        }
        Ok(self)
    }
}

/// A number of something that must be there.
pub(super) fn count(key: &str, value: usize) -> Result<(), ConfigError> {
    if value > 0 { Ok(()) } else { Err(ConfigError::invalid(key, value, "write at least 1")) }
}

/// A positive finite number.
pub(super) fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(ConfigError::invalid(key, value, "write a positive number"))
    }
}
