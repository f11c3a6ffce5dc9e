//! `choi-akd`: images on which the student diverges from the teacher, held near the teacher's statistics.

use std::fmt;

use blindfold_zoo::{ConfigError, Entry, defaults_of, merge_defaults, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::{GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorView};
use crate::bn::{StatisticsLoss, statistics_losses};

/// Settings of `choi-akd`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiAkdConfig {
    /// The generator and its optimizer.
    pub generator: GeneratorSettings,
    /// Weight of the divergence of the student from the teacher, which the generator enlarges.
    pub divergence_weight: f64,
    /// Weight of the divergence of the batch norms' statistics.
    pub bns_weight: f64,
    /// Weight of the entropy of the teacher's answer to one image, which the generator makes small.
    pub instance_entropy_weight: f64,
    /// Weight of the entropy of its mean answer to a batch, which the generator makes large.
    pub batch_entropy_weight: f64,
    /// Added to all variances of the batch norms' term.
    pub epsilon: f64,
}

impl Default for ChoiAkdConfig {
    fn default() -> Self {
        Self {
            generator: GeneratorSettings { conditional: false, ..Default::default() },
            divergence_weight: 1.0,
            bns_weight: 1.0,
            instance_entropy_weight: 1.0,
            batch_entropy_weight: 1.0,
            epsilon: 1e-5,
        }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
    let config: ChoiAkdConfig = parse(merge_defaults(defaults_of::<ChoiAkdConfig>(), table))?;
    config.generator.validate().map_err(|error| error.within("generator"))?;
    for (key, value) in [
        ("divergence_weight", config.divergence_weight),
        ("bns_weight", config.bns_weight),
        ("instance_entropy_weight", config.instance_entropy_weight),
        ("batch_entropy_weight", config.batch_entropy_weight),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(ConfigError::invalid(key, value, "write 0 or a positive number"));
        }
    }
    let own = toml::Table::from_iter([("epsilon".to_owned(), toml::Value::Float(config.epsilon))]);
    let distance = (statistics_losses()?.get("gaussian-kl")?.build)(own)?;
    Ok(Box::new(ChoiAkd { config, distance }))
}

/// A generator that plays against the student, with the auxiliary terms that keep its images plausible.
///
/// ```text
/// L_G = -divergence_weight * (1/N) sum_n KL(p_n || q_n) + psi
/// psi = bns_weight * sum_l sum_c KL(N(mu_lc, u_lc) || N(m_lc, w_lc))
///       + instance_entropy_weight * (1/N) sum_n H(p_n) - batch_entropy_weight * H((1/N) sum_n p_n)
/// KL(N(mu, u) || N(m, w)) = 1/2 ( (u + (mu - m)^2) / w - 1 - log(u / w) ),  u = var + e,  w = v + e
/// ```
/// p, q: softmax of the logits of teacher and student; mu, var: mean and biased variance over the batch of the input of
/// batch norm `l`; m, v: its running statistics; e: `epsilon`; N: images; H: entropy. The batch norms' term is the
/// batch-norm loss `gaussian-kl`.
///
/// # Shapes
/// - logits `[batch, classes]`; statistics `[1, channel]`; each term `[1]`, unweighted and not negative
///
/// # Range
/// `L_G` has no lower bound; each entropy lies in `[0, log classes]`. Unit: nats.
///
/// # Source
/// Choi, Choi, El-Khamy and Lee, "Data-Free Network Quantization With Adversarial Knowledge Distillation", CVPR
/// Workshops 2020, section 3, <https://arxiv.org/abs/2005.04136>. The terms are recollections of the paper: its
/// text and code were not at hand.
///
/// # Differences from the source
/// - `epsilon` keeps the term of a channel that is constant finite.
/// - The source weighs psi with one number that it varies; here each term has its weight, and the defaults of 1 are
///   ours.
/// - The source trains several generators and students together; here there is one of each.
struct ChoiAkd {
    config: ChoiAkdConfig,
    distance: Box<dyn StatisticsLoss>,
}

impl GeneratorMethod for ChoiAkd {
    fn settings(&self) -> &GeneratorSettings {
        &self.config.generator
    }

    fn needs_student(&self) -> bool {
        true
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        let config = &self.config;
        let student = view.student.as_ref().expect("the trainer shows the student to a method that needs it");
        let [batch, _] = view.teacher.dims();
        let (teacher, student) = (log_softmax(view.teacher.clone(), 1), log_softmax(student.logits.clone(), 1));
        let answers = teacher.clone().exp();
        // The logarithm of the mean answer, from the largest term down, so that an answer of 0 has no infinite
        // logarithm.
        let mean = log_mean(teacher.clone());
        let per_image = |sum: Tensor<1>| sum.div_scalar(batch as f64);
        let divergence = per_image((answers.clone() * (teacher.clone() - student)).sum());
        let instance_entropy = per_image((answers * teacher).sum().neg());
        let batch_entropy = (mean.clone().exp() * mean).sum().neg();
        vec![
            GeneratorTerm { name: "divergence", weight: -config.divergence_weight, value: divergence },
            GeneratorTerm {
                name: "batch-norm",
                weight: config.bns_weight,
                // The statistics are of the whole batch, for which the number of images makes no difference.
                value: self.distance.evaluate(view.statistics, 1),
            },
            GeneratorTerm { name: "instance-entropy", weight: config.instance_entropy_weight, value: instance_entropy },
            GeneratorTerm { name: "batch-entropy", weight: -config.batch_entropy_weight, value: batch_entropy },
        ]
    }
}

/// `log((1/N) sum_n exp(x_n))` of each column of `[N, classes]`: `[1, classes]`.
fn log_mean(x: Tensor<2>) -> Tensor<2> {
    let largest = x.clone().detach().max_dim(0);
    (x - largest.clone()).exp().mean_dim(0).log() + largest
}

impl fmt::Debug for ChoiAkd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoiAkd").field("config", &self.config).finish_non_exhaustive()
    }
}

pub(super) const ENTRY: Entry<dyn GeneratorMethod> = Entry {
    name: "choi-akd",
    summary: "images on which the student diverges from the teacher, near its batch-norm statistics and of all classes",
    source: "Choi et al., Data-Free Network Quantization With Adversarial Knowledge Distillation, CVPR Workshops 2020",
    defaults: defaults_of::<ChoiAkdConfig>,
    build,
};

#[cfg(test)]
mod tests;
