//! The stretches of a network that are reconstructed one after another.

use std::ops::Range;

use blindfold_zoo::{Layer, Network, NodeId, Op};
use serde::{Deserialize, Serialize};

/// What is fitted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stretch {
    /// Each weighted layer, with the batch norm and the rectifier that belong to it.
    Layer,
    /// Each residual or dense block; layers outside of blocks one by one.
    Block,
}

/// A stretch of nodes that is fitted together, and read through its last node or others of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// The block's or the layer's name.
    pub(super) name: String,
    /// Its nodes: also those without weights that lie between the unit before and its own first layer.
    pub(super) nodes: Range<NodeId>,
}

impl Unit {
    /// Its nodes whose outputs nodes after it read, and its last one.
    pub(super) fn outputs(&self, network: &Network) -> Vec<NodeId> {
        let last = self.nodes.end - 1;
        let read_later = |id: NodeId| network.consumers(id).iter().any(|&reader| reader > last);
        self.nodes.clone().filter(|&id| id == last || read_later(id)).collect()
    }
}

/// All units of a network in topological order: every weighted node is in exactly one.
///
/// They lie end to end from node 1 on, so that running one after another is running the network up to the last unit's
/// end.
pub(super) fn units(network: &Network, by: Stretch) -> Vec<Unit> {
    let weighted = |id: NodeId| network.node(id).layer.has_weight();
    let block_at = |id: NodeId| {
        let found = network.blocks().iter().find(|block| block.nodes.start == id);
        found.filter(|block| by == Stretch::Block && block.nodes.clone().any(weighted))
    };
    let (mut units, mut start, mut id) = (Vec::new(), 1, 1);
    while id < network.nodes().len() {
        let (name, end) = match block_at(id) {
            Some(block) => (&block.name, block.nodes.end),
            None if weighted(id) => (&network.node(id).name, layer_end(network, id, |end| block_at(end).is_some())),
            None => {
                id += 1;
                continue;
            }
        };
        units.push(Unit { name: name.clone(), nodes: start..end });
        (start, id) = (end, end);
    }
    units
}

/// Where a layer ends with the batch norm and the rectifier that directly follow it and alone read it.
fn layer_end(network: &Network, layer: NodeId, begins_block: impl Fn(NodeId) -> bool) -> NodeId {
    let mut end = layer + 1;
    while end < network.nodes().len() && network.consumers(end - 1) == [end] && !begins_block(end) {
        match &network.node(end).layer {
            Layer::BatchNorm2d(_) => end += 1,
            next if matches!(next.op(), Some(Op::Relu | Op::Relu6)) => return end + 1,
            _ => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Family, architecture, fold_batch_norms};
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{plain, resnet20, small};

    fn architecture(name: &str, table: &str) -> Network {
        let family = Family::new("architecture", architecture::BUILTIN).unwrap();
        family.build(name, toml::from_str(table).unwrap()).unwrap().build(&Device::flex(), 1)
    }

    fn networks() -> Vec<Network> {
        let networks = [
            resnet20(1),
            small(1),
            plain(1),
            architecture("resnet", "depth = 20\nshortcut = \"a\""),
            architecture("resnet", "depth = 8\nshortcut = \"b\""),
            architecture("densenet-bc", "depth = 16"),
            architecture("lenet5", ""),
        ];
        networks.into_iter().flat_map(|network| [fold_batch_norms(network.clone()), network]).collect()
    }

    fn names(network: &Network, by: Stretch) -> Vec<String> {
        units(network, by).into_iter().map(|unit| unit.name).collect()
    }

    #[test]
    fn every_weighted_node_is_in_exactly_one_unit() {
        for network in networks() {
            for by in [Stretch::Layer, Stretch::Block] {
                let units = units(&network, by);
                let mut next = 1;
                for unit in &units {
                    assert!(unit.nodes.start == next && unit.nodes.end > next, "{}: {unit:?}", network.name());
                    next = unit.nodes.end;
                }
                let weighted = (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight());
                for id in weighted {
                    let holders = units.iter().filter(|unit| unit.nodes.contains(&id)).count();
                    assert_eq!(holders, 1, "{} {by:?}: {}", network.name(), network.node(id).name);
                }
                for unit in &units {
                    let layers = unit.nodes.clone().filter(|&id| network.node(id).layer.has_weight()).count();
                    let block = network.blocks().iter().any(|block| block.name == unit.name);
                    assert!(layers == 1 || by == Stretch::Block && block && layers > 1, "{}", unit.name);
                }
            }
        }
    }

    #[test]
    fn blocks_of_every_kind_are_units_of_their_own() {
        let first = |count: usize| {
            let blocks = (1..=3).flat_map(move |stage| (0..count).map(move |unit| format!("layer{stage}.{unit}")));
            std::iter::once("conv1".to_owned()).chain(blocks).chain(["linear".to_owned()]).collect::<Vec<_>>()
        };
        assert_eq!(names(&resnet20(1), Stretch::Block), first(3));
        assert_eq!(names(&architecture("resnet", "depth = 8\nshortcut = \"b\""), Stretch::Block), first(1));
        let dense = names(&architecture("densenet-bc", "depth = 16"), Stretch::Block);
        assert_eq!(dense.len(), 6 + 4, "{dense:?}");
        assert_eq!(dense[..4], ["conv1", "block1.layer.0", "block1.layer.1", "trans1.conv1"]);
        let lenet = architecture("lenet5", "");
        assert_eq!(names(&lenet, Stretch::Block), ["conv1", "conv2", "fc1", "fc2", "fc3"]);
    }

    #[test]
    fn a_layer_ends_with_its_batch_norm_and_rectifier_and_blocks_at_their_output() {
        for network in networks() {
            for by in [Stretch::Layer, Stretch::Block] {
                for unit in units(&network, by) {
                    let outputs = unit.outputs(&network);
                    assert_eq!(outputs.last(), Some(&(unit.nodes.end - 1)));
                    if let Some(block) = network.blocks().iter().find(|block| block.name == unit.name) {
                        assert_eq!(outputs, [block.output], "{}", unit.name);
                    }
                }
            }
        }
        let network = small(1);
        let ends: Vec<&str> =
            units(&network, Stretch::Layer).iter().map(|unit| network.node(unit.nodes.end - 1).name.as_str()).collect();
        let expected = ["relu1", "layer1.0.relu1", "layer1.0.bn2", "layer2.0.relu1", "layer2.0.bn2", "linear"];
        assert_eq!(ends, expected);
    }
}
