//! Mutual information between image and class.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{entropies, entropy_of_mean, log_distribution, positive};
use super::{Loss, Signals};

/// Options of the loss `mutual-information`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MutualInformationConfig {
    /// `T`, above 0.
    pub temperature: f64,
}

impl Default for MutualInformationConfig {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

/// Negative mutual information between the images of a batch and the classes that the student gives them.
///
/// ```text
/// L = -( H(1/N * sum_n q_n) - 1/N * sum_n H(q_n) )         q_n = softmax(s_n / T),   H(q) = -sum_c q_c log q_c
/// ```
/// `s`: the student's logits. Minimising `L` makes each image's class clear and all classes come up alike.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `-log C` to `0`: least iff each image has one sure class and all classes come up alike; 0 iff all images get the same answer.
/// Unit: nats.
///
/// # Source
/// Krause, Perona and Gomes, Discriminative clustering by regularized information maximization, NIPS 2010; on synthetic
/// images the two terms are those of Chen et al., DAFL, ICCV 2019, and Choi et al., CVPR workshops 2020
/// (both recalled, not read).
///
/// # Differences from the source
/// Without a regulariser of the weights, and both terms weigh the same. DAFL and Choi et al. take the teacher's answers, in the images.
#[derive(Debug, Clone, PartialEq)]
pub struct MutualInformation {
    config: MutualInformationConfig,
}

impl MutualInformation {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: MutualInformationConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        Ok(Self { config })
    }
}

impl Loss for MutualInformation {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let log_q = log_distribution(signals.student.clone(), self.config.temperature);
        entropies(log_q.clone()).mean() - entropy_of_mean(log_q)
    }
}

/// The loss `mutual-information`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "mutual-information",
    summary: "negative mutual information between the images and the student's classes",
    source: "Krause, Perona, Gomes: Discriminative clustering by regularized information maximization, NIPS 2010",
    defaults: defaults_of::<MutualInformationConfig>,
    build: |table| Ok(Box::new(MutualInformation::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn value(student: Tensor<2>) -> f32 {
        let loss = MutualInformation::new(MutualInformationConfig::default()).unwrap();
        floats(loss.value(&Signals::of_logits(student.clone(), student)))[0]
    }

    #[test]
    fn images_that_name_their_classes_tell_the_logarithm_of_the_classes() {
        let student = Tensor::<2>::eye(5, &Device::default()).mul_scalar(100.0);
        assert!((value(student) + 5f32.ln()).abs() < 1e-5);
    }

    #[test]
    fn one_answer_for_all_images_tells_nothing() {
        let row = Tensor::<2>::from_floats([[2.0, -1.0, 0.5]], &Device::default());
        assert!(value(row.expand([4, 3])).abs() < 1e-6);
    }
}
