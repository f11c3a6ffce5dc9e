//! Folding batch norms into the convolutions before them.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::network::Facts;
use crate::{Block, Layer, Network, Node, NodeId};

/// The same function with every batch norm that directly follows a convolution (its only reader) folded into it:
/// `w' = w * gamma / sqrt(var + eps)`, `b' = beta + (b - mean) * gamma / sqrt(var + eps)`.
///
/// Batch norms elsewhere (before a convolution, after a concatenation) stay. The convolution keeps its name. The result
/// has no gradients.
///
/// # Source
/// Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, eq. 14.
pub fn fold_batch_norms(network: Network) -> Network {
    fold_batch_norms_where(network, |_| true)
}

/// As [`fold_batch_norms`], but only for the batch norms whose node `chosen` accepts.
pub fn fold_batch_norms_where(network: Network, chosen: impl Fn(&Node) -> bool) -> Network {
    let network = network.frozen();
    let folded: Vec<bool> = (0..network.nodes().len())
        .map(|id| {
            let node = network.node(id);
            let Layer::BatchNorm2d(_) = node.layer else { return false };
            let before = node.inputs[0];
            matches!(network.node(before).layer, Layer::Conv2d(_)) && network.consumers(before) == [id] && chosen(node)
        })
        .collect();
    let affine: Vec<Option<(Tensor<1>, Tensor<1>)>> = (0..network.nodes().len())
        .map(|id| {
            let after = (id + 1 < folded.len())
                .then(|| network.consumers(id).into_iter().find(|&reader| folded[reader]))
                .flatten()?;
            match &network.node(after).layer {
                Layer::BatchNorm2d(bn) => Some(bn.affine()),
                _ => None,
            }
        })
        .collect();
    let mut new_place: Vec<NodeId> = Vec::with_capacity(folded.len());
    let (old_nodes, facts) = network.into_parts();
    let mut nodes: Vec<Node> = Vec::new();
    for (id, node) in old_nodes.into_iter().enumerate() {
        if folded[id] {
            new_place.push(new_place[node.inputs[0]]);
            continue;
        }
        let inputs = node.inputs.iter().map(|&input| new_place[input]).collect();
        let layer = match (node.layer, &affine[id]) {
            (Layer::Conv2d(conv), Some((scale, shift))) => {
                let [channels] = scale.dims();
                let weight = conv.weight.val() * scale.clone().reshape([channels, 1, 1, 1]);
                let bias = match &conv.bias {
                    Some(bias) => bias.val() * scale.clone() + shift.clone(),
                    None => shift.clone(),
                };
                let stride = conv.stride;
                let conv = crate::Conv2d::new(
                    &node.name,
                    weight.clone().into_data(),
                    Some(bias.into_data()),
                    stride,
                    conv.padding,
                    conv.groups,
                    &weight.device(),
                );
                Layer::Conv2d(conv)
            }
            (layer, _) => layer,
        };
        new_place.push(nodes.len());
        nodes.push(Node { name: node.name, inputs, layer });
    }
    let blocks = facts
        .blocks
        .into_iter()
        .map(|block| {
            let last = new_place[block.nodes.end - 1];
            Block {
                nodes: new_place[block.nodes.start]..last + 1,
                input: new_place[block.input],
                output: new_place[block.output],
                name: block.name,
            }
        })
        .collect();
    Network::from_parts(nodes, Facts { blocks, ..facts }).no_grad()
}
