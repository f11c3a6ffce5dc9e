//! `zaq`: images on which student and teacher differ, in their answers and in what their features relate.

use blindfold_zoo::{ConfigError, Entry, defaults_of, merge_defaults, parse};
use serde::{Deserialize, Serialize};

use super::{GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorView};
use crate::optimizer::{OptimizerConfig, OptimizerKind};

mod relation;

use relation::relation_distance;

/// Settings of `zaq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZaqConfig {
    /// The generator and its optimizer.
    pub generator: GeneratorSettings,
    /// Weight of the distance of the logits.
    pub logit_weight: f64,
    /// `alpha`: weight of the distance of the features' relations.
    pub relation_weight: f64,
    /// `gamma`: what the related features are weighted with beside the features themselves.
    pub relation_gamma: f64,
    /// `beta`: weight of the size of the teacher's last features.
    pub activation_weight: f64,
}

impl Default for ZaqConfig {
    fn default() -> Self {
        let optimizer =
            OptimizerConfig { kind: OptimizerKind::Adam, lr: 1e-3, beta1: 0.9, beta2: 0.999, ..Default::default() };
        let generator = GeneratorSettings {
            latent: 256,
            conditional: false,
            norm_epsilon: 1e-5,
            optimizer,
            milestones: vec![6000, 12_000],
            factor: 0.1,
            every: 5,
            ..Default::default()
        };
        Self { generator, logit_weight: 1.0, relation_weight: 1.0, relation_gamma: 0.1, activation_weight: 0.1 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
    let config: ZaqConfig = parse(merge_defaults(defaults_of::<ZaqConfig>(), table))?;
    config.generator.validate().map_err(|error| error.within("generator"))?;
    for (key, value) in [
        ("logit_weight", config.logit_weight),
        ("relation_weight", config.relation_weight),
        ("relation_gamma", config.relation_gamma),
        ("activation_weight", config.activation_weight),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(ConfigError::invalid(key, value, "write 0 or a positive number"));
        }
    }
    Ok(Box::new(Zaq { config }))
}

/// A generator that looks for what the student gets wrong.
///
/// ```text
/// L_G = -logit_weight * mean |T(x) - S(x)| - relation_weight * D(T, S; relation_gamma) - activation_weight * mean |f|
/// D = sum_l mean |A(t_l) - A(s_l)| + mean |B(t_l) - B(s_l)|
/// A(t) = t + gamma * t softmax_q(t^T t)^T      B(t) = t + gamma * softmax_e(-t t^T) t
/// ```
/// x = G(z): the images; T, S: logits of teacher and student; `t_l`, `s_l`: the outputs of stage `l` (a run of blocks
/// of one shape; its last one) as `[channel, position]`, each position scaled to length 1 over its channels; f: what
/// the teacher's last linear layer reads. `A` relates positions (spatial attention), `B` channels (channel attention).
///
/// # Shapes
/// - logits `[batch, classes]`; features `[batch, channel, height, width]`; each term `[1]`, unweighted and not
///   negative
///
/// # Range
/// `L_G` has no lower bound. Unit: logits.
///
/// # Source
/// Liu, Zhang and Wang, "Zero-shot Adversarial Quantization", CVPR 2021, sections 3.2 and 3.3,
/// <https://arxiv.org/abs/2103.15263>; the relations and the numbers are those of the authors' code.
///
/// # Differences from the source
/// - The source makes five steps of the student, each on images of its own, and then one of the generator on further
///   ones; here every fifth batch of the student's is the generator's as well.
/// - The milestones are the source's epochs 100 and 200 at 60 generator steps an epoch; without `every = 5` or with
///   other epochs they have to move.
/// - The size of the last features is taken after pooling, the source's before; for features that are not negative,
///   read through a mean, both are the same number.
/// - A softmax normalises the affinities, as in the source: without it `A` and `B` would both be `t + gamma * t t^T t`,
///   up to sign.
#[derive(Debug)]
struct Zaq {
    config: ZaqConfig,
}

impl GeneratorMethod for Zaq {
    fn settings(&self) -> &GeneratorSettings {
        &self.config.generator
    }

    fn needs_student(&self) -> bool {
        true
    }

    fn needs_features(&self) -> bool {
        true
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        let config = &self.config;
        let student = view.student.as_ref().expect("the trainer shows the student to a method that needs it");
        let logits = (view.teacher.clone() - student.logits.clone()).abs().mean();
        let relations = relation_distance(view.teacher_features, &student.features, config.relation_gamma)
            .expect("the trainer refuses a teacher without blocks to a method that needs features");
        let activation = view.last_features.clone().abs().mean();
        vec![
            GeneratorTerm { name: "logit-distance", weight: -config.logit_weight, value: logits },
            GeneratorTerm { name: "relation-distance", weight: -config.relation_weight, value: relations },
            GeneratorTerm { name: "activation", weight: -config.activation_weight, value: activation },
        ]
    }
}

pub(super) const ENTRY: Entry<dyn GeneratorMethod> = Entry {
    name: "zaq",
    summary: "images on which the student's logits and the relations of its features are far from the teacher's",
    source: "Liu, Zhang, Wang, Zero-shot Adversarial Quantization, CVPR 2021, sections 3.2 and 3.3",
    defaults: defaults_of::<ZaqConfig>,
    build,
};

#[cfg(test)]
pub(super) mod reference;
#[cfg(test)]
mod tests;
