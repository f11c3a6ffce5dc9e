//! Kullback-Leibler divergence between softened distributions.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{log_distribution, positive};
use super::{Loss, Signals};

/// Options of the loss `kl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KlConfig {
    /// `T`, above 0.
    pub temperature: f64,
    /// What the sum over images and classes is divided by.
    pub reduction: KlReduction,
    /// Multiply by `T^2`, which keeps the gradient's size about the same at every temperature.
    pub scale_by_t2: bool,
}

/// What the sum over images and classes is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlReduction {
    /// By images times classes, as PyTorch's `KLDivLoss()` does by default (GDFQ, Qimera, AIT).
    Mean,
    /// By images: the divergence itself (IntraQ, HAST, SynQ).
    BatchMean,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { temperature: 20.0, reduction: KlReduction::BatchMean, scale_by_t2: true }
    }
}

/// Divergence of the student's softened distribution from the teacher's.
///
/// ```text
/// L = T^2 / D * sum_n sum_c p_nc * (log p_nc - log q_nc)     p = softmax(t / T), q = softmax(s / T)
/// ```
/// `s`, `t`: logits of student and teacher; `D` = images (`batchmean`) or images * classes (`mean`); without
/// `scale_by_t2` the factor `T^2` is left out.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff the distributions coincide, that is iff the logits differ by a constant per image. Unit: nats (times `T^2`).
///
/// # Source
/// Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015, section 2; the two reductions as the codes of
/// GDFQ (`mean`) and IntraQ (`batchmean`) use them.
///
/// # Differences from the source
/// Hinton et al. write the cross-entropy with the soft targets, which differs by the teacher's entropy: a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Kl {
    config: KlConfig,
}

impl Kl {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: KlConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        Ok(Self { config })
    }
}

impl Loss for Kl {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let [batch, classes] = signals.student.dims();
        let soften = |logits: &Tensor<2>| log_distribution(logits.clone(), self.config.temperature);
        let (student, teacher) = (soften(&signals.student), soften(&signals.teacher));
        let divergence = (teacher.clone().exp() * (teacher - student)).sum();
        let count = match self.config.reduction {
            KlReduction::Mean => batch * classes,
            KlReduction::BatchMean => batch,
        };
        let scale = if self.config.scale_by_t2 { self.config.temperature.powi(2) } else { 1.0 };
        divergence.mul_scalar(scale / count as f64)
    }
}

/// The loss `kl`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "kl",
    summary: "Kullback-Leibler divergence from the teacher's softened distribution",
    source: "Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015, section 2",
    defaults: defaults_of::<KlConfig>,
    build: |table| Ok(Box::new(Kl::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn a_constant_added_to_the_logits_changes_nothing() {
        let device = Device::default();
        let teacher = Tensor::<2>::from_floats([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], &device);
        let shift = Tensor::<2>::from_floats([[4.0], [-2.5]], &device);
        let signals = Signals::of_logits(teacher.clone() + shift, teacher);
        let value = floats(Kl::new(KlConfig::default()).unwrap().value(&signals))[0];
        assert!(value.abs() < 1e-4, "{value}");
    }

    #[test]
    fn two_classes_have_their_closed_form() {
        let device = Device::default();
        let student = Tensor::<2>::from_floats([[0.0, 0.0]], &device);
        let teacher = Tensor::<2>::from_floats([[3f32.ln(), 0.0]], &device);
        let signals = Signals::of_logits(student, teacher);
        let config = KlConfig { temperature: 1.0, ..KlConfig::default() };
        let value = f64::from(floats(Kl::new(config).unwrap().value(&signals))[0]);
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
    }

    #[test]
    fn a_temperature_of_zero_is_an_error() {
        let error = (ENTRY.build)(toml::toml! { temperature = 0.0 }).unwrap_err();
        assert!(error.to_string().contains("`temperature`: 0"), "{error}");
    }
}
