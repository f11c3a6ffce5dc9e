//! The weighted losses of a training.

use std::collections::BTreeMap;

use blindfold_quant::Glob;
use blindfold_zoo::{ConfigError, Family, Network, near_matches};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::loss::{FeaturePair, Features, Loss, Signals};

/// One `[[distill.loss]]` table: which loss, how heavy, and the loss's own options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossConfig {
    /// The loss's name, such as `kl`.
    pub kind: String,
    /// What its value is multiplied by.
    #[serde(default = "one")]
    pub weight: f64,
    /// The loss's own options.
    #[serde(flatten)]
    pub options: toml::Table,
}

fn one() -> f64 {
    1.0
}

/// One loss of a training.
#[derive(Debug)]
pub(crate) struct Term {
    /// Unique among the terms: the loss's name, with `-2`, `-3` from its second use on.
    pub(crate) name: String,
    pub(crate) weight: f64,
    loss: Box<dyn Loss>,
    nodes: Vec<String>,
}

/// What one network made of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    pub(crate) logits: Tensor<2>,
    pub(crate) features: BTreeMap<String, Tensor<4>>,
}

impl Term {
    /// Builds all terms for networks of this graph.
    pub(crate) fn build_all(
        configs: &[LossConfig],
        family: &Family<dyn Loss>,
        network: &Network,
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
                if !(config.weight.is_finite() && config.weight >= 0.0) {
                    return Err(ConfigError::invalid("weight", config.weight, "write a number >= 0").within(&name));
                }
                let loss = family.build(&config.kind, config.options.clone())?;
                let nodes = resolve(loss.features(), network).map_err(|error| error.within(&name))?;
                Ok(Self { name, weight: config.weight, loss, nodes })
            })
            .map(|term| term.map_err(|error| error.within("loss")))
            .collect::<Result<Vec<Self>, ConfigError>>()
            .and_then(|terms| match terms.iter().any(|term| term.weight > 0.0) {
                true => Ok(terms),
                false => Err(ConfigError::invalid("loss", "only losses of weight 0", "give at least one a weight > 0")),
            })
    }

    /// The nodes whose outputs it compares.
    pub(crate) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    pub(crate) fn needs_labels(&self) -> bool {
        self.loss.needs_labels()
    }

    /// The unweighted value; both outputs hold the features of all nodes that any term compares.
    pub(crate) fn value(&self, student: &Outputs, teacher: &Outputs, labels: Option<&Tensor<1, Int>>) -> Tensor<1> {
        let features = self.nodes.iter().map(|node| {
            let of = |outputs: &Outputs| {
                outputs.features.get(node).cloned().expect("the feature taps listen at the nodes of all terms")
            };
            FeaturePair { node: node.clone(), student: of(student), teacher: of(teacher) }
        });
        self.loss.value(&Signals {
            student: student.logits.clone(),
            teacher: teacher.logits.clone(),
            labels: labels.cloned(),
            features: features.collect(),
        })
    }
}

/// The names of the nodes that a loss asks for, in the network's order.
fn resolve(features: Features<'_>, network: &Network) -> Result<Vec<String>, ConfigError> {
    match features {
        Features::None => Ok(Vec::new()),
        Features::Blocks => match network.blocks() {
            [] => Err(ConfigError::invalid(
                "nodes",
                "an empty list (the blocks' outputs)",
                format!("the network {} has no blocks: name nodes, such as `{}`", network.name(), example(network)),
            )),
            blocks => Ok(blocks.iter().map(|block| network.node(block.output).name.clone()).collect()),
        },
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

fn example(network: &Network) -> &str {
    let relu = network.nodes().iter().rev().find(|node| node.layer.kind().starts_with("relu"));
    relu.map_or("input", |node| node.name.as_str())
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{NetworkBuilder, Op};
    use burn::tensor::Device;

    use super::*;
    use crate::loss::losses;

    fn network(with_block: bool) -> Network {
        let device = Device::default();
        let mut builder = NetworkBuilder::new(&device, 1);
        let conv = builder.conv("layer1.0.conv1", 0, [3, 1, 3], 1, 1, false);
        let first = builder.op("layer1.0.relu1", &[conv], Op::Relu);
        let second = builder.op("layer1.0.relu2", &[first], Op::Relu);
        if with_block {
            builder.block("layer1.0", conv, 0);
        }
        let pool = builder.op("avgpool", &[second], Op::GlobalAvgPool);
        builder.linear("linear", pool, 4, 3);
        builder.finish("tiny", [1, 4, 4], 4)
    }

    fn build(text: &str, network: &Network) -> Result<Vec<Term>, ConfigError> {
        #[derive(Deserialize)]
        struct File {
            loss: Vec<LossConfig>,
        }
        let file: File = toml::from_str(text).unwrap();
        Term::build_all(&file.loss, &losses().unwrap(), network)
    }

    #[test]
    fn patterns_and_blocks_become_nodes_in_the_networks_order() {
        let text = "[[loss]]\nkind = 'attention'\n[[loss]]\nkind = 'attention'\nnodes = ['*.relu*']\nweight = 0.5";
        let terms = build(text, &network(true)).unwrap();
        assert_eq!(terms[0].nodes(), ["layer1.0.relu2"]);
        assert_eq!(terms[1].nodes(), ["layer1.0.relu1", "layer1.0.relu2"]);
        assert_eq!((terms[0].name.as_str(), terms[1].name.as_str()), ("attention", "attention-2"));
        assert_eq!((terms[0].weight, terms[1].weight), (1.0, 0.5));
    }

    #[test]
    fn faults_name_the_loss_and_the_key() {
        let message = |text: &str, with_block| build(text, &network(with_block)).unwrap_err().to_string();
        assert!(message("loss = []", true).contains("at least one"));
        assert!(message("[[loss]]\nkind = 'kl'\nweight = 0", true).contains("weight > 0"));
        assert!(message("[[loss]]\nkind = 'kll'", true).contains("did you mean `kl`?"));
        assert!(message("[[loss]]\nkind = 'kl'\nweight = -1", true).contains("`loss.kl.weight`: -1"));
        assert!(message("[[loss]]\nkind = 'kl'\ntemperatur = 1", true).contains("temperatur"));
        let text = message("[[loss]]\nkind = 'feature-mse'\nnodes = ['layer1.0.relu3']", true);
        assert!(text.contains("`loss.feature-mse.nodes`") && text.contains("did you mean `layer1.0.relu"), "{text}");
        assert!(message("[[loss]]\nkind = 'feature-mse'", false).contains("has no blocks"));
    }
}
