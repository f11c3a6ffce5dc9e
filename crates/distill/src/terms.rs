//! The weighted losses of a training.

use std::collections::BTreeMap;

use blindfold_quant::Glob;
use blindfold_synth::AugmentationConfig;
use blindfold_zoo::{ConfigError, Network, near_matches};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::augmentations::Augmentations;
use crate::feed::Shown;
use crate::loss::{FeaturePair, Features, Loss, Pair, Signals};
use crate::plugins::Plugins;

/// One `[[distill.loss]]` table: which loss, how heavy and when, and the loss's own options.
///
/// The weight in epoch `e`, counted from 0 without the range warm-up:
///
/// ```text
/// 0                                                                     before from_epoch and from until_epoch on
/// ramp.from + (weight - ramp.from) * min(1, (e - from_epoch) / ramp.epochs)       with a ramp
/// weight                                                                          without one
/// ```
///
/// With `perturb = epsilon` the loss is evaluated on the images `x + epsilon * sign(dL/dx)` instead of `x`. `L` is the
/// weighted sum of the losses without `perturb`, at `x`; where none of them has a weight above 0, that of all losses.
/// So a method that trains on both `x` and its neighbour lists its losses twice.
///
/// With `augment` both networks read, for this loss, the batch that these augmentations make of the step's batch: images and
/// labels, drawn anew in each step. Losses with the same list look at the same images. With `perturb` as well, these images
/// are the `x` above, and `L` sums the losses with this `augment`.
///
/// # Source
/// The perturbation: Li et al., Hard Sample Matters a Lot in Zero-Shot Quantization (HAST), CVPR 2023, sample
/// difficulty promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossConfig {
    /// The loss's name, such as `kl`.
    pub kind: String,
    /// What its value is multiplied by, at least 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// The first epoch in which it counts; the first of all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_epoch: Option<usize>,
    /// The epoch from which on it no longer counts, after `from_epoch`; where absent, it counts to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_epoch: Option<usize>,
    /// How far the images are moved before it looks at them, above 0, in the unit of the normalised images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perturb: Option<f64>,
    /// What happens to the batch before it looks at it, in this order, after what happens to it for all losses; nothing where
    /// absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<AugmentationConfig>,
    /// How its weight begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// The loss's own options.
    #[serde(flatten)]
    pub options: toml::Table,
}

/// The `ramp` table of a loss: its weight goes in a straight line from one value to `weight`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The weight in `from_epoch`, at least 0.
    pub from: f64,
    /// Epochs from there until `weight` is reached, at least 1.
    pub epochs: usize,
}

fn one() -> f64 {
    1.0
}

impl LossConfig {
    /// The loss of that name with weight 1 in all epochs, on the images as they are, with its default options.
    pub fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            weight: one(),
            from_epoch: None,
            until_epoch: None,
            perturb: None,
            augment: Vec::new(),
            ramp: None,
            options: toml::Table::new(),
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let weight = |key: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(ConfigError::invalid(key, value, "write a number >= 0")),
        };
        weight("weight", self.weight)?;
        if let Some(until) = self.until_epoch.filter(|until| *until <= self.from_epoch.unwrap_or(0)) {
            let fix = format!("write more than from_epoch = {}", self.from_epoch.unwrap_or(0));
            return Err(ConfigError::invalid("until_epoch", until, fix));
        }
        if let Some(ramp) = self.ramp {
            weight("ramp.from", ramp.from)?;
            if ramp.epochs == 0 {
                return Err(ConfigError::invalid("ramp.epochs", 0, "write at least 1, or leave the ramp out"));
            }
        }
        match self.perturb.filter(|epsilon| !(epsilon.is_finite() && *epsilon > 0.0)) {
            Some(epsilon) => Err(ConfigError::invalid("perturb", epsilon, "write a number > 0, or leave it out")),
            None => Ok(()),
        }
    }

    fn is_on(&self, epoch: usize) -> bool {
        self.from_epoch.unwrap_or(0) <= epoch && self.until_epoch.is_none_or(|until| epoch < until)
    }

    /// 0 where it is off.
    fn weight_at(&self, epoch: usize) -> f64 {
        match self.ramp {
            _ if !self.is_on(epoch) => 0.0,
            Some(Ramp { from, epochs }) => {
                let done = (epoch - self.from_epoch.unwrap_or(0)) as f64 / epochs as f64;
                from + (self.weight - from) * done.min(1.0)
            }
            None => self.weight,
        }
    }

    /// Whether it has a weight above 0 in some epoch.
    fn counts(&self) -> bool {
        self.weight > 0.0 || self.ramp.is_some_and(|ramp| ramp.from > 0.0)
    }
}

