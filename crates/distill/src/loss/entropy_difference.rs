//! Entropy of the difference of the logits, to be as large as it can.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{entropies, log_distribution, positive};
use super::{Loss, Signals};

/// The least room between the smallest entropy of a batch and `log C` that the normalised entropies are divided by.
const LEAST_ROOM: f64 = 1e-12;

/// Options of the loss `entropy-difference`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntropyDifferenceConfig {
    /// `T`, above 0.
    pub temperature: f64,
    /// Multiply by `T^2`.
    pub scale_by_t2: bool,
    /// What the entropies are measured in.
    pub normalise: Normalise,
}

/// What the entropies are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// In nats.
    None,
    /// As a share of the largest, `log C`.
    Classes,
    /// As a share of the room between the smallest of the batch and `log C`, as AdaDFQ's generator measures it.
    Batch,
}

impl Default for EntropyDifferenceConfig {
    fn default() -> Self {
        Self { temperature: 20.0, scale_by_t2: true, normalise: Normalise::None }
    }
}

/// How far the networks' disagreement is from spreading evenly over the classes.
///
/// ```text
/// L = -T^2/N * sum_n h_n            H_n = H(softmax((t_n - s_n) / T)),  H(p) = -sum_c p_c log p_c
/// none:  h = H        classes:  h = H / log C        batch:  h = (H - min_n H_n) / (log C - min_n H_n)
/// ```
/// `s`, `t`: logits of student and teacher; without `scale_by_t2` the factor `T^2` is left out.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `-T^2 log C` (normalised: `-T^2`) to `0`; with `none` and `classes` least iff the logits differ by a constant per image, as
/// `kl` is. Unit: nats (times `T^2`), or none where normalised.
///
/// # Source
/// Qian et al., AdaSG, AAAI 2023, and AdaDFQ, CVPR 2023, the student's loss, with `T` = 20; `batch`: how their generators' losses
/// measure the entropy.
///
/// # Differences from the source
/// The student's loss is not normalised in the source. A batch of which every image is at `log C` has `h = 0` with `batch`.
#[derive(Debug, Clone, PartialEq)]
pub struct EntropyDifference {
    config: EntropyDifferenceConfig,
}

impl EntropyDifference {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: EntropyDifferenceConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        Ok(Self { config })
    }
}

impl Loss for EntropyDifference {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let [_, classes] = signals.student.dims();
        let most = (classes as f64).ln();
        let difference = signals.teacher.clone() - signals.student.clone();
        let entropies = entropies(log_distribution(difference, self.config.temperature));
        let measured = match self.config.normalise {
            Normalise::None => entropies,
            Normalise::Classes => entropies.div_scalar(most.max(LEAST_ROOM)),
            Normalise::Batch => {
                let least = entropies.clone().min_dim(0);
                let room = least.clone().neg().add_scalar(most).clamp_min(LEAST_ROOM);
                (entropies - least) / room
            }
        };
        let scale = if self.config.scale_by_t2 { self.config.temperature.powi(2) } else { 1.0 };
        measured.mean().mul_scalar(-scale)
    }
}

/// The loss `entropy-difference`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "entropy-difference",
    summary: "negative entropy of the softened difference of the logits: the disagreement should favour no class",
    source: "Qian et al.: AdaSG, AAAI 2023; Qian et al.: AdaDFQ, CVPR 2023",
    defaults: defaults_of::<EntropyDifferenceConfig>,
    build: |table| Ok(Box::new(EntropyDifference::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn value(normalise: Normalise, student: [[f32; 4]; 2], teacher: [[f32; 4]; 2]) -> f32 {
        let device = Device::default();
        let (student, teacher) = (Tensor::from_floats(student, &device), Tensor::from_floats(teacher, &device));
        let config = EntropyDifferenceConfig { temperature: 2.0, normalise, ..EntropyDifferenceConfig::default() };
        floats(EntropyDifference::new(config).unwrap().value(&Signals::of_logits(student, teacher)))[0]
    }

    #[test]
    fn it_is_least_where_the_logits_differ_by_a_constant() {
        let teacher = [[1.0, -2.0, 0.5, 0.0], [0.0, 3.0, -1.0, 2.0]];
        let student = [[4.0, 1.0, 3.5, 3.0], [-1.0, 2.0, -2.0, 1.0]];
        assert!((value(Normalise::None, student, teacher) + 4.0 * 4f32.ln()).abs() < 1e-5);
        assert!((value(Normalise::Classes, student, teacher) + 4.0).abs() < 1e-5);
        assert!(value(Normalise::None, student, [teacher[1], teacher[0]]) > -3.9 * 4f32.ln());
    }

    #[test]
    fn within_a_batch_the_least_entropy_counts_0_and_the_logarithm_of_the_classes_1() {
        let teacher = [[1.0, -2.0, 0.5, 0.0], [0.0, 300.0, -1.0, 2.0]];
        let student = [[1.0, -2.0, 0.5, 0.0], [0.0, 3.0, -1.0, 2.0]];
        assert!((value(Normalise::Batch, student, teacher) + 4.0 / 2.0).abs() < 1e-5);
    }

    #[test]
    fn a_temperature_of_zero_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { temperature = 0.0 }).unwrap_err().to_string().contains("`temperature`: 0"));
    }
}
