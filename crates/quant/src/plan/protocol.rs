//! The two sets of conventions that published numbers follow.

use std::collections::BTreeSet;
use std::fmt;

use blindfold_zoo::{Layer, Network, NodeId, Op};
use serde::{Deserialize, Serialize};

/// Which layers are quantized, where, and to how many bits. Numbers of the two are never comparable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// ZeroQ, GDFQ, IntraQ and their family: every convolution and linear weight at the same bits, first and last included;
    /// activations at the outputs of ReLU and ReLU6 alone; batch norms not folded. Images, the branches of an addition,
    /// pooled features and logits stay in floating point.
    #[default]
    Gdfq,
    /// BRECQ, QDrop and their family: batch norms folded; first and last weights, the first layer's output and the last
    /// layer's input at 8 bits; activations at the inputs of convolutions and linear layers and at the sum of every
    /// residual addition (after its ReLU where it has one). Images and logits stay in floating point. Of what is averaged
    /// before a layer reads it, the average is left as it is and what it is taken of is quantized.
    Brecq,
}

/// A layer or site with whether it lies at the network's first or last layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: NodeId,
    pub(crate) boundary: bool,
}

impl Protocol {
    /// Whether batch norms are folded before quantization.
    pub fn folds_batch_norms(self) -> bool {
        self == Self::Brecq
    }

    /// The layers whose weights are quantized, in order.
    pub(crate) fn weights(self, network: &Network) -> Vec<Place> {
        let layers: Vec<NodeId> = weighted(network).collect();
        let (first, last) = (layers.first().copied(), layers.last().copied());
        layers.iter().map(|&id| Place { id, boundary: Some(id) == first || Some(id) == last }).collect()
    }

    /// The nodes whose outputs are quantized, in order. For [`Self::Brecq`] the network has its batch norms folded.
    pub(crate) fn activations(self, network: &Network) -> Vec<Place> {
        let (sites, boundary) = match self {
            Self::Gdfq => (rectifiers(network), BTreeSet::new()),
            Self::Brecq => fused_sites(network),
        };
        sites.into_iter().map(|id| Place { id, boundary: boundary.contains(&id) }).collect()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gdfq => "gdfq",
            Self::Brecq => "brecq",
        })
    }
}

fn weighted(network: &Network) -> impl Iterator<Item = NodeId> {
    (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight())
}

fn is_rectifier(layer: &Layer) -> bool {
    matches!(layer.op(), Some(Op::Relu | Op::Relu6))
}

fn rectifiers(network: &Network) -> BTreeSet<NodeId> {
    (0..network.nodes().len()).filter(|&id| is_rectifier(&network.node(id).layer)).collect()
}

fn fused_sites(network: &Network) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let layers: Vec<NodeId> = weighted(network).collect();
    let mut sites: BTreeSet<NodeId> =
        layers.iter().filter_map(|&id| source(network, network.node(id).inputs[0])).collect();
    let additions = (0..network.nodes().len()).filter(|&id| network.node(id).layer.op() == Some(Op::Add));
    sites.extend(additions.map(|id| fused_output(network, id)));
    let mut boundary = BTreeSet::new();
    if let (Some(&first), Some(&last)) = (layers.first(), layers.last()) {
        if first != last {
            boundary.insert(fused_output(network, first));
        }
        boundary.extend(source(network, network.node(last).inputs[0]));
    }
    sites.extend(boundary.iter().copied());
    sites.remove(&network.output());
    (sites, boundary)
}

/// The node whose quantized output is what `id` outputs: `id` itself, or what stands before operations that only select
/// values, pad with zeros or average. None for the images.
fn source(network: &Network, mut id: NodeId) -> Option<NodeId> {
    loop {
        let node = network.node(id);
        if let Layer::ChannelSelect(_) = node.layer {
            id = node.inputs[0];
            continue;
        }
        match node.layer.op() {
            Some(Op::Input) => return None,
            Some(
                Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool | Op::Flatten | Op::PadShortcut { .. },
            ) => id = node.inputs[0],
            _ => return Some(id),
        }
    }
}

/// Where the result of a layer and the batch norm and rectifier that belong to it comes out.
fn fused_output(network: &Network, mut id: NodeId) -> NodeId {
    while let [reader] = network.consumers(id)[..] {
        let layer = &network.node(reader).layer;
        if is_rectifier(layer) {
            return reader;
        }
        if !matches!(layer, Layer::BatchNorm2d(_)) {
            break;
        }
        id = reader;
    }
    id
}
