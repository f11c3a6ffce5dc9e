//! How the learning rate moves over the training.

use std::f64::consts::PI;

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

/// The `schedule` table: the factor on the learning rate as a function of the step.
///
/// `t` is the step from 0, `T` the number of steps, `e = t / (steps an epoch)`:
///
/// ```text
/// constant    1
/// step        factor^(number of milestones <= e)
/// cosine      f + (1 - f) * (1 + cos(pi * t / T)) / 2                         f = final_factor
/// one-cycle   t <  w * T:  s + (1 - s) * t / (w * T)                          w = warmup, s = start_factor
///             t >= w * T:  f + (1 - f) * (1 + cos(pi * p)) / 2   (cosine)     p = (t - w * T) / (T - w * T)
///                          1 + (f - 1) * p                       (linear)
/// ```
///
/// # Source
/// cosine: Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5 without restarts; one-cycle: Smith and Topin, Super-convergence, 2018.
///
/// # Differences from the source
/// The one-cycle schedule moves the learning rate alone, not the momentum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The learning rate as it stands.
    Constant {},
    /// Multiplied by `factor` at each milestone.
    Step {
        /// Epochs (fractions allowed) at which the rate drops.
        milestones: Vec<f64>,
        /// What it is multiplied by.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Half a cosine down.
    Cosine {
        /// Where it ends, as a factor.
        #[serde(default)]
        final_factor: f64,
    },
    /// Linear up, then down.
    OneCycle {
        /// Share of the steps that go up.
        #[serde(default = "third")]
        warmup: f64,
        /// Where it starts, as a factor.
        #[serde(default = "twenty_fifth")]
        start_factor: f64,
        /// Where it ends, as a factor.
        #[serde(default)]
        final_factor: f64,
        /// The way down.
        #[serde(default)]
        anneal: Anneal,
    },
}

/// The shape of the one-cycle schedule's way down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

fn tenth() -> f64 {
    0.1
}

fn third() -> f64 {
    0.3
}

fn twenty_fifth() -> f64 {
    0.04
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant {}
    }
}

impl Schedule {
    /// The factor at step `step` of `total`, with `per_epoch` steps an epoch.
    pub fn factor(&self, step: usize, total: usize, per_epoch: usize) -> f64 {
        let (t, last) = (step as f64, total.max(1) as f64);
        match self {
            Self::Constant {} => 1.0,
            Self::Step { milestones, factor } => {
                let epoch = t / per_epoch.max(1) as f64;
                let passed = milestones.iter().filter(|&&milestone| milestone <= epoch).count();
                (0..passed).fold(1.0, |rate, _| rate * factor)
            }
            Self::Cosine { final_factor } => cosine(*final_factor, t / last),
            Self::OneCycle { warmup, start_factor, final_factor, anneal } => {
                let peak = warmup * last;
                if t < peak {
                    return start_factor + (1.0 - start_factor) * t / peak;
                }
                let progress = if last > peak { (t - peak) / (last - peak) } else { 1.0 };
                match anneal {
                    Anneal::Cosine => cosine(*final_factor, progress),
                    Anneal::Linear => 1.0 + (final_factor - 1.0) * progress,
                }
            }
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with a key within `schedule`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let factor = |key: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(ConfigError::invalid(key, value, "write a factor >= 0")),
        };
        match self {
            Self::Constant {} => Ok(()),
            Self::Step { milestones, factor: drop } => {
                let ordered =
                    milestones.is_sorted() && milestones.iter().all(|epoch| epoch.is_finite() && *epoch >= 0.0);
                if !ordered {
                    return Err(ConfigError::invalid(
                        "milestones",
                        format!("{milestones:?}"),
                        "write epochs >= 0 in rising order",
                    ));
                }
                factor("factor", *drop)
            }
            Self::Cosine { final_factor } => factor("final_factor", *final_factor),
            Self::OneCycle { warmup, start_factor, final_factor, .. } => {
                if !(0.0..=1.0).contains(warmup) {
                    return Err(ConfigError::invalid("warmup", warmup, "write a share of the steps between 0 and 1"));
                }
                factor("start_factor", *start_factor)?;
                factor("final_factor", *final_factor)
            }
        }
    }
}

fn cosine(last: f64, progress: f64) -> f64 {
    last + (1.0 - last) * (1.0 + (PI * progress).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Schedule {
        toml::from_str(text).unwrap()
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn step_drops_at_its_milestones() {
        let schedule = read("kind = 'step'\nmilestones = [2, 3.5]");
        let rates: Vec<f64> = (0..10).map(|t| schedule.factor(t, 10, 2)).collect();
        for (t, rate) in rates.into_iter().enumerate() {
            near(rate, [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01][t]);
        }
    }

    #[test]
    fn cosine_has_its_closed_form() {
        let schedule = read("kind = 'cosine'\nfinal_factor = 0.2");
        near(schedule.factor(0, 100, 10), 1.0);
        near(schedule.factor(50, 100, 10), 0.6);
        near(schedule.factor(25, 100, 10), 0.2 + 0.8 * (1.0 + 0.5f64.sqrt()) / 2.0);
        near(schedule.factor(100, 100, 10), 0.2);
    }

    #[test]
    fn one_cycle_rises_in_a_line_and_falls_as_told() {
        let linear = read("kind = 'one-cycle'\nwarmup = 0.25\nstart_factor = 0.5\nfinal_factor = 0\nanneal = 'linear'");
        near(linear.factor(0, 40, 1), 0.5);
        near(linear.factor(5, 40, 1), 0.75);
        near(linear.factor(10, 40, 1), 1.0);
        near(linear.factor(25, 40, 1), 0.5);
        near(linear.factor(40, 40, 1), 0.0);
        let cosine = read("kind = 'one-cycle'\nwarmup = 0.25\nstart_factor = 0.5");
        near(cosine.factor(20, 40, 1), (1.0 + (PI / 3.0).cos()) / 2.0);
        let no_warmup = read("kind = 'one-cycle'\nwarmup = 0");
        near(no_warmup.factor(0, 40, 1), 1.0);
    }

    #[test]
    fn wrong_tables_are_errors_that_name_the_key() {
        assert!(toml::from_str::<Schedule>("kind = 'cosine'\nfinal = 1").is_err());
        assert!(toml::from_str::<Schedule>("kind = 'constant'\nfactor = 1").is_err());
        let error = read("kind = 'one-cycle'\nwarmup = 1.5").validate().unwrap_err();
        assert!(error.to_string().contains("`warmup`: 1.5"), "{error}");
        assert!(read("kind = 'step'\nmilestones = [3, 2]").validate().is_err());
    }

    #[test]
    fn tables_survive_a_round_trip() {
        for text in
            ["kind = 'constant'", "kind = 'step'\nmilestones = [20, 40]", "kind = 'cosine'", "kind = 'one-cycle'"]
        {
            let schedule = read(text);
            assert_eq!(schedule, toml::from_str(&toml::to_string(&schedule).unwrap()).unwrap());
            schedule.validate().unwrap();
        }
    }
}
