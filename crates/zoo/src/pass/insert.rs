//! Putting a layer between two others.

use crate::network::Facts;
use crate::{Block, Layer, Network, Node, NodeId};

/// The same graph with a new node of that name between `node` and what it reads as input number `input_index`.
///
/// The new node stands just before `node`, and belongs to its block. All other nodes keep their names, their order and
/// what they read; those from `node` on move one place. The name must be free.
///
/// # Panics
/// When there is no such node or input.
pub fn insert_before(network: Network, node: NodeId, input_index: usize, name: &str, layer: Layer) -> Network {
    let (mut nodes, facts) = network.into_parts();
    debug_assert!(nodes.iter().all(|other| other.name != name), "two nodes are called `{name}`");
    let moved = |id: NodeId| id + usize::from(id >= node);
    for input in nodes[node..].iter_mut().flat_map(|later| &mut later.inputs) {
        *input = moved(*input);
    }
    let from = std::mem::replace(&mut nodes[node].inputs[input_index], node);
    nodes.insert(node, Node { name: name.to_owned(), inputs: vec![from], layer });
    let blocks = facts
        .blocks
        .into_iter()
        .map(|Block { name, nodes, input, output }| Block {
            name,
            nodes: nodes.start + usize::from(nodes.start > node)..nodes.end + usize::from(nodes.end > node),
            input: moved(input),
            output: moved(output),
        })
        .collect();
    Network::from_parts(nodes, Facts { blocks, ..facts })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::network::ChannelSelect;
    use crate::{NetworkBuilder, Op};

    fn residual() -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        let stem = graph.conv("stem", 0, [4, 3, 3], 1, 1, true);
        let mut last = stem;
        for name in ["a", "b"] {
            let first = graph.conv(&format!("{name}.conv1"), last, [4, 4, 3], 1, 1, true);
            graph.op(&format!("{name}.relu"), &[first], Op::Relu);
            let body = graph.conv(&format!("{name}.conv2"), graph.last(), [4, 4, 3], 1, 1, true);
            let output = graph.op(&format!("{name}.add"), &[last, body], Op::Add);
            graph.block(name, first, last);
            last = output;
        }
        graph.op("pool", &[last], Op::GlobalAvgPool);
        graph.finish("residual", [3, 6, 6], 4)
    }

    fn images() -> Tensor<4> {
        let values: Vec<f32> = (0..2 * 3 * 36).map(|index| (index as f32 * 0.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 6, 6]), &Device::flex())
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_copy_of_all_channels_anywhere_changes_no_bit_and_no_block() {
        let network = residual();
        let expected = values(network.forward(images()));
        for (id, node) in network.nodes().iter().enumerate().skip(1) {
            for (index, &from) in node.inputs.iter().enumerate() {
                let channels = if from == 0 { 3 } else { 4 };
                let layer = Layer::ChannelSelect(ChannelSelect { indices: (0..channels).collect() });
                let inserted = insert_before(network.clone(), id, index, "copy", layer);
                assert_eq!(values(inserted.forward(images())), expected, "before `{}`", node.name);
                let mut names: Vec<&str> = inserted.nodes().iter().map(|node| node.name.as_str()).collect();
                assert_eq!(names.remove(id), "copy");
                assert_eq!(names, network.nodes().iter().map(|node| node.name.as_str()).collect::<Vec<_>>());
                for (block, old) in inserted.blocks().iter().zip(network.blocks()) {
                    let name = |id: NodeId| inserted.node(id).name.as_str();
                    assert_eq!(name(block.input), network.node(old.input).name);
                    assert_eq!(name(block.output), network.node(old.output).name);
                    assert_eq!(block.output, block.nodes.end - 1);
                    assert_eq!(block.nodes.contains(&id), old.nodes.contains(&id), "`{}`", block.name);
                    assert_eq!(block.nodes.len(), old.nodes.len() + usize::from(old.nodes.contains(&id)));
                    let outside = inserted.reads_of(block.nodes.clone());
                    assert_eq!(outside, [block.input], "`{}` before `{}`", block.name, node.name);
                }
            }
        }
    }

    #[test]
    fn channels_are_chosen_and_gradients_come_back_to_them() {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        graph.push("select", &[0], Layer::ChannelSelect(ChannelSelect { indices: vec![2, 0, 0] }));
        graph.op("pool", &[graph.last()], Op::GlobalAvgPool);
        let network = graph.finish("select", [3, 1, 1], 3);
        assert_eq!(network.node(1).layer.kind(), "channel-select");
        assert!(network.state().is_empty());
        let x = Tensor::<4>::from_data(TensorData::new(vec![1.0f32, 2.0, 3.0], [1, 3, 1, 1]), &device);
        assert_eq!(values(network.forward(x.clone())), [3.0, 1.0, 1.0]);
        let x = x.autodiff().require_grad();
        let gradients = network.forward(x.clone()).sum().backward();
        let gradient: Vec<f32> = x.grad(&gradients).unwrap().into_data().iter::<f32>().collect();
        assert_eq!(gradient, [2.0, 0.0, 1.0]);
    }
}
