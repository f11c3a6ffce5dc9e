//! Contrast between the features of an image and those of others.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::parts::{mean_over_nodes, pooled, positive, unit_rows};
use super::{Features, Loss, Signals};

/// Options of the loss `info-nce`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoNceConfig {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// What the similarities are divided by, above 0.
    pub temperature: f64,
    /// Whether the teacher's features look for the student's too, and the mean of both is taken.
    pub symmetric: bool,
}

impl Default for InfoNceConfig {
    fn default() -> Self {
        Self { nodes: Vec::new(), temperature: 0.07, symmetric: false }
    }
}

/// The student's features of an image should be nearer to the teacher's of the same image than to those of the other images.
///
/// ```text
/// L = 1/K * sum_k -1/N * sum_n log( exp(u_n . v_n / T) / sum_m exp(u_n . v_m / T) )
/// u_n = a_n / |a_n|_2 of the student,  v_n = b_n / |b_n|_2 of the teacher
/// ```
/// `a`, `b`: outputs of node `k`, mean over positions, in student (after fake quantization) and teacher; `T`: the temperature;
/// `symmetric`: the mean of this and of the same with student and teacher exchanged. The negatives are the other images of the batch.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted, mean over images and nodes.
///
/// # Range
/// `> 0`, near 0 where each image is like itself alone; `log N` where all are alike; 0 for a batch of one image. `log N - L` bounds
/// from below the mutual information between the two networks' features. Unit: nats.
///
/// # Source
/// van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018, eq. 4; between teacher and student:
/// Tian, Krishnan and Isola, Contrastive representation distillation, ICLR 2020, with the temperature 0.07 (recalled).
///
/// # Differences from the source
/// Cosines of pooled outputs instead of a learned projection, and the batch's images instead of a memory of negatives. Features of
/// zeros alone have no gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct InfoNce {
    config: InfoNceConfig,
}

impl InfoNce {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: InfoNceConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        Ok(Self { config })
    }
}

/// Minus the mean of the logarithms on the diagonal of `softmax(rows)`, `[1]`.
fn missed(similarities: Tensor<2>) -> Tensor<1> {
    let [batch, _] = similarities.dims();
    let same = Tensor::<2>::eye(batch, &similarities.device());
    (log_softmax(similarities, 1) * same).sum().mul_scalar(-1.0 / batch as f64)
}

impl Loss for InfoNce {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        mean_over_nodes(signals, |pair| {
            let student = unit_rows(pooled(pair.student.clone()));
            let teacher = unit_rows(pooled(pair.teacher.clone()));
            let similarities = student.matmul(teacher.transpose()).div_scalar(self.config.temperature);
            match self.config.symmetric {
                false => missed(similarities),
                true => (missed(similarities.clone()) + missed(similarities.transpose())).div_scalar(2.0),
            }
        })
    }
}

/// The loss `info-nce`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "info-nce",
    summary: "contrast: pooled features should be nearest to the teacher's of the same image",
    source: "van den Oord, Li, Vinyals: Contrastive predictive coding, 2018, eq. 4; Tian et al.: CRD, ICLR 2020",
    defaults: defaults_of::<InfoNceConfig>,
    build: |table| Ok(Box::new(InfoNce::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    fn value(config: InfoNceConfig, student: Tensor<4>, teacher: Tensor<4>) -> f64 {
        let logits = Tensor::<2>::zeros([1, 2], &Device::default());
        let features = vec![FeaturePair { node: "a".into(), student, teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        f64::from(floats(InfoNce::new(config).unwrap().value(&signals))[0])
    }

    #[test]
    fn orthogonal_images_have_their_closed_form() {
        let teacher = Tensor::<2>::eye(3, &Device::default()).reshape([3, 3, 1, 1]);
        let expected = -(1f64.exp() / (1f64.exp() + 2.0)).ln();
        for symmetric in [false, true] {
            let config = InfoNceConfig { temperature: 1.0, symmetric, ..InfoNceConfig::default() };
            // The length of a feature does not matter.
            let found = value(config, teacher.clone().mul_scalar(3.0), teacher.clone());
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn images_that_look_alike_cost_the_logarithm_of_the_batch() {
        let same = Tensor::<4>::ones([4, 2, 2, 2], &Device::default());
        assert!((value(InfoNceConfig::default(), same.clone(), same) - 4f64.ln()).abs() < 1e-5);
    }

    #[test]
    fn exchanged_images_cost_more_than_nothing_in_common() {
        let teacher = Tensor::<2>::eye(2, &Device::default()).reshape([2, 2, 1, 1]);
        let student = teacher.clone().flip([0]);
        assert!(value(InfoNceConfig::default(), student, teacher) > 1.0 / 0.07 - 1e-3);
    }

    #[test]
    fn a_temperature_of_zero_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { temperature = 0.0 }).unwrap_err().to_string().contains("`temperature`: 0"));
    }
}
