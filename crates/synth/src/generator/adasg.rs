//! `adasg`: images on which student and teacher disagree neither too little nor too much.

use std::fmt;

use blindfold_zoo::{ConfigError, Entry, defaults_of, merge_defaults, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, relu};
use serde::{Deserialize, Serialize};

use super::{GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorView};
use crate::bn::{StatisticsLoss, statistics_losses};
use crate::optimised::prior::soft_cross_entropy;

/// Spans of entropy below this count as it: those of a student whose answers are the teacher's, to single precision.
const SMALLEST_SPAN: f64 = 1e-6;

/// Settings of `adasg`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaSgConfig {
    /// The generator and its optimizer.
    pub generator: GeneratorSettings,
    /// Weight of the two margins.
    pub margin_weight: f64,
    /// `lambda_l`: the least information that an image should have, a share of the span of entropies.
    pub lambda_low: f64,
    /// `lambda_u`: the most.
    pub lambda_high: f64,
    /// Where that span begins.
    pub smallest_entropy: SmallestEntropy,
    /// `beta`: weight of both cross-entropies.
    pub label_weight: f64,
    /// `alpha_ds`: share of the disagreement's.
    pub disagreement_weight: f64,
    /// `alpha_as`: share of the agreement's.
    pub agreement_weight: f64,
    /// `gamma`: weight of the distance of the batch norms' statistics.
    pub bns_weight: f64,
}

/// Where the span of entropies begins that an image's entropy is measured in; it ends at that of the uniform
/// distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmallestEntropy {
    /// At the smallest entropy of the batch, as in the sources' codes.
    Batch,
    /// At 0, that of a sure answer.
    Zero,
}

impl Default for AdaSgConfig {
    fn default() -> Self {
        Self {
            generator: GeneratorSettings::default(),
            margin_weight: 1.0,
            lambda_low: 0.3,
            lambda_high: 0.8,
            smallest_entropy: SmallestEntropy::Batch,
            label_weight: 1.0,
            disagreement_weight: 0.1,
            agreement_weight: 0.1,
            bns_weight: 1.0,
        }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
    let config: AdaSgConfig = parse(merge_defaults(defaults_of::<AdaSgConfig>(), table))?;
    let settings = &config.generator;
    settings.validate().and_then(|()| settings.expect_classes()).map_err(|error| error.within("generator"))?;
    for (key, value) in [
        ("margin_weight", config.margin_weight),
        ("label_weight", config.label_weight),
        ("disagreement_weight", config.disagreement_weight),
        ("agreement_weight", config.agreement_weight),
        ("bns_weight", config.bns_weight),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(ConfigError::invalid(key, value, "write 0 or a positive number"));
        }
    }
    for (key, value) in [("lambda_low", config.lambda_low), ("lambda_high", config.lambda_high)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(ConfigError::invalid(key, value, "write a number from 0 to 1"));
        }
    }
    if config.lambda_low > config.lambda_high {
        let fix = format!("write a number of at most `lambda_high`, which is {}", config.lambda_high);
        return Err(ConfigError::invalid("lambda_low", config.lambda_low, fix));
    }
    let distance = statistics_losses()?.build("mean-var-mse", toml::Table::new())?;
    Ok(Box::new(AdaSg { config, distance }))
}

