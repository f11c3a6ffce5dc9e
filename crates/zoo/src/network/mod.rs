//! The network as data: nodes in topological order, run with taps.

mod batch_statistics;
mod builder;
mod execute;
mod layer;
mod node;
mod tap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use sha2::{Digest, Sha256};

pub use batch_statistics::BatchStatistics;
pub use builder::NetworkBuilder;
pub use layer::{BatchNorm2d, ChannelSelect, Conv2d, Layer, Linear, Op, Stateless, parameter_id};
pub use node::{Block, Node, NodeId};
pub use tap::{FeatureTap, NoTap, Site, Tap, Taps};

use crate::weights::{WeightError, match_state};

/// A network: a graph of layers in topological order, the first node its input, the last its logits.
///
/// It is a Burn module, so that Burn's optimizers and devices work on it.
#[derive(Module, Debug)]
pub struct Network {
    nodes: Vec<Node>,
    #[module(skip)]
    facts: Facts,
}

#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) input_shape: [usize; 3],
    pub(crate) classes: usize,
    pub(crate) blocks: Vec<Block>,
}

impl Network {
    pub(crate) fn from_parts(nodes: Vec<Node>, facts: Facts) -> Self {
        Self { nodes, facts }
    }

    pub(crate) fn into_parts(self) -> (Vec<Node>, Facts) {
        (self.nodes, self.facts)
    }

    /// The architecture's name, such as `resnet20`.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Shape of one image: `[channel, height, width]`.
    pub fn input_shape(&self) -> [usize; 3] {
        self.facts.input_shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.facts.classes
    }

    /// All nodes in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at that place.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The residual or dense blocks, in order.
    pub fn blocks(&self) -> &[Block] {
        &self.facts.blocks
    }

    /// The node whose output is the logits.
    pub fn output(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// The place of the node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The nodes that read the output of `id`.
    pub fn consumers(&self, id: NodeId) -> Vec<NodeId> {
        (id + 1..self.nodes.len()).filter(|&other| self.nodes[other].inputs.contains(&id)).collect()
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }

    /// Logits `[batch, classes]` of images `[batch, channel, height, width]`, in evaluation mode.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(images, &mut NoTap)
    }

    /// As [`Self::forward`], with a tap that sees and may replace what passes.
    pub fn run(&self, images: Tensor<4>, tap: &mut dyn Tap) -> Tensor<2> {
        let logits = self.run_nodes(images, tap);
        let [batch, classes, height, width] = logits.dims();
        logits.reshape([batch, classes * height * width])
    }

    /// On the autodiff device, with gradients for all parameters but the running statistics of batch norms.
    pub fn trainable(self) -> Self {
        let device = self.device().autodiff();
        let network = self.map_layers(|_, layer| match layer {
            Layer::Conv2d(mut conv) => {
                conv.weight = conv.weight.set_require_grad(true);
                conv.bias = conv.bias.map(|bias| bias.set_require_grad(true));
                Layer::Conv2d(conv)
            }
            Layer::Linear(mut linear) => {
                linear.weight = linear.weight.set_require_grad(true);
                linear.bias = linear.bias.map(|bias| bias.set_require_grad(true));
                Layer::Linear(linear)
            }
            Layer::BatchNorm2d(mut bn) => {
                bn.gamma = bn.gamma.set_require_grad(true);
                bn.beta = bn.beta.set_require_grad(true);
                Layer::BatchNorm2d(bn)
            }
            other => other,
        });
        debug_assert!(device.is_autodiff());
        network.train()
    }

    /// Without gradients, on the plain device.
    pub fn frozen(self) -> Self {
        self.valid().no_grad()
    }

    /// The same graph with each layer replaced by what `replace(node name, layer)` gives.
    pub fn map_layers(self, mut replace: impl FnMut(&str, Layer) -> Layer) -> Self {
        let nodes = self
            .nodes
            .into_iter()
            .map(|Node { name, inputs, layer }| {
                let layer = replace(&name, layer);
                Node { name, inputs, layer }
            })
            .collect();
        Self { nodes, facts: self.facts }
    }

    /// All parameters by name (`layer1.0.conv1.weight`, `.bias`, `.running_mean`, `.running_var`), in node order.
    pub fn state(&self) -> Vec<(String, TensorData)> {
        self.nodes
            .iter()
            .flat_map(|node| {
                node.layer.state().into_iter().map(|(suffix, data)| (format!("{}.{suffix}", node.name), data))
            })
            .collect()
    }

    /// The same network with all of its parameters replaced by those of the same names.
    ///
    /// # Errors
    /// [`WeightError::Mismatch`] lists the names that are missing, left over or misshaped, with near matches.
    pub fn with_state(self, state: Vec<(String, TensorData)>) -> Result<Self, WeightError> {
        let mut matched = match_state(&self, state)?;
        Ok(self.map_layers(|node, layer| {
            layer.replace_state(|suffix| {
                matched.remove(&format!("{node}.{suffix}")).expect("match_state has checked that every name is there")
            })
        }))
    }

    /// SHA-256 over names, shapes and values of all parameters: the same for the same network on any device.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.facts.name.as_bytes());
        for (name, data) in self.state() {
            hash.update(name.as_bytes());
            for size in data.shape().iter() {
                hash.update((*size as u64).to_le_bytes());
            }
            for value in data.iter::<f32>() {
                hash.update(value.to_le_bytes());
            }
        }
        crate::digest::hex(&hash.finalize())
    }
}
