//! Weighted layers that follow one another with nothing between them that a positive scale of a channel cannot pass.

use blindfold_zoo::{Layer, Network, NodeId, Op};

/// Two weighted layers, the second of which alone reads the first, through rectifiers, pooling and flattening.
///
/// A rectifier and the pooling operations commute with a positive factor for each channel, so that such a factor can
/// move from the first layer to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The layer that writes.
    pub(crate) first: NodeId,
    /// The layer that reads.
    pub(crate) second: NodeId,
    /// Inputs of the second layer that come of one output channel of the first, side by side: more than 1 after
    /// flattening.
    pub(crate) repeat: usize,
    /// Whether a ReLU lies between them.
    pub(crate) rectified: bool,
    /// The ReLU6 between them, which a factor cannot pass.
    pub(crate) capped: Vec<NodeId>,
    /// Whether zeros of a padding come in between them, or at the second: a constant cannot pass then at the border.
    pub(crate) padded: bool,
}

/// All links of a network whose batch norms are folded, in the order of their first layers.
pub(crate) fn links(network: &Network) -> Vec<Link> {
    (0..network.nodes().len())
        .filter(|&id| network.node(id).layer.has_weight())
        .filter_map(|first| link(network, first))
        .collect()
}

fn link(network: &Network, first: NodeId) -> Option<Link> {
    let (mut id, mut rectified, mut capped, mut padded) = (first, false, Vec::new(), false);
    loop {
        let [reader] = network.consumers(id)[..] else { return None };
        let layer = &network.node(reader).layer;
        if layer.has_weight() {
            let (outputs, inputs) = (outputs(&network.node(first).layer)?, inputs(layer)?);
            let fits = outputs > 0 && inputs.is_multiple_of(outputs);
            padded |= matches!(layer, Layer::Conv2d(conv) if conv.padding != [0, 0]);
            return fits.then(|| Link { first, second: reader, repeat: inputs / outputs, rectified, capped, padded });
        }
        match layer.op()? {
            Op::Relu => rectified = true,
            Op::Relu6 => capped.push(reader),
            Op::AvgPool { padding, .. } => padded |= padding > 0,
            Op::MaxPool { .. } | Op::GlobalAvgPool | Op::Flatten => {}
            Op::Input | Op::Add | Op::Concat | Op::PadShortcut { .. } => return None,
            Op::Upsample { .. } | Op::LeakyRelu { .. } | Op::Tanh | Op::Unflatten { .. } => return None,
        }
        id = reader;
    }
}

fn outputs(layer: &Layer) -> Option<usize> {
    layer.weight().map(|weight| weight.dims()[0])
}

/// Input channels of a convolution, features of a linear layer.
fn inputs(layer: &Layer) -> Option<usize> {
    let groups = if let Layer::Conv2d(conv) = layer { conv.groups } else { 1 };
    layer.weight().map(|weight| weight.dims()[1] * groups)
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::fold_batch_norms;

    use super::*;
    use crate::architectures::{build, mobile};
    use crate::testing::{plain, small};

    fn named(network: &Network) -> Vec<(String, String, usize)> {
        let name = |id: NodeId| network.node(id).name.clone();
        links(network).into_iter().map(|link| (name(link.first), name(link.second), link.repeat)).collect()
    }

    fn pair(first: &str, second: &str, repeat: usize) -> (String, String, usize) {
        (first.to_owned(), second.to_owned(), repeat)
    }

    #[test]
    fn links_are_found_through_pooling_and_flattening() {
        let lenet = build("lenet5", "", 1);
        assert_eq!(
            named(&lenet),
            [pair("conv1", "conv2", 1), pair("conv2", "fc1", 25), pair("fc1", "fc2", 1), pair("fc2", "fc3", 1)]
        );
        let links = links(&lenet);
        assert!(links.iter().all(|link| link.rectified && link.capped.is_empty() && !link.padded));
        assert_eq!(named(&plain(1)), [pair("first", "classifier", 1)]);
    }

    #[test]
    fn a_value_that_two_nodes_read_links_nothing() {
        let inside = [pair("layer1.0.conv1", "layer1.0.conv2", 1), pair("layer2.0.conv1", "layer2.0.conv2", 1)];
        assert_eq!(named(&fold_batch_norms(small(1))), inside);
        assert!(links(&small(1)).is_empty(), "a batch norm stands between");
        assert!(links(&fold_batch_norms(small(1))).iter().all(|link| link.padded));
    }

    #[test]
    fn a_relu6_is_told() {
        let network = fold_batch_norms(mobile(1));
        let capped: Vec<usize> = links(&network).iter().map(|link| link.capped.len()).collect();
        assert_eq!(capped, [0, 1, 1, 0, 0]);
    }
}