/// One loss of a training.
#[derive(Debug)]
pub(crate) struct Term {
    /// Unique among the terms: the loss's name, with `-2`, `-3` from its second use on.
    pub(crate) name: String,
    config: LossConfig,
    loss: Box<dyn Loss>,
    nodes: Vec<String>,
    augmentations: Augmentations,
}

/// What one network made of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    pub(crate) logits: Tensor<2>,
    pub(crate) features: BTreeMap<String, Tensor<4>>,
}

impl Term {
    /// Builds all terms for networks of this graph; `seed`: that of the training.
    pub(crate) fn build_all(
        configs: &[LossConfig],
        plugins: &Plugins,
        network: &Network,
        seed: u64,
    ) -> Result<Vec<Self>, ConfigError> {
        if configs.is_empty() {
            return Err(ConfigError::invalid("loss", "an empty list", "write at least one [[distill.loss]] table"));
        }
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        configs
            .iter()
            .map(|config| {
                let use_number = uses.entry(&config.kind).and_modify(|count| *count += 1).or_insert(1);
                let name = match use_number {
                    1 => config.kind.clone(),
                    number => format!("{}-{number}", config.kind),
                };
                Self::build(name, config, plugins, network, seed)
            })
            .map(|term| term.map_err(|error| error.within("loss")))
            .collect::<Result<Vec<Self>, ConfigError>>()
            .and_then(|terms| match terms.iter().any(|term| term.config.counts()) {
                true => Ok(terms),
                false => Err(ConfigError::invalid("loss", "only losses of weight 0", "give at least one a weight > 0")),
            })
    }

    fn build(
        name: String,
        config: &LossConfig,
        plugins: &Plugins,
        network: &Network,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.validate().map_err(|error| error.within(&name))?;
        let loss = plugins.losses.build(&config.kind, config.options.clone())?;
        let nodes = resolve(loss.features(), network).map_err(|error| error.within(&name))?;
        loss.check(network, &nodes).map_err(|error| error.within(&name))?;
        let (shape, classes) = (network.input_shape(), network.classes());
        let augmentations =
            Augmentations::build("loss augmentation", &config.augment, &plugins.augmentations, shape, classes, seed)
                .map_err(|error| error.within("augment").within(&name))?;
        Ok(Self { name, config: config.clone(), loss, nodes, augmentations })
    }

    /// Refuses losses that leave an epoch without any.
    pub(crate) fn check_epochs(terms: &[Self], epochs: usize) -> Result<(), ConfigError> {
        match (0..epochs).find(|&epoch| terms.iter().all(|term| term.weight_at(epoch) <= 0.0)) {
            Some(epoch) => {
                let found = format!("none of weight > 0 in epoch {epoch}, counted from 0");
                let fix = "mind `from_epoch`, `until_epoch` and `ramp`, so that every epoch has a loss to minimise";
                Err(ConfigError::invalid("loss", found, fix))
            }
            None => Ok(()),
        }
    }

    /// The nodes whose outputs it compares, in the network's order.
    pub(crate) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    pub(crate) fn needs_labels(&self) -> bool {
        self.loss.needs_labels()
    }

