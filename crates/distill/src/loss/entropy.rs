//! Entropy of the answers.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{entropies, entropy_of_mean, log_distribution, positive};
use super::{Loss, Signals};

/// Options of the loss `entropy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntropyConfig {
    /// Whose logits.
    pub of: EntropyOf,
    /// Of each image's distribution, or of their mean.
    pub over: EntropyOver,
    /// Whether less or more entropy is wanted: the sign.
    pub sense: Sense,
    /// `T`, above 0.
    pub temperature: f64,
}

/// Whose logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntropyOf {
    /// The student's.
    Student,
    /// The teacher's, which the student cannot change: it counts where the images are perturbed along the loss's gradient.
    Teacher,
    /// The teacher's less the student's: where the two networks disagree about the classes.
    Difference,
}

/// Of each image's distribution, or of their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntropyOver {
    /// The mean of the images' entropies: small where each image has a clear class.
    Image,
    /// The entropy of the images' mean distribution: large where all classes come up alike.
    Batch,
}

/// Whether less or more entropy is wanted: the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sense {
    /// Less: `+H`.
    Minimise,
    /// More: `-H`.
    Maximise,
}

impl Default for EntropyConfig {
    fn default() -> Self {
        Self { of: EntropyOf::Student, over: EntropyOver::Image, sense: Sense::Minimise, temperature: 1.0 }
    }
}

/// Entropy of the softened answers, of each image or of the batch.
///
/// ```text
/// image:  L = +- 1/N * sum_n H(p_n)             batch:  L = +- H(1/N * sum_n p_n)
/// p_n = softmax(z_n / T),   H(p) = -sum_c p_c log p_c
/// ```
/// `z`: logits of the student (`s`), of the teacher (`t`), or `t - s`; the sign is `+` to minimise, `-` to maximise.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `0` to `log C` (negative to maximise): 0 iff each image (`batch`: all images together) has one sure class, `log C` iff all classes
/// are equally likely. Unit: nats.
///
/// # Source
/// Choi et al., Data-free network quantization with adversarial knowledge distillation, CVPR workshops 2020 (instance and batch
/// entropy; recalled, not read); `difference`: Qian et al., AdaSG, AAAI 2023 (disagreement).
///
/// # Differences from the source
/// The sources shape the images of a generator with it; here it shapes the student.
#[derive(Debug, Clone, PartialEq)]
pub struct Entropy {
    config: EntropyConfig,
}

impl Entropy {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: EntropyConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        Ok(Self { config })
    }
}

impl Loss for Entropy {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let (student, teacher) = (signals.student.clone(), signals.teacher.clone());
        let logits = match self.config.of {
            EntropyOf::Student => student,
            // A loss without a gradient could not stand alone: this one has a gradient of zeros.
            EntropyOf::Teacher => teacher + student.mul_scalar(0.0),
            EntropyOf::Difference => teacher - student,
        };
        let log_p = log_distribution(logits, self.config.temperature);
        let entropy = match self.config.over {
            EntropyOver::Image => entropies(log_p).mean(),
            EntropyOver::Batch => entropy_of_mean(log_p),
        };
        match self.config.sense {
            Sense::Minimise => entropy,
            Sense::Maximise => entropy.neg(),
        }
    }
}

/// The loss `entropy`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "entropy",
    summary: "entropy of the answers, of each image or of the batch, to minimise or to maximise",
    source: "Choi et al.: Data-free network quantization with adversarial knowledge distillation, CVPR workshops 2020",
    defaults: defaults_of::<EntropyConfig>,
    build: |table| Ok(Box::new(Entropy::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn value(config: EntropyConfig) -> f32 {
        let device = Device::default();
        let student = Tensor::<2>::eye(3, &device).mul_scalar(100.0);
        let teacher = Tensor::<2>::zeros([3, 3], &device);
        floats(Entropy::new(config).unwrap().value(&Signals::of_logits(student, teacher)))[0]
    }

    #[test]
    fn sure_images_of_all_classes_have_no_entropy_apart_and_all_of_it_together() {
        let of = EntropyOf::Student;
        assert!(value(EntropyConfig { of, ..EntropyConfig::default() }).abs() < 1e-6);
        let over = EntropyOver::Batch;
        assert!((value(EntropyConfig { of, over, ..EntropyConfig::default() }) - 3f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_teachers_is_that_of_its_own_logits_and_the_sign_is_the_senses() {
        let config = EntropyConfig { of: EntropyOf::Teacher, ..EntropyConfig::default() };
        assert!((value(config.clone()) - 3f32.ln()).abs() < 1e-6);
        assert!((value(EntropyConfig { sense: Sense::Maximise, ..config }) + 3f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_temperature_of_zero_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { temperature = 0.0 }).unwrap_err().to_string().contains("`temperature`: 0"));
    }
}
