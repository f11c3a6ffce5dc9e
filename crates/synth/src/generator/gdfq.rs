//! `gdfq`: images of given classes with the statistics that the teacher's batch norms remember.

use std::fmt;

use blindfold_zoo::{ConfigError, Entry, defaults_of, merge_defaults, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorView};
use crate::bn::{Statistics, StatisticsLoss, statistics_losses};
use crate::optimised::prior::soft_cross_entropy;

/// Settings of `gdfq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GdfqConfig {
    /// The generator and its optimizer.
    pub generator: GeneratorSettings,
    /// Weight of the cross-entropy of the teacher's answers with the classes that were asked for.
    pub ce_weight: f64,
    /// Weight of the distance of the batch norms' statistics.
    pub bns_weight: f64,
}

impl Default for GdfqConfig {
    fn default() -> Self {
        Self { generator: GeneratorSettings::default(), ce_weight: 1.0, bns_weight: 0.1 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
    let config: GdfqConfig = parse(merge_defaults(defaults_of::<GdfqConfig>(), table))?;
    let terms = ClassTerms::new(&config.generator, config.ce_weight, config.bns_weight)?;
    Ok(Box::new(Gdfq { generator: config.generator, terms }))
}

/// A generator that the teacher classifies as asked, and whose batches have the statistics that its batch norms
/// remember.
///
/// ```text
/// h = Emb(y) * z (element by element),  z ~ N(0, I),  y drawn evenly,  x = G(h)
/// L_G = ce_weight * CE(T(x), y) + bns_weight * (1/K) sum_l ( MSE(mu_l(x), m_l) + MSE(var_l(x), v_l) )
/// ```
/// mu_l, var_l: mean and biased variance over the batch of the input of batch norm `l`; m_l, v_l: its running
/// statistics; K: the number of batch norms. With `conditioning = "batch-norm"` (the source's ImageNet generator) the code
/// is z alone, and the generator's inner batch norms have a scale and a shift for each class, which start at 1 and 0.
///
/// # Shapes
/// - logits and targets `[batch, classes]`; each term `[1]`, unweighted
/// # Range
/// Both terms `>= 0`. Units: nats, and squared activations (to the fourth power for variances).
/// # Source
/// Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, section 3,
/// <https://arxiv.org/abs/2003.03603>; weights, optimizer and milestones of its code, the milestones
/// counted in steps of 200 an epoch.
/// # Differences from the source
/// The class-conditional batch norms add `norm_epsilon` to the variance as the others do; their epsilon in the source
/// was not at hand.
#[derive(Debug)]
struct Gdfq {
    generator: GeneratorSettings,
    terms: ClassTerms,
}

impl GeneratorMethod for Gdfq {
    fn settings(&self) -> &GeneratorSettings {
        &self.generator
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        self.terms.of(view)
    }
}

/// The two terms of GDFQ, with whatever shares of the classes the images were to show.
pub(super) struct ClassTerms {
    ce_weight: f64,
    bns_weight: f64,
    distance: Box<dyn StatisticsLoss>,
}

impl ClassTerms {
    /// Checks the settings of a generator with classes, and the weights.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub(super) fn new(settings: &GeneratorSettings, ce_weight: f64, bns_weight: f64) -> Result<Self, ConfigError> {
        settings.validate().and_then(|()| settings.expect_classes()).map_err(|error| error.within("generator"))?;
        for (key, weight) in [("ce_weight", ce_weight), ("bns_weight", bns_weight)] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(ConfigError::invalid(key, weight, "write 0 or a positive number"));
            }
        }
        if ce_weight == 0.0 && bns_weight == 0.0 {
            return Err(ConfigError::invalid("ce_weight, bns_weight", 0, "at least one of them must be positive"));
        }
        let distance = statistics_losses()?.build("mean-var-mse", toml::Table::new())?;
        Ok(Self { ce_weight, bns_weight, distance })
    }

    /// Their values.
    pub(super) fn of(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        let mut terms = Vec::with_capacity(2);
        if let Some(targets) = &view.targets {
            let value = soft_cross_entropy(view.teacher.clone(), targets.clone());
            terms.push(GeneratorTerm { name: "cross-entropy", weight: self.ce_weight, value });
        }
        let value = self.statistics_distance(view.statistics);
        terms.push(GeneratorTerm { name: "batch-norm", weight: self.bns_weight, value });
        terms
    }

    fn statistics_distance(&self, statistics: &Statistics) -> Tensor<1> {
        // The statistics are of the whole batch, for which the number of images makes no difference.
        self.distance.evaluate(statistics, 1)
    }
}

impl fmt::Debug for ClassTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ce_weight, bns_weight, .. } = self;
        f.debug_struct("ClassTerms")
            .field("ce_weight", ce_weight)
            .field("bns_weight", bns_weight)
            .finish_non_exhaustive()
    }
}

pub(super) const ENTRY: Entry<dyn GeneratorMethod> = Entry {
    name: "gdfq",
    summary: "images of given classes with the batch-norm statistics that the teacher remembers",
    source: "Xu et al., Generative Low-bitwidth Data Free Quantization (GDFQ), ECCV 2020, section 3",
    defaults: defaults_of::<GdfqConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::sample::{close, statistics};

    fn method(table: &str) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
        (ENTRY.build)(table.parse().unwrap())
    }

    #[test]
    fn the_terms_are_their_formulas() {
        let device = Device::flex();
        let teacher = Tensor::<2>::from_floats([[3f32.ln(), 0.0], [0.0, 0.0]], &device);
        let targets = Tensor::<2>::from_floats([[1.0, 0.0], [0.25, 0.75]], &device);
        // Layer one: mean off by 1, variance as wanted; layer two: means off by 2 and -1, variances by 3 and -0.75.
        let statistics = statistics(&[[1.0, 2.0, -1.0]], &[[1.0, 4.0, 0.25]]);
        let view = GeneratorView {
            images: Tensor::zeros([2, 1, 1, 1], &device),
            targets: Some(targets),
            teacher: teacher.clone(),
            statistics: &statistics,
            teacher_features: &[],
            last_features: teacher,
            student: None,
        };
        let terms = method("ce_weight = 2.0").unwrap().terms(&view);
        let named: Vec<(&str, f64)> = terms.iter().map(|term| (term.name, term.weight)).collect();
        assert_eq!(named, [("cross-entropy", 2.0), ("batch-norm", 0.1)]);
        let [entropy, distance] = [0, 1].map(|index: usize| terms[index].value.clone());
        close(entropy, ((4f64 / 3.0).ln() + 2f64.ln()) / 2.0, 1e-6);
        close(distance, (1.0 + (4.0 + 9.0 + 1.0 + 0.5625) / 2.0) / 2.0, 1e-5);
    }

    #[test]
    fn faults_name_their_key() {
        let message = |table: &str| method(table).unwrap_err().to_string();
        assert!(message("ce_weight = -1.0").starts_with("`ce_weight`: -1"));
        assert!(message("ce_weight = 0.0\nbns_weight = 0.0").starts_with("`ce_weight, bns_weight`: 0"));
        assert!(message("generator = { conditional = false }").starts_with("`generator.conditional`: false"));
    }
}
