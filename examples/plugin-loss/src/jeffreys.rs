//! The loss `jeffreys`: the symmetric divergence.

use blindfold::burn::tensor::Tensor;
use blindfold::burn::tensor::activation::log_softmax;
use blindfold::distill::{Loss, Signals};
use blindfold::zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

/// Options of the loss `jeffreys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JeffreysConfig {
    /// `T`, above 0.
    pub temperature: f64,
}

impl Default for JeffreysConfig {
    fn default() -> Self {
        Self { temperature: 4.0 }
    }
}

/// Jeffreys' divergence between the softened distributions of student and teacher: the mean of both directions of the
/// Kullback-Leibler divergence.
///
/// ```text
/// L = T^2/N * sum_n ( KL(p_n, q_n) + KL(q_n, p_n) ) / 2
///   = T^2/(2 N) * sum_n sum_c (p_nc - q_nc) * (log p_nc - log q_nc)       p = softmax(t / T),  q = softmax(s / T)
/// ```
/// `s`, `t`: logits of student and teacher; `N`: images.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `>= 0`; 0 iff the distributions coincide. Unit: nats (times `T^2`).
///
/// # Source
/// Jeffreys, An invariant form for the prior probability in estimation problems, Proceedings of the Royal Society A,
/// 1946.
///
/// # Differences from the source
/// Half of the sum of both directions, so that it is as large as `kl` where the networks nearly agree; the factor
/// `T^2` of `kl`.
#[derive(Debug, Clone, PartialEq)]
pub struct Jeffreys {
    config: JeffreysConfig,
}

impl Jeffreys {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: JeffreysConfig) -> Result<Self, ConfigError> {
        match config.temperature.is_finite() && config.temperature > 0.0 {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("temperature", config.temperature, "write a number > 0")),
        }
    }
}

impl Loss for Jeffreys {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let [batch, _] = signals.student.dims();
        let temperature = self.config.temperature;
        let soften = |logits: &Tensor<2>| log_softmax(logits.clone().div_scalar(temperature), 1);
        let (student, teacher) = (soften(&signals.student), soften(&signals.teacher));
        let divergence = (teacher.clone().exp() - student.clone().exp()) * (teacher - student);
        divergence.sum().mul_scalar(temperature.powi(2) / (2 * batch) as f64)
    }
}

/// The loss `jeffreys`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "jeffreys",
    summary: "mean of both directions of the Kullback-Leibler divergence between the softened distributions",
    source: "Jeffreys: An invariant form for the prior probability in estimation problems, 1946",
    defaults: defaults_of::<JeffreysConfig>,
    build: |table| Ok(Box::new(Jeffreys::new(parse(table)?)?)),
};
