//! How the learning rate of the images moves.

use std::f64::consts::PI;

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::plateau::{PlateauConfig, PlateauScheduler};

/// The `schedule` table: how the learning rate moves over the iterations of a batch.
///
/// `t` is the iteration from 0, `T` their number:
///
/// ```text
/// plateau     ReduceLROnPlateau on the loss, see `PlateauScheduler`
/// cosine      t < w:   (t + 1) / w                                    w = warmup
///             t >= w:  (1 + cos(pi * (t - w) / (T - w))) / 2
/// constant    1
/// step        factor^(number of milestones <= t)
/// ```
/// times the optimizer's `lr`.
///
/// # Source
/// cosine with warm-up: Yin et al., DeepInversion, CVPR 2020.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Falls when the loss stops falling.
    Plateau(PlateauConfig),
    /// A straight line up, then half a cosine down.
    Cosine(CosineConfig),
    /// As it stands.
    Constant {},
    /// Falls at given iterations.
    Step(StepConfig),
}

/// Settings of [`ScheduleConfig::Cosine`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// Iterations of the line up.
    pub warmup: usize,
}

/// Settings of [`ScheduleConfig::Step`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepConfig {
    /// Iterations, from 0, from which on the rate is lower.
    pub milestones: Vec<usize>,
    /// What it is multiplied by at each.
    pub factor: f64,
}

impl Default for StepConfig {
    fn default() -> Self {
        Self { milestones: Vec::new(), factor: 0.1 }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Plateau(PlateauConfig::default())
    }
}

impl ScheduleConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Plateau(config) => config.validate(),
            Self::Step(StepConfig { factor, .. }) if !(*factor > 0.0 && factor.is_finite()) => {
                Err(ConfigError::invalid("factor", factor, "write a positive number"))
            }
            Self::Cosine(_) | Self::Constant {} | Self::Step(_) => Ok(()),
        }
    }

    /// The rates of one batch of so many iterations.
    pub(crate) fn begin(&self, lr: f64, iterations: usize) -> Schedule {
        let plateau = match self {
            Self::Plateau(config) => Some(PlateauScheduler::new(lr, config.clone())),
            _ => None,
        };
        Schedule { config: self.clone(), plateau, base: lr, iterations, done: 0 }
    }
}

/// The learning rate of each iteration, from the losses so far.
pub(crate) struct Schedule {
    config: ScheduleConfig,
    plateau: Option<PlateauScheduler>,
    base: f64,
    iterations: usize,
    done: usize,
}

impl Schedule {
    /// The rate of the next step.
    pub(crate) fn lr(&self) -> f64 {
        if let Some(plateau) = &self.plateau {
            return plateau.lr();
        }
        self.base * self.factor()
    }

    /// Takes the loss of the step that was made.
    pub(crate) fn step(&mut self, loss: f64) {
        self.done += 1;
        if let Some(plateau) = &mut self.plateau {
            plateau.step(loss);
        }
    }

    fn factor(&self) -> f64 {
        match &self.config {
            ScheduleConfig::Cosine(CosineConfig { warmup }) if self.done < *warmup => {
                (self.done + 1) as f64 / *warmup as f64
            }
            ScheduleConfig::Cosine(CosineConfig { warmup }) => {
                let rest = self.iterations.saturating_sub(*warmup).max(1);
                (1.0 + (PI * (self.done - warmup) as f64 / rest as f64).cos()) / 2.0
            }
            ScheduleConfig::Step(StepConfig { milestones, factor }) => {
                let passed = milestones.iter().filter(|&&milestone| milestone <= self.done).count();
                (0..passed).fold(1.0, |rate, _| rate * factor)
            }
            ScheduleConfig::Plateau(_) | ScheduleConfig::Constant {} => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: &ScheduleConfig, losses: &[f64]) -> Vec<f64> {
        let mut schedule = config.begin(0.5, losses.len());
        losses
            .iter()
            .map(|&loss| {
                let lr = schedule.lr();
                schedule.step(loss);
                lr
            })
            .collect()
    }

    fn read(text: &str) -> Result<ScheduleConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn each_kind_has_its_rates() {
        let plateau = PlateauConfig { patience: 1, ..PlateauConfig::default() };
        assert_eq!(rates(&ScheduleConfig::Plateau(plateau), &[1.0; 5]), [0.5, 0.5, 0.5, 0.05, 0.05]);
        assert_eq!(rates(&ScheduleConfig::Constant {}, &[1.0; 3]), [0.5; 3]);
        let step = StepConfig { milestones: vec![1, 3], factor: 0.5 };
        assert_eq!(rates(&ScheduleConfig::Step(step), &[1.0; 5]), [0.5, 0.25, 0.25, 0.125, 0.125]);
        let cosine = rates(&ScheduleConfig::Cosine(CosineConfig { warmup: 2 }), &[1.0; 6]);
        let expected = [0.25, 0.5, 0.5, 0.5 * 0.853_553_390_593, 0.25, 0.5 * 0.146_446_609_407];
        for (rate, expected) in cosine.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-9, "{cosine:?}");
        }
    }

    #[test]
    fn every_kind_comes_back_from_its_text() {
        for config in [
            ScheduleConfig::default(),
            ScheduleConfig::Constant {},
            ScheduleConfig::Cosine(CosineConfig { warmup: 7 }),
            ScheduleConfig::Step(StepConfig { milestones: vec![3, 9], factor: 0.2 }),
        ] {
            assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
        assert_eq!(read("kind = \"cosine\"").unwrap(), ScheduleConfig::Cosine(CosineConfig::default()));
    }

    #[test]
    fn faults_are_named() {
        assert!(read("kind = \"cosine\"\npatience = 3").unwrap_err().to_string().contains("patience"));
        assert!(read("kind = \"constant\"\npatience = 3").unwrap_err().to_string().contains("patience"));
        assert!(read("kind = \"plateu\"").unwrap_err().to_string().contains("plateu"));
        let step = ScheduleConfig::Step(StepConfig { factor: 0.0, ..StepConfig::default() });
        assert!(step.validate().unwrap_err().to_string().starts_with("`factor`: 0 is not valid"));
    }
}
