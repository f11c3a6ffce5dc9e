//! What `my-loss` is, in one line.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Loss, Signals};

/// Options of the loss `my-loss`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MyLossConfig {
    /// `T`, above 0.
    pub temperature: f64,
}

impl Default for MyLossConfig {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

/// Mean squared difference of the softened logits: a beginning, in whose place the loss itself comes.
///
/// ```text
/// L = 1/(N * C) * sum_n sum_c ((s_nc - t_nc) / T)^2
/// ```
/// `s`, `t`: logits of student and teacher; `N`: images; `C`: classes; `T`: the temperature.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff the logits coincide. Unit: logit^2 (over `T^2`).
///
/// # Source
/// Authors, title, venue year, equation.
///
/// # Differences from the source
/// None known, or what they are.
#[derive(Debug, Clone, PartialEq)]
pub struct MyLoss {
    config: MyLossConfig,
}

impl MyLoss {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: MyLossConfig) -> Result<Self, ConfigError> {
        match config.temperature.is_finite() && config.temperature > 0.0 {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("temperature", config.temperature, "write a number > 0")),
        }
    }
}

impl Loss for MyLoss {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let difference = signals.student.clone() - signals.teacher.clone();
        difference.div_scalar(self.config.temperature).square().mean()
    }
}

/// The loss `my-loss`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "my-loss",
    summary: "mean squared difference of the softened logits",
    source: "authors, title, venue year",
    defaults: defaults_of::<MyLossConfig>,
    build: |table| Ok(Box::new(MyLoss::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn a_constant_offset_costs_its_square_over_that_of_the_temperature() {
        let teacher = Tensor::<2>::from_floats([[1.0, -2.0], [0.0, 3.0]], &Device::default());
        let signals = Signals::of_logits(teacher.clone() - 3.0, teacher);
        let loss = MyLoss::new(MyLossConfig { temperature: 2.0 }).unwrap();
        assert!((floats(loss.value(&signals))[0] - 9.0 / 4.0).abs() < 1e-6);
    }

    #[test]
    fn a_temperature_of_zero_is_refused() {
        let error = (ENTRY.build)("temperature = 0.0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("`temperature`: 0"), "{error}");
    }
}
