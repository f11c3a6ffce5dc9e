//! Cross-entropy on the images that the teacher finds easy.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use serde::{Deserialize, Serialize};

use super::cross_entropy::Target;
use super::{Loss, Signals};

/// Options of the loss `masked-cross-entropy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedCrossEntropyConfig {
    /// What the student should answer.
    pub target: Target,
    /// `tau`: images of this difficulty or more are left out; above 0 and at most 1.
    pub threshold: f64,
    /// How images are left out.
    pub mask: Mask,
}

/// How images are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// The mean is that of the images that are kept.
    Rows,
    /// The logits of the others become zeros, and still enter the mean: as SynQ's code does.
    Logits,
}

impl Default for MaskedCrossEntropyConfig {
    fn default() -> Self {
        Self { target: Target::Label, threshold: 0.5, mask: Mask::Rows }
    }
}

/// Cross-entropy on the images that are easy for the teacher; from the others the student learns by its soft answers alone.
///
/// ```text
/// m_n = 1 if 1 - p_n < tau, else 0                 p_n = sum_c y_nc softmax(t_n)_c
/// rows:    L = sum_n m_n CE(s_n, y_n) / max(1, sum_n m_n)
/// logits:  L = 1/N * sum_n CE(m_n s_n, y_n)         CE(s, y) = -sum_c y_c log softmax(s)_c
/// ```
/// `y`: the target's distribution; `s`, `t`: logits of student and teacher; `1 - p_n`: the difficulty of image `n`; `tau`: the threshold.
///
/// # Shapes
/// logits and soft labels `[batch, classes]`, labels `[batch]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; with `rows` 0 where no image is easy; with `logits` each image that is left out adds `log C / N` and no gradient, so that
/// the gradient is that of `rows` times the share of the easy images. Unit: nats.
///
/// # Source
/// Kim et al., SynQ, ICLR 2025, soft labels for difficult samples (`tau` = 0.5); `logits` as in its code.
///
/// # Differences from the source
/// `rows` is the loss as the paper describes it. Other targets than the label are an addition.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedCrossEntropy {
    config: MaskedCrossEntropyConfig,
}

impl MaskedCrossEntropy {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a threshold outside `(0, 1]`.
    pub fn new(config: MaskedCrossEntropyConfig) -> Result<Self, ConfigError> {
        match config.threshold > 0.0 && config.threshold <= 1.0 {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("threshold", config.threshold, "write a number > 0 and <= 1")),
        }
    }
}

impl Loss for MaskedCrossEntropy {
    fn needs_labels(&self) -> bool {
        self.config.target.needs_labels()
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let target = self.config.target.distribution(signals);
        let easiness = (target.clone() * softmax(signals.teacher.clone(), 1)).sum_dim(1);
        let kept = easiness.greater_scalar(1.0 - self.config.threshold).float();
        let logits = signals.student.clone();
        let logits = match self.config.mask {
            Mask::Rows => logits,
            Mask::Logits => logits * kept.clone(),
        };
        let cross_entropy = (target * log_softmax(logits, 1)).sum_dim(1).neg();
        match self.config.mask {
            Mask::Rows => (cross_entropy * kept.clone()).sum() / kept.sum().clamp_min(1.0),
            Mask::Logits => cross_entropy.mean(),
        }
    }
}

/// The loss `masked-cross-entropy`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "masked-cross-entropy",
    summary: "cross-entropy on the images whose label the teacher gives enough probability",
    source: "Kim et al.: SynQ, ICLR 2025, soft labels for difficult samples",
    defaults: defaults_of::<MaskedCrossEntropyConfig>,
    build: |table| Ok(Box::new(MaskedCrossEntropy::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    /// Two images of class 0, to which the teacher gives 3/4 and 1/4; the student gives 1/3 to both.
    fn value(threshold: f64, mask: Mask) -> f32 {
        let device = Device::default();
        let student = Tensor::<2>::from_floats([[0.0, 2f32.ln()], [0.0, 2f32.ln()]], &device);
        let teacher = Tensor::<2>::from_floats([[3f32.ln(), 0.0], [0.0, 3f32.ln()]], &device);
        let labels = Some(Tensor::from_ints([0, 0], &device));
        let signals = Signals { labels, ..Signals::of_logits(student, teacher) };
        let config = MaskedCrossEntropyConfig { threshold, mask, target: Target::Label };
        floats(MaskedCrossEntropy::new(config).unwrap().value(&signals))[0]
    }

    #[test]
    fn difficult_images_are_left_out() {
        let one = 3f32.ln();
        assert!((value(0.5, Mask::Rows) - one).abs() < 1e-6);
        assert!((value(0.9, Mask::Rows) - one).abs() < 1e-6);
        assert!((value(0.5, Mask::Logits) - (one + 2f32.ln()) / 2.0).abs() < 1e-6);
        assert!((value(0.9, Mask::Logits) - one).abs() < 1e-6);
    }

    #[test]
    fn a_batch_without_easy_images_costs_nothing_or_the_logarithm_of_the_classes() {
        assert_eq!(value(0.1, Mask::Rows), 0.0);
        assert!((value(0.1, Mask::Logits) - 2f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_threshold_of_0_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { threshold = 0.0 }).unwrap_err().to_string().contains("`threshold`: 0"));
    }
}
