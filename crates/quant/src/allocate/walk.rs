//! Running a network again and again from one layer on.

use std::collections::BTreeMap;

use blindfold_zoo::{Network, NodeId, Site, Tap};
use burn::tensor::Tensor;

/// The outputs of a network in floating point up to a layer, from which the rest is run with other weights of that layer.
pub(super) struct Walk<'a> {
    network: &'a Network,
    known: Vec<(NodeId, Tensor<4>)>,
    position: NodeId,
}

impl<'a> Walk<'a> {
    /// At the beginning of the network, with images `[image, channel, height, width]`.
    pub(super) fn new(network: &'a Network, images: Tensor<4>) -> Self {
        Self { network, known: vec![(0, images)], position: 0 }
    }

    /// Runs the network up to, and without, that node; the nodes asked for must come in the order of the network.
    pub(super) fn advance(&mut self, node: NodeId) {
        if node <= self.position {
            return;
        }
        let reads = self.network.reads_of(node..self.network.nodes().len());
        let mut kept = Kept { wanted: &reads, outputs: BTreeMap::new() };
        self.network.run_stretch(self.position..node, self.known.clone(), &mut kept);
        let mut outputs = kept.outputs;
        let earlier = self.known.drain(..).filter(|(id, _)| *id < self.position && reads.contains(id));
        outputs.extend(earlier);
        self.known = outputs.into_iter().collect();
        self.position = node;
    }

    /// Logits `[image, class]` with another weight `[out, in / groups, height, width]` of the node that the walk is at.
    pub(super) fn logits(&self, weight: Tensor<4>) -> Tensor<2> {
        let mut replacement = Replacement { node: self.position, weight };
        let stretch = self.position..self.network.nodes().len();
        let output = self.network.run_stretch(stretch, self.known.clone(), &mut replacement);
        let [images, classes, height, width] = output.dims();
        output.reshape([images, classes * height * width])
    }
}

struct Kept<'a> {
    wanted: &'a [NodeId],
    outputs: BTreeMap<NodeId, Tensor<4>>,
}

impl Tap for Kept<'_> {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.wanted.contains(&site.id) {
            self.outputs.insert(site.id, output.clone());
        }
        output
    }
}

struct Replacement {
    node: NodeId,
    weight: Tensor<4>,
}

impl Tap for Replacement {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        if site.id == self.node { self.weight.clone() } else { weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{images, plain, small};

    #[test]
    fn from_every_layer_on_the_logits_are_those_of_the_whole_network() {
        for network in [small(1), plain(2)] {
            let batch = images(&network, 3, 4);
            let expected: Vec<f32> = network.forward(batch.clone()).into_data().try_to_vec().unwrap();
            let mut walk = Walk::new(&network, batch.clone());
            for (id, node) in network.nodes().iter().enumerate() {
                let Some(weight) = node.layer.weight() else { continue };
                walk.advance(id);
                let same: Vec<f32> = walk.logits(weight.clone()).into_data().try_to_vec().unwrap();
                assert_eq!(same, expected, "{}", node.name);
                let other = network.clone().map_layers(|name, layer| match layer.weight() {
                    Some(weight) if name == node.name => layer.with_weight(weight * 1.5),
                    _ => layer,
                });
                let found: Vec<f32> = walk.logits(weight * 1.5).into_data().try_to_vec().unwrap();
                let expected: Vec<f32> = other.forward(batch.clone()).into_data().try_to_vec().unwrap();
                assert_eq!(found, expected, "{}", node.name);
            }
        }
    }
}