/// A generator in a zero-sum game with the student: images whose disagreement is informative, of the classes that were
/// asked for.
///
/// ```text
/// d = T(x) - S(x),  a = T(x) + S(x)
/// H'_n = ( H(softmax(d_n)) - m ) / ( log C - m )        m: the smallest H(softmax(d_n)) of the batch, or 0
/// L_G = margin_weight * (1/N) sum_n ( max(0, lambda_low - H'_n) + max(0, H'_n - lambda_high) )
///       + label_weight * ( disagreement_weight * CE(d, y) + agreement_weight * CE(a, y) )
///       + bns_weight * (1/K) sum_l ( MSE(mu_l(x), m_l) + MSE(var_l(x), v_l) )
/// ```
/// T, S: logits of teacher and student; C: classes; H: entropy; y: the class of each image; the last line is the term
/// `batch-norm` of `gdfq`. Gradients run through `m`, too.
///
/// The defaults are AdaSG's. AdaDFQ is the same loss with, for 3 bits, `lambda_low` 0.1 (0.4 for ResNet-50),
/// `lambda_high` 0.8, `disagreement_weight` 0.2 and `agreement_weight` 0.1; for 4 and 5 bits `lambda_low` 0.3 on
/// ResNet-18 and 50; `disagreement_weight` 0.3 on ResNet-18 for 5 bits and on MobileNetV2 for 4 bits, and 0.1 on
/// ResNet-50 for 4 bits. Both train with batches of 16.
///
/// # Shapes
/// - logits and targets `[batch, classes]`; each term `[1]`, unweighted
///
/// # Range
/// All terms `>= 0`; the margins at most `max(lambda_low, 1 - lambda_high)`. Units: none, nats, and squared
/// activations.
///
/// # Source
/// Qian, Wang, Hong and Wang, "Rethinking Data-Free Quantization as a Zero-Sum Game", AAAI 2023,
/// <https://arxiv.org/abs/2302.09572>, and "Adaptive Data-Free Quantization", CVPR 2023,
/// <https://arxiv.org/abs/2303.06869>; `m` and all numbers are those of the authors' codes.
///
/// # Differences from the source
/// The span `log C - m` counts as 1e-6 where it is smaller, as at the start, when the student still answers as the
/// teacher does: the source divides 0 by 0 there.
struct AdaSg {
    config: AdaSgConfig,
    distance: Box<dyn StatisticsLoss>,
}

impl AdaSg {
    /// How far the information of each image's disagreement lies outside of the margins, on average.
    fn margins(&self, disagreement: Tensor<2>) -> Tensor<1> {
        let information = information(disagreement, self.config.smallest_entropy);
        let below = relu(information.clone().neg().add_scalar(self.config.lambda_low));
        let above = relu(information.sub_scalar(self.config.lambda_high));
        (below + above).mean()
    }
}

/// `H'`: the entropy of each image's softmax as a share of the span from the smallest one to the largest, `[batch, 1]`.
fn information(logits: Tensor<2>, smallest: SmallestEntropy) -> Tensor<2> {
    let [_, classes] = logits.dims();
    let logarithms = log_softmax(logits, 1);
    let entropy = (logarithms.clone().exp() * logarithms).sum_dim(1).neg();
    let largest = (classes as f64).ln();
    match smallest {
        SmallestEntropy::Batch => {
            let least = entropy.clone().min_dim(0);
            let span = least.clone().neg().add_scalar(largest).clamp_min(SMALLEST_SPAN);
            (entropy - least) / span
        }
        SmallestEntropy::Zero => entropy.div_scalar(largest.max(SMALLEST_SPAN)),
    }
}

impl GeneratorMethod for AdaSg {
    fn settings(&self) -> &GeneratorSettings {
        &self.config.generator
    }

    fn needs_student(&self) -> bool {
        true
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        let config = &self.config;
        let student = view.student.as_ref().expect("the trainer shows the student to a method that needs it");
        let targets = view.targets.as_ref().expect("the generator is conditional, so its images have classes");
        let disagreement = view.teacher.clone() - student.logits.clone();
        let agreement = view.teacher.clone() + student.logits.clone();
        vec![
            GeneratorTerm {
                name: "entropy-margin",
                weight: config.margin_weight,
                value: self.margins(disagreement.clone()),
            },
            GeneratorTerm {
                name: "disagreement",
                weight: config.label_weight * config.disagreement_weight,
                value: soft_cross_entropy(disagreement, targets.clone()),
            },
            GeneratorTerm {
                name: "agreement",
                weight: config.label_weight * config.agreement_weight,
                value: soft_cross_entropy(agreement, targets.clone()),
            },
            GeneratorTerm {
                name: "batch-norm",
                weight: config.bns_weight,
                // The statistics are of the whole batch, for which the number of images makes no difference.
                value: self.distance.evaluate(view.statistics, 1),
            },
        ]
    }
}

impl fmt::Debug for AdaSg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaSg").field("config", &self.config).finish_non_exhaustive()
    }
}

pub(super) const ENTRY: Entry<dyn GeneratorMethod> = Entry {
    name: "adasg",
    summary: "images of given classes on which student and teacher disagree neither too little nor too much",
    source: "Qian et al., Rethinking Data-Free Quantization as a Zero-Sum Game (AdaSG), AAAI 2023; AdaDFQ, CVPR 2023",
    defaults: defaults_of::<AdaSgConfig>,
    build,
};

#[cfg(test)]
mod tests;
