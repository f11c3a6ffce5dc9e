//! Jensen-Shannon divergence between softened distributions.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{log_distribution, positive};
use super::{Loss, Signals};

/// The least probability whose logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-30;

/// Options of the loss `js`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsConfig {
    /// `T`, above 0.
    pub temperature: f64,
    /// Probabilities are clamped to `[clamp, 1 - clamp]` (ADI: 0.01), outside which they have no gradient; at least 0 and below 0.5.
    pub clamp: f64,
    /// Multiply by `T^2`, which keeps the gradient's size about the same at every temperature.
    pub scale_by_t2: bool,
}

impl Default for JsConfig {
    fn default() -> Self {
        Self { temperature: 3.0, clamp: 0.0, scale_by_t2: true }
    }
}

/// Jensen-Shannon divergence between the softened distributions of student and teacher: symmetric and bounded.
///
/// ```text
/// L = T^2/N * sum_n ( KL(p_n, m_n) + KL(q_n, m_n) ) / 2        m = (p + q) / 2,  KL(p, m) = sum_c p_c log(p_c / m_c)
/// p = clamp(softmax(t / T), a, 1 - a),  q = clamp(softmax(s / T), a, 1 - a)
/// ```
/// `s`, `t`: logits of student and teacher; `a`: the clamp; without `scale_by_t2` the factor `T^2` is left out.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `0` to `T^2 log 2`; 0 iff the (clamped) distributions coincide. Unit: nats (times `T^2`).
///
/// # Source
/// Yin et al., Dreaming to distill (DeepInversion), CVPR 2020, the competition of ADI, which maximises it in the images, with `T = 3` and the
/// clamp 0.01; Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 1991.
///
/// # Differences from the source
/// Here the student minimises it, without the clamp by default: where it acts, a student that is sure and wrong learns nothing.
/// The factor `T^2` is that of `kl`. Clamped probabilities are not made to sum to 1 again.
#[derive(Debug, Clone, PartialEq)]
pub struct Js {
    config: JsConfig,
}

impl Js {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0, and for a clamp outside `[0, 0.5)`.
    pub fn new(config: JsConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        match (0.0..0.5).contains(&config.clamp) {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("clamp", config.clamp, "write a number >= 0 and < 0.5")),
        }
    }

    fn distribution(&self, logits: &Tensor<2>) -> Tensor<2> {
        let (least, most) = (self.config.clamp.max(LEAST_PROBABILITY), 1.0 - self.config.clamp);
        log_distribution(logits.clone(), self.config.temperature).exp().clamp(least, most)
    }
}

impl Loss for Js {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let [batch, _] = signals.student.dims();
        let (student, teacher) = (self.distribution(&signals.student), self.distribution(&signals.teacher));
        let log_mixture = (student.clone() + teacher.clone()).div_scalar(2.0).log();
        let divergence = |p: Tensor<2>| (p.clone() * (p.log() - log_mixture.clone())).sum();
        let scale = if self.config.scale_by_t2 { self.config.temperature.powi(2) } else { 1.0 };
        (divergence(student) + divergence(teacher)).mul_scalar(scale / (2 * batch) as f64)
    }
}

/// The loss `js`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "js",
    summary: "Jensen-Shannon divergence between the softened distributions of student and teacher",
    source: "Yin et al.: Dreaming to distill, CVPR 2020 (ADI); Lin: Divergence measures, 1991",
    defaults: defaults_of::<JsConfig>,
    build: |table| Ok(Box::new(Js::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn value(config: JsConfig, student: [[f32; 2]; 1], teacher: [[f32; 2]; 1]) -> f64 {
        let device = Device::default();
        let (student, teacher) = (Tensor::from_floats(student, &device), Tensor::from_floats(teacher, &device));
        f64::from(floats(Js::new(config).unwrap().value(&Signals::of_logits(student, teacher)))[0])
    }

    #[test]
    fn disjoint_answers_are_log_2_apart() {
        let config = JsConfig { temperature: 1.0, ..JsConfig::default() };
        let found = value(config, [[300.0, 0.0]], [[0.0, 300.0]]);
        assert!((found - 2f64.ln()).abs() < 1e-6, "{found}");
    }

    #[test]
    fn it_does_not_matter_which_network_is_which() {
        let (one, other) = ([[1.5, -0.5]], [[-0.25, 2.0]]);
        let there = value(JsConfig::default(), one, other);
        assert!(there > 0.1);
        assert!((there - value(JsConfig::default(), other, one)).abs() < 1e-6);
    }

    #[test]
    fn the_clamp_bounds_the_probabilities() {
        // Both distributions lie outside [0.25, 0.75], on the same side: clamped, they are the same.
        let config = JsConfig { temperature: 1.0, clamp: 0.25, scale_by_t2: false };
        assert!(value(config, [[9.0, 0.0]], [[2.0, 0.0]]).abs() < 1e-7);
        // On different sides, they are (3/4, 1/4) and (1/4, 3/4).
        let config = JsConfig { temperature: 1.0, clamp: 0.25, scale_by_t2: false };
        let expected = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((value(config, [[9.0, 0.0]], [[0.0, 9.0]]) - expected).abs() < 1e-6);
    }

    #[test]
    fn options_outside_their_range_are_errors() {
        let message = |table: toml::Table| (ENTRY.build)(table).unwrap_err().to_string();
        assert!(message(toml::toml! { clamp = 0.5 }).contains("`clamp`: 0.5"));
        assert!(message(toml::toml! { temperature = -1.0 }).contains("`temperature`: -1"));
    }
}