    /// Whether the epoch is one of those in which it counts, whatever its weight.
    pub(crate) fn is_on(&self, epoch: usize) -> bool {
        self.config.is_on(epoch)
    }

    /// Its weight in an epoch of the training, from 0; 0 where it is off.
    pub(crate) fn weight_at(&self, epoch: usize) -> f64 {
        self.config.weight_at(epoch)
    }

    /// How far the images are moved before it looks at them, if at all.
    pub(crate) fn perturb(&self) -> Option<f64> {
        self.config.perturb
    }

    /// What happens to the batch before it looks at it.
    pub(crate) fn augment(&self) -> &[AugmentationConfig] {
        &self.config.augment
    }

    /// The batch of a step that it looks at: the same for all losses with the same [`Self::augment`].
    pub(crate) fn augmented(&self, batch: &Shown, step: usize) -> Shown {
        self.augmentations.apply(batch.clone(), step)
    }

    /// The unweighted value; both outputs hold the features of all nodes that any term compares. `networks` shows those
    /// of [`Self::nodes`].
    pub(crate) fn value(
        &self,
        student: &Outputs,
        teacher: &Outputs,
        batch: &Shown,
        networks: &dyn Pair,
        step: u64,
        seed: u64,
    ) -> Tensor<1> {
        let features = self.nodes.iter().map(|node| {
            let of = |outputs: &Outputs| {
                outputs.features.get(node).cloned().expect("the feature taps listen at the nodes of all terms")
            };
            FeaturePair { node: node.clone(), student: of(student), teacher: of(teacher) }
        });
        self.loss.value(&Signals {
            student: student.logits.clone(),
            teacher: teacher.logits.clone(),
            labels: batch.labels.clone(),
            soft_labels: batch.soft_labels.clone(),
            features: features.collect(),
            images: Some(batch.images.clone()),
            networks: Some(networks),
            step,
            seed,
        })
    }
}

/// The names of the nodes that a loss asks for, in the network's order.
fn resolve(features: Features<'_>, network: &Network) -> Result<Vec<String>, ConfigError> {
    match features {
        Features::None => Ok(Vec::new()),
        Features::Blocks => blocks(network, "the blocks' outputs"),
        Features::LastBlock => {
            let outputs = blocks(network, "the last block's output")?;
            Ok(outputs.last().cloned().into_iter().collect())
        }
        Features::Matching(patterns) => {
            let names = || network.nodes().iter().map(|node| node.name.as_str());
            for pattern in patterns {
                let glob = Glob::new(pattern);
                if !names().any(|name| glob.matches(name)) {
                    let near = near_matches(pattern, names());
                    let hint = match near.first() {
                        Some(best) => format!("no node of {} matches it; did you mean `{best}`?", network.name()),
                        None => {
                            format!("no node of {} matches it; a node is called `{}`", network.name(), example(network))
                        }
                    };
                    return Err(ConfigError::invalid("nodes", format!("`{pattern}`"), hint));
                }
            }
            let globs: Vec<Glob> = patterns.iter().map(|pattern| Glob::new(pattern)).collect();
            Ok(names().filter(|name| globs.iter().any(|glob| glob.matches(name))).map(str::to_owned).collect())
        }
    }
}

/// The outputs of all blocks, at least one; `meant` is what an empty list of nodes stands for.
fn blocks(network: &Network, meant: &str) -> Result<Vec<String>, ConfigError> {
    match network.blocks() {
        [] => Err(ConfigError::invalid(
            "nodes",
            format!("an empty list ({meant})"),
            format!("the network {} has no blocks: name nodes, such as `{}`", network.name(), example(network)),
        )),
        blocks => Ok(blocks.iter().map(|block| network.node(block.output).name.clone()).collect()),
    }
}

fn example(network: &Network) -> &str {
    let relu = network.nodes().iter().rev().find(|node| node.layer.kind().starts_with("relu"));
    relu.map_or("input", |node| node.name.as_str())
}

#[cfg(test)]
mod tests;
