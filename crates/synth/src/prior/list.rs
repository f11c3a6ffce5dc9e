//! The list `prior` of an image source.

use blindfold_zoo::{ConfigError, Family};
use serde::{Deserialize, Serialize};

use super::{ImagePrior, PriorView};
use crate::optimised::{LabelRule, Term};
use crate::source::checked_weight;

/// Which image prior, how much it counts, with its own options beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorConfig {
    /// The name of a member of the family `image prior`.
    pub kind: String,
    /// What its value is multiplied by, 0 or more.
    #[serde(default = "once")]
    pub weight: f64,
    /// The member's own keys.
    #[serde(flatten)]
    pub options: toml::Table,
}

fn once() -> f64 {
    1.0
}

/// The priors of a source, built.
pub(crate) struct Priors(Vec<Weighted>);

struct Weighted {
    /// In the records.
    name: String,
    weight: f64,
    prior: Box<dyn ImagePrior>,
}

impl Priors {
    /// The members of `family` that a list names, for images whose classes are chosen by `labels`.
    ///
    /// # Errors
    /// As [`Family::build`]; [`ConfigError::Invalid`] for a weight below 0, and for a prior that asks for classes where
    /// images have none.
    pub(crate) fn build(
        list: &[PriorConfig],
        labels: LabelRule,
        family: &Family<dyn ImagePrior>,
    ) -> Result<Self, ConfigError> {
        let built = list.iter().enumerate().map(|(index, config)| {
            let before = list[..index].iter().filter(|other| other.kind == config.kind).count();
            weighted(config, before, labels, family).map_err(|error| error.within(&format!("prior[{index}]")))
        });
        built.collect::<Result<Vec<_>, ConfigError>>().map(Self)
    }

    /// Whether one of them asks for the centres of classes.
    pub(crate) fn need_centres(&self) -> bool {
        self.0.iter().any(|weighted| weighted.prior.needs_centres())
    }

    /// Image passes that they cost a synthesis of so many images.
    pub(crate) fn passes(&self, images: usize) -> u64 {
        if self.need_centres() { images as u64 } else { 0 }
    }

    /// Under what their values are reported.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|weighted| weighted.name.as_str())
    }

    /// Their terms, in the order of [`Self::names`].
    pub(crate) fn terms(&self, view: &PriorView<'_>) -> Vec<Term> {
        let term =
            |weighted: &Weighted| Term { name: "prior", weight: weighted.weight, value: weighted.prior.value(view) };
        self.0.iter().map(term).collect()
    }
}

/// `before` priors of the list are of the same kind.
fn weighted(
    config: &PriorConfig,
    before: usize,
    labels: LabelRule,
    family: &Family<dyn ImagePrior>,
) -> Result<Weighted, ConfigError> {
    let PriorConfig { kind, weight, options } = config;
    let prior = family.build(kind, options.clone())?;
    if prior.needs_centres() && labels == LabelRule::None {
        let fix = "choose another: it asks for the class of each image, and these images have none";
        return Err(ConfigError::invalid("kind", format!("`{kind}`"), fix));
    }
    let mut name = format!("prior_{}", kind.replace('-', "_"));
    if before > 0 {
        name += &format!("_{}", before + 1);
    }
    Ok(Weighted { name, weight: checked_weight("weight", *weight)?, prior })
}
