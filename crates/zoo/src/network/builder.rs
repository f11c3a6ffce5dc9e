//! Writing a graph down.

use burn::tensor::{Device, TensorData};
use rand_distr::{Distribution, Normal};

use super::layer::{BatchNorm2d, Conv2d, Layer, Linear, Op};
use super::node::{Block, Node, NodeId};
use super::{Facts, Network};
use crate::rng::{Stream, stream};

/// Builds a [`Network`] node by node, with weights drawn as He et al. 2015 (`N(0, 2 / fan_out)`) from a seed.
pub struct NetworkBuilder<'a> {
    nodes: Vec<Node>,
    blocks: Vec<Block>,
    device: &'a Device,
    random: Stream,
}

impl<'a> NetworkBuilder<'a> {
    /// A graph with its input alone (node 0).
    pub fn new(device: &'a Device, seed: u64) -> Self {
        let input = Node { name: "input".to_owned(), inputs: Vec::new(), layer: Layer::stateless(Op::Input) };
        Self { nodes: vec![input], blocks: Vec::new(), device, random: stream(seed, "network initialisation") }
    }

    /// The node that was added last.
    pub fn last(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// Adds a node.
    pub fn push(&mut self, name: &str, inputs: &[NodeId], layer: Layer) -> NodeId {
        debug_assert!(inputs.iter().all(|&input| input < self.nodes.len()));
        self.nodes.push(Node { name: name.to_owned(), inputs: inputs.to_vec(), layer });
        self.last()
    }

    /// Adds a layer without parameters.
    pub fn op(&mut self, name: &str, inputs: &[NodeId], op: Op) -> NodeId {
        self.push(name, inputs, Layer::stateless(op))
    }

    /// Adds a square convolution; `shape` is `[out, in / groups, kernel]`.
    pub fn conv(
        &mut self,
        name: &str,
        input: NodeId,
        shape: [usize; 3],
        stride: usize,
        padding: usize,
        bias: bool,
    ) -> NodeId {
        let [out, channels, kernel] = shape;
        let deviation = (2.0 / (out * kernel * kernel) as f32).sqrt();
        let weight = self.normal(vec![out, channels, kernel, kernel], deviation);
        let bias = bias.then(|| constant(out, 0.0));
        let conv = Conv2d::new(name, weight, bias, [stride; 2], [padding; 2], 1, self.device);
        self.push(name, &[input], Layer::Conv2d(conv))
    }

    /// Adds a batch norm with scale 1, shift 0, mean 0 and variance 1.
    pub fn batch_norm(&mut self, name: &str, input: NodeId, channels: usize) -> NodeId {
        let state =
            [constant(channels, 1.0), constant(channels, 0.0), constant(channels, 0.0), constant(channels, 1.0)];
        let layer = BatchNorm2d::new(name, state, 1e-5, self.device);
        self.push(name, &[input], Layer::BatchNorm2d(layer))
    }

    /// Adds a linear layer with bias.
    pub fn linear(&mut self, name: &str, input: NodeId, out: usize, features: usize) -> NodeId {
        let weight = self.normal(vec![out, features], (1.0 / features as f32).sqrt());
        let layer = Linear::new(name, weight, Some(constant(out, 0.0)), self.device);
        self.push(name, &[input], Layer::Linear(layer))
    }

    /// Declares the nodes from `first` to the last one as a block that reads `input`.
    pub fn block(&mut self, name: &str, first: NodeId, input: NodeId) {
        let output = self.last();
        self.blocks.push(Block { name: name.to_owned(), nodes: first..output + 1, input, output });
    }

    /// The finished network.
    pub fn finish(self, name: &str, input_shape: [usize; 3], classes: usize) -> Network {
        Network::from_parts(self.nodes, Facts { name: name.to_owned(), input_shape, classes, blocks: self.blocks })
    }

    fn normal(&mut self, shape: Vec<usize>, deviation: f32) -> TensorData {
        let normal =
            Normal::new(0.0f32, deviation).expect("the deviation of a layer with outputs is positive and finite");
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| normal.sample(&mut self.random)).collect();
        TensorData::new(values, shape)
    }
}

fn constant(length: usize, value: f32) -> TensorData {
    TensorData::new(vec![value; length], [length])
}
