//! Range of the logits, to be as large as it can.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{non_negative, positive};
use super::{Loss, Signals};

/// Options of the loss `logit-range`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitRangeConfig {
    /// How the range enters.
    pub form: RangeForm,
    /// Added to the range in `inverse`; above 0.
    pub epsilon: f64,
    /// `rho` in `regularised`, at least 0: the best range is `1 / (2 rho)`.
    pub regularisation: f64,
}

/// How the range enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RangeForm {
    /// `-r`.
    Negative,
    /// `1 / (r + epsilon)`.
    Inverse,
    /// `-r + rho * r^2`.
    Regularised,
}

impl Default for LogitRangeConfig {
    fn default() -> Self {
        Self { form: RangeForm::Negative, epsilon: 1e-6, regularisation: 0.05 }
    }
}

/// How narrow the student's answers are: a wide range of logits is a clear answer.
///
/// ```text
/// r_n = max_c s_nc - min_c s_nc
/// negative:  L = -1/N * sum_n r_n      inverse:  L = 1/N * sum_n 1 / (r_n + e)      regularised:  L = 1/N * sum_n (-r_n + rho r_n^2)
/// ```
/// `s`: the student's logits; `e`: epsilon; `rho`: the regularisation.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `negative`: `<= 0`, without bound below; `inverse`: `0` to `1 / e`; `regularised`: `>= -1 / (4 rho)`, least at `r = 1 / (2 rho)`.
/// Unit: logit, its inverse, logit.
///
/// # Source
/// Sony's Model Compression Toolkit, data generation: the output losses `negative_min_max_diff` and `inverse_min_max_diff`
/// (weight 1e-5), <https://github.com/SonySemiconductorSolutions/mct-model-optimization>.
///
/// # Differences from the source
/// There the teacher's logits shape the images; here the student's are trained. The regularised form of the source holds the logits
/// below the product of the norms of the last layer's input and weights, which a loss of logits does not see: ours is a parabola.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitRange {
    config: LogitRangeConfig,
}

impl LogitRange {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an epsilon that is not above 0, and for a regularisation below 0.
    pub fn new(config: LogitRangeConfig) -> Result<Self, ConfigError> {
        positive("epsilon", config.epsilon)?;
        non_negative("regularisation", config.regularisation)?;
        Ok(Self { config })
    }
}

impl Loss for LogitRange {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let logits = signals.student.clone();
        let range = logits.clone().max_dim(1) - logits.min_dim(1);
        let cost = match self.config.form {
            RangeForm::Negative => range.neg(),
            RangeForm::Inverse => range.add_scalar(self.config.epsilon).recip(),
            RangeForm::Regularised => range.clone().square().mul_scalar(self.config.regularisation) - range,
        };
        cost.mean()
    }
}

/// The loss `logit-range`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "logit-range",
    summary: "negative (or inverse, or regularised) range of the student's logits: answers should be clear",
    source: "Sony: Model Compression Toolkit, data generation, output losses",
    defaults: defaults_of::<LogitRangeConfig>,
    build: |table| Ok(Box::new(LogitRange::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn value(config: LogitRangeConfig) -> f32 {
        let student = Tensor::<2>::from_floats([[1.0, -2.0, 0.5], [0.0, 0.25, 1.0]], &Device::default());
        floats(LogitRange::new(config).unwrap().value(&Signals::of_logits(student.clone(), student)))[0]
    }

    #[test]
    fn it_is_its_formula() {
        let of = |form| LogitRangeConfig { form, epsilon: 1.0, regularisation: 0.1 };
        assert!((value(of(RangeForm::Negative)) + 2.0).abs() < 1e-6);
        assert!((value(of(RangeForm::Inverse)) - (0.25 + 0.5) / 2.0).abs() < 1e-6);
        assert!((value(of(RangeForm::Regularised)) - (-4.0 + 0.1 * 10.0) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn options_outside_their_range_are_errors() {
        let message = |table: toml::Table| (ENTRY.build)(table).unwrap_err().to_string();
        assert!(message(toml::toml! { epsilon = 0.0 }).contains("`epsilon`: 0"));
        assert!(message(toml::toml! { regularisation = -1.0 }).contains("`regularisation`: -1"));
    }
}
