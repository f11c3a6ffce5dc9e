//! The settings of a student's training.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::terms::LossConfig;

/// The `distill` table.
///
/// The defaults fit a CIFAR network: IntraQ's optimizer, learning rate and batch, and the divergence alone as loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// Epochs of training, the range warm-up not counted.
    pub epochs: usize,
    /// Steps an epoch; where absent, one pass through the images (their number divided by `batch`, rounded down).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations_per_epoch: Option<usize>,
    /// Images a step.
    pub batch: usize,
    /// The learning rate that the schedule's factor multiplies.
    pub lr: f64,
    /// How often the share of changed integer weights is measured, in steps; 0 for never.
    pub log_every: usize,
    /// How parameters move.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves, over the steps after the range warm-up.
    pub schedule: Schedule,
    /// Ranges of activations collected before the training.
    pub range_warmup: RangeWarmup,
    /// What happens to an image before it is shown to both networks.
    pub augment: Augmentation,
    /// The losses, each with its weight and its own options.
    pub loss: Vec<LossConfig>,
}

/// The `range_warmup` table: steps in which the ranges of activations are collected while nothing is updated.
///
/// The estimator is the one that the `[quant]` table names for activations (GDFQ: `moving-average`). After these steps the
/// ranges stay; without such steps the ranges of the calibration stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangeWarmup {
    /// Steps, of `batch` images each.
    pub iterations: usize,
}

impl Default for StudentConfig {
    fn default() -> Self {
        let kl = LossConfig { kind: "kl".to_owned(), weight: 1.0, options: toml::Table::new() };
        Self {
            epochs: 150,
            iterations_per_epoch: None,
            batch: 256,
            lr: 1e-4,
            log_every: 1,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            range_warmup: RangeWarmup::default(),
            augment: Augmentation::default(),
            loss: vec![kl],
        }
    }
}

impl StudentConfig {
    /// Checks the values against a set of `count` images of `shape`; the losses are checked where they are built.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key.
    pub fn validate(&self, count: usize, shape: [usize; 3]) -> Result<(), ConfigError> {
        if self.epochs == 0 {
            return Err(ConfigError::invalid("epochs", 0, "write at least 1, or leave out the training"));
        }
        if self.iterations_per_epoch == Some(0) {
            return Err(ConfigError::invalid(
                "iterations_per_epoch",
                0,
                "write at least 1, or leave the key out for one pass",
            ));
        }
        if self.batch == 0 || self.batch > count {
            return Err(ConfigError::invalid("batch", self.batch, format!("write 1 to {count}, the number of images")));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return Err(ConfigError::invalid("lr", self.lr, "write a number > 0"));
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))?;
        self.schedule.validate().map_err(|error| error.within("schedule"))?;
        self.augment.validate(shape).map_err(|error| error.within("augment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTRAQ: &str = "
        epochs = 150
        iterations_per_epoch = 200
        batch = 256
        lr = 1e-4
        optimizer = { kind = 'sgd', momentum = 0.9, nesterov = true, weight_decay = 1e-4 }
        schedule = { kind = 'step', milestones = [20, 40, 60], factor = 0.1 }
        range_warmup = { iterations = 800 }
        augment = { crop_pad = 4, flip = true }
        [[loss]]
        kind = 'kl'
        weight = 20
        temperature = 20.0
        [[loss]]
        kind = 'cross-entropy'
        target = 'label'
    ";

    #[test]
    fn a_table_survives_a_round_trip() {
        let config: StudentConfig = toml::from_str(INTRAQ).unwrap();
        assert_eq!(config.loss[0].options, toml::toml! { temperature = 20.0 });
        assert_eq!((config.loss[0].weight, config.loss[1].weight), (20.0, 1.0));
        assert_eq!(config, toml::from_str(&toml::to_string(&config).unwrap()).unwrap());
        let default = StudentConfig::default();
        assert_eq!(default, toml::from_str(&toml::to_string(&default).unwrap()).unwrap());
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<StudentConfig>("learning_rate = 1").is_err());
        assert!(toml::from_str::<StudentConfig>("range_warmup = { steps = 1 }").is_err());
        assert!(toml::from_str::<StudentConfig>("augment = { mirror = true }").is_err());
    }

    #[test]
    fn faults_name_their_key() {
        let message = |change: fn(&mut StudentConfig)| {
            let mut config = StudentConfig::default();
            change(&mut config);
            config.validate(300, [3, 8, 8]).unwrap_err().to_string()
        };
        assert!(message(|config| config.batch = 301).contains("write 1 to 300"));
        assert!(message(|config| config.iterations_per_epoch = Some(0)).contains("`iterations_per_epoch`"));
        assert!(message(|config| config.lr = f64::NAN).contains("`lr`: NaN"));
        assert!(message(|config| config.augment.crop_pad = 8).contains("`augment.crop_pad`"));
        StudentConfig::default().validate(300, [3, 8, 8]).unwrap();
    }
}
