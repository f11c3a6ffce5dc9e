//! Taps: what sees, and may replace, everything that passes through a network.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::Network;
use super::layer::BatchNorm2d;
use super::node::{Node, NodeId};

/// Where in the network a tap is called.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The node's place in the topological order.
    pub id: NodeId,
    /// The node.
    pub node: &'a Node,
    /// The network that runs.
    pub network: &'a Network,
}

/// Sees, and may replace, each node's weight, inputs and output as they pass; what Burn has no hooks for.
///
/// All values are rank 4: activations `[batch, channel, height, width]` (vectors `[batch, feature, 1, 1]`), weights
/// `[out, in / groups, height, width]` (linear `[out, in, 1, 1]`). Each method passes its value through by default.
pub trait Tap {
    /// The weight of a convolution or linear layer, just before it is used.
    fn weight(&mut self, _site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        weight
    }

    /// Input number `index` of a node.
    fn input(&mut self, _site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        input
    }

    /// The output of a node.
    fn output(&mut self, _site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        output
    }

    /// Replaces the evaluation of a batch norm (training needs the statistics of the batch instead of the running ones).
    fn batch_norm(&mut self, _site: Site<'_>, _layer: &BatchNorm2d, _input: &Tensor<4>) -> Option<Tensor<4>> {
        None
    }
}

/// The tap that does nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoTap;

impl Tap for NoTap {}

/// Several taps, each seeing what the one before it returned.
pub struct Taps<'a>(pub Vec<&'a mut dyn Tap>);

impl Tap for Taps<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        self.0.iter_mut().fold(weight, |weight, tap| tap.weight(site, weight))
    }

    fn input(&mut self, site: Site<'_>, index: usize, input: Tensor<4>) -> Tensor<4> {
        self.0.iter_mut().fold(input, |input, tap| tap.input(site, index, input))
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        self.0.iter_mut().fold(output, |output, tap| tap.output(site, output))
    }

    fn batch_norm(&mut self, site: Site<'_>, layer: &BatchNorm2d, input: &Tensor<4>) -> Option<Tensor<4>> {
        self.0.iter_mut().find_map(|tap| tap.batch_norm(site, layer, input))
    }
}

/// Keeps the outputs of the named nodes.
#[derive(Debug, Default)]
pub struct FeatureTap {
    wanted: Vec<String>,
    /// Outputs by node name, of the latest run.
    pub features: BTreeMap<String, Tensor<4>>,
}

impl FeatureTap {
    /// A tap on the nodes of these names.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { wanted: names.into_iter().collect(), features: BTreeMap::new() }
    }
}

impl Tap for FeatureTap {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.wanted.contains(&site.node.name) {
            self.features.insert(site.node.name.clone(), output.clone());
        }
        output
    }
}
