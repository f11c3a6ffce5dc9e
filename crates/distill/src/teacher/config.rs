//! The settings of a supervised training.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;

/// The `train` table of a teacher's file. The defaults are those of a CIFAR ResNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherConfig {
    /// Passes through the training set.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// The learning rate that the schedule's factor multiplies.
    pub lr: f64,
    /// How parameters move.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Share of the target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Share of a batch's statistics in the running ones after each step (PyTorch's `momentum`).
    pub batch_norm_momentum: f64,
    /// What happens to an image before it is shown.
    pub augment: Augmentation,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        Self {
            epochs: 200,
            batch: 128,
            lr: 0.1,
            optimizer: OptimizerConfig::Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 5e-4,
                decay_norm_and_bias: true,
            },
            schedule: Schedule::Cosine { final_factor: 0.0 },
            label_smoothing: 0.0,
            batch_norm_momentum: 0.1,
            augment: Augmentation { crop_pad: 4, flip: true },
        }
    }
}

impl TeacherConfig {
    /// Checks the values against a training set of `count` images of `shape`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key.
    pub fn validate(&self, count: usize, shape: [usize; 3]) -> Result<(), ConfigError> {
        if self.epochs == 0 {
            return Err(ConfigError::invalid("epochs", 0, "write at least 1"));
        }
        if self.batch < 2 || self.batch > count {
            return Err(ConfigError::invalid("batch", self.batch, format!("write 2 to {count}, the number of images")));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return Err(ConfigError::invalid("lr", self.lr, "write a number > 0"));
        }
        if !(self.batch_norm_momentum > 0.0 && self.batch_norm_momentum <= 1.0) {
            return Err(ConfigError::invalid(
                "batch_norm_momentum",
                self.batch_norm_momentum,
                "write a number > 0 and <= 1",
            ));
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))?;
        self.schedule.validate().map_err(|error| error.within("schedule"))?;
        self.augment.validate(shape).map_err(|error| error.within("augment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_a_round_trip() {
        let text = "epochs = 3\nlr = 0.4\nlabel_smoothing = 0.1\n[schedule]\nkind = 'one-cycle'\nwarmup = 0.2\n[augment]\ncrop_pad = 2";
        let config: TeacherConfig = toml::from_str(text).unwrap();
        assert_eq!((config.batch, config.augment.crop_pad, config.augment.flip), (128, 2, false));
        assert_eq!(config, toml::from_str(&toml::to_string(&config).unwrap()).unwrap());
        assert!(toml::from_str::<TeacherConfig>("epoch = 3").is_err());
    }

    #[test]
    fn faults_name_their_key() {
        let message = |change: fn(&mut TeacherConfig)| {
            let mut config = TeacherConfig::default();
            change(&mut config);
            config.validate(1000, [3, 32, 32]).unwrap_err().to_string()
        };
        assert!(message(|config| config.epochs = 0).contains("`epochs`: 0"));
        assert!(message(|config| config.batch = 1001).contains("2 to 1000"));
        assert!(message(|config| config.lr = 0.0).contains("`lr`: 0"));
        assert!(message(|config| config.augment.crop_pad = 32).contains("`augment.crop_pad`: 32"));
        assert!(
            message(|config| config.schedule = Schedule::Cosine { final_factor: -1.0 })
                .contains("`schedule.final_factor`")
        );
        TeacherConfig::default().validate(1000, [3, 32, 32]).unwrap();
    }
}
