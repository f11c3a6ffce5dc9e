//! Weighted layers on the host, for passes that work channel by channel.

use std::collections::BTreeMap;
use std::ops::Range;

use blindfold_zoo::{Conv2d, Layer, Linear, Network, Node, NodeId};
use burn::tensor::TensorData;

use crate::samples::host_values;

/// The weight and bias of a convolution or linear layer in double precision, so that repeated scaling rounds only once.
#[derive(Debug, Clone)]
pub(crate) struct HostLayer {
    name: String,
    shape: [usize; 4],
    groups: usize,
    /// `[out, in / groups, height, width]`, row-major.
    pub(crate) weight: Vec<f64>,
    /// `[out]`.
    pub(crate) bias: Option<Vec<f64>>,
}

impl HostLayer {
    /// The layer of a node, if it has a weight.
    pub(crate) fn of(node: &Node) -> Option<Self> {
        let weight = node.layer.weight()?;
        let (groups, bias) = match &node.layer {
            Layer::Conv2d(conv) => (conv.groups, &conv.bias),
            Layer::Linear(linear) => (1, &linear.bias),
            _ => return None,
        };
        let bias = bias.as_ref().map(|bias| bias.val().inner().into_data().iter::<f32>().map(f64::from).collect());
        let shape = weight.dims();
        let weight = host_values(weight).into_iter().map(f64::from).collect();
        Some(Self { name: node.name.clone(), shape, groups, weight, bias })
    }

    /// Number of output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.shape[0]
    }

    /// Number of input channels, of all groups together.
    pub(crate) fn inputs(&self) -> usize {
        self.shape[1] * self.groups
    }

    /// Number of independent channel groups.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Number of weights between one input and one output channel.
    pub(crate) fn area(&self) -> usize {
        self.shape[2] * self.shape[3]
    }

    /// Whether each output channel reads one input channel of its own.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.inputs() && self.groups == self.outputs()
    }

    /// Where the weights of an output channel lie.
    pub(crate) fn output_weights(&self, output: usize) -> Range<usize> {
        let row = self.shape[1] * self.area();
        output * row..(output + 1) * row
    }

    /// The outputs that read an input channel, each with where the weights between them lie.
    pub(crate) fn readers(&self, input: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let [outputs, channels, ..] = self.shape;
        let (area, share) = (self.area(), outputs / self.groups.max(1));
        let (group, place) = (input / channels.max(1), input % channels.max(1));
        (group * share..(group + 1) * share).map(move |output| {
            let start = (output * channels + place) * area;
            (output, start..start + area)
        })
    }

    /// Multiplies what an output channel gives.
    pub(crate) fn scale_output(&mut self, output: usize, factor: f64) {
        let weights = self.output_weights(output);
        self.weight[weights].iter_mut().for_each(|weight| *weight *= factor);
        if let Some(bias) = &mut self.bias {
            bias[output] *= factor;
        }
    }

    /// Multiplies what is made of an input channel.
    pub(crate) fn scale_input(&mut self, input: usize, factor: f64) {
        for (_, weights) in self.readers(input) {
            self.weight[weights].iter_mut().for_each(|weight| *weight *= factor);
        }
    }

    /// The bias, made of zeros where there was none.
    pub(crate) fn bias_mut(&mut self) -> &mut Vec<f64> {
        let outputs = self.outputs();
        self.bias.get_or_insert_with(|| vec![0.0; outputs])
    }

    /// The same layer with so many input channels and these weights; only for layers with one group.
    pub(crate) fn with_inputs(mut self, inputs: usize, weight: Vec<f64>) -> Self {
        debug_assert!(self.groups == 1 && weight.len() == self.outputs() * inputs * self.area());
        self.shape[1] = inputs;
        self.weight = weight;
        self
    }

    /// `layer`, which must be the one that this was made of, with this weight and bias. Without gradients.
    pub(crate) fn write(self, layer: Layer) -> Layer {
        let single = |values: Vec<f64>| -> Vec<f32> { values.into_iter().map(|value| value as f32).collect() };
        let Self { name, shape, weight, bias, .. } = self;
        let [out, channels, ..] = shape;
        let bias = bias.map(|bias| TensorData::new(single(bias), [out]));
        match layer {
            Layer::Conv2d(conv) => {
                let (weight, device) = (TensorData::new(single(weight), shape), conv.weight.val().device());
                Layer::Conv2d(Conv2d::new(&name, weight, bias, conv.stride, conv.padding, conv.groups, &device))
            }
            Layer::Linear(linear) => {
                let (weight, device) = (TensorData::new(single(weight), [out, channels]), linear.weight.val().device());
                Layer::Linear(Linear::new(&name, weight, bias, &device))
            }
            other => other,
        }
    }
}

/// Some layers of a network, read together and written back together.
#[derive(Debug)]
pub(crate) struct HostLayers(BTreeMap<NodeId, HostLayer>);

impl HostLayers {
    /// Those of the named nodes that have a weight.
    pub(crate) fn of(network: &Network, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let mut layers = BTreeMap::new();
        for id in nodes {
            if let Some(layer) = HostLayer::of(network.node(id)) {
                layers.insert(id, layer);
            }
        }
        Self(layers)
    }

    /// One that was read.
    pub(crate) fn get(&self, id: NodeId) -> &HostLayer {
        self.0.get(&id).expect("a pass asks for the layers that it has read")
    }

    /// One that was read, to be changed.
    pub(crate) fn edit(&mut self, id: NodeId) -> &mut HostLayer {
        self.0.get_mut(&id).expect("a pass asks for the layers that it has read")
    }

    /// The network with all of them replaced.
    pub(crate) fn write(mut self, network: Network) -> Network {
        let mut place = 0..network.nodes().len();
        network.map_layers(|_, layer| match place.next().and_then(|id| self.0.remove(&id)) {
            Some(host) => host.write(layer),
            None => layer,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use blindfold_zoo::{NetworkBuilder, Op};

    /// A grouped convolution of 4 to 6 channels in 2 groups, with the numbers 0, 1, 2 .. as its weights.
    fn grouped() -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        let weight = TensorData::new((0..12).map(|value| value as f32).collect::<Vec<f32>>(), [6, 2, 1, 1]);
        let conv = Conv2d::new("conv", weight, None, [1; 2], [0; 2], 2, &device);
        graph.push("conv", &[0], Layer::Conv2d(conv));
        graph.op("pool", &[graph.last()], Op::GlobalAvgPool);
        graph.finish("grouped", [4, 1, 1], 6)
    }

    fn logits(network: &Network, x: [f32; 4]) -> Vec<f32> {
        let x = Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 4, 1, 1]), &Device::flex());
        network.forward(x).into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_group_reads_its_own_channels() {
        let layer = HostLayer::of(grouped().node(1)).unwrap();
        assert_eq!((layer.inputs(), layer.outputs(), layer.area(), layer.is_depthwise()), (4, 6, 1, false));
        let readers: Vec<(usize, Range<usize>)> = layer.readers(3).collect();
        assert_eq!(readers, [(3, 7..8), (4, 9..10), (5, 11..12)]);
        assert_eq!(layer.output_weights(2), 4..6);
    }

    #[test]
    fn scaling_a_channel_scales_what_comes_of_it() {
        let network = grouped();
        let x = [1.0, 2.0, 3.0, 4.0];
        let before = logits(&network, x);
        let mut layers = HostLayers::of(&network, [1]);
        layers.edit(1).scale_output(1, 10.0);
        layers.edit(1).scale_input(3, 0.5);
        layers.edit(1).bias_mut()[0] = 7.0;
        let after = layers.write(network.clone());
        let halved = logits(&network, [1.0, 2.0, 3.0, 2.0]);
        let expected = [before[0] + 7.0, 10.0 * before[1], before[2], halved[3], halved[4], halved[5]];
        assert_eq!(logits(&after, x), expected);
    }
}
