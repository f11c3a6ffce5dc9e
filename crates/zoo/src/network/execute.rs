//! Running the nodes in order.

use std::ops::Range;

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, interpolate, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Int, Tensor, TensorData, s};

use super::Network;
use super::layer::{Layer, Op};
use super::node::NodeId;
use super::tap::{Site, Tap};
use crate::ops::{channel_affine, conv2d, leaky_relu};

impl Network {
    pub(super) fn run_nodes(&self, images: Tensor<4>, tap: &mut dyn Tap) -> Tensor<4> {
        self.run_stretch(0..self.nodes().len(), vec![(0, images)], tap)
    }

    /// Runs a stretch of nodes on the outputs of the earlier nodes that they read, and returns the output of the last one.
    ///
    /// A known output of a node within the stretch stands for running it up to there; for node 0 it is the images.
    ///
    /// # Panics
    /// When the stretch is empty, or reads an earlier node whose output is not among `known`; see [`Self::reads_of`].
    pub fn run_stretch(&self, stretch: Range<NodeId>, known: Vec<(NodeId, Tensor<4>)>, tap: &mut dyn Tap) -> Tensor<4> {
        let last_use = self.last_use();
        let mut values: Vec<Option<Tensor<4>>> = vec![None; self.nodes().len()];
        let mut images = None;
        for (id, value) in known {
            if id == 0 && stretch.contains(&0) {
                images = Some(value);
            } else {
                values[id] = Some(value);
            }
        }
        for id in stretch.clone() {
            let node = self.node(id);
            let site = Site { id, node, network: self };
            let mut inputs: Vec<Tensor<4>> = Vec::with_capacity(node.inputs.len());
            for (index, &from) in node.inputs.iter().enumerate() {
                let slot = &mut values[from];
                let value = if last_use[from] == id && node.inputs[index + 1..].iter().all(|&other| other != from) {
                    slot.take()
                } else {
                    slot.clone()
                };
                let value = value.expect("every node that a stretch reads is in it or among its known outputs");
                inputs.push(tap.input(site, index, value));
            }
            let output = match &node.layer {
                Layer::Conv2d(conv) => {
                    let weight = tap.weight(site, conv.weight.val());
                    let bias = conv.bias.as_ref().map(|bias| bias.val());
                    conv2d(first(inputs), weight, bias, conv.stride, conv.padding, conv.groups)
                }
                Layer::Linear(linear) => {
                    let [out, features] = linear.weight.dims();
                    let weight = tap.weight(site, linear.weight.val().reshape([out, features, 1, 1]));
                    let input = first(inputs);
                    let [batch, channels, height, width] = input.dims();
                    let input = input.reshape([batch, channels * height * width]);
                    let bias = linear.bias.as_ref().map(|bias| bias.val());
                    let product = input.matmul(weight.reshape([out, features]).transpose());
                    let product = match bias {
                        Some(bias) => product + bias.unsqueeze(),
                        None => product,
                    };
                    product.reshape([batch, out, 1, 1])
                }
                Layer::BatchNorm2d(bn) => {
                    let input = first(inputs);
                    tap.batch_norm(site, bn, &input).unwrap_or_else(|| {
                        let (scale, shift) = bn.affine();
                        channel_affine(input, scale, shift)
                    })
                }
                Layer::ChannelSelect(select) => select_channels(first(inputs), &select.indices),
                Layer::Stateless(layer) if layer.op == Op::Input => {
                    images.take().expect("a stretch with the input node is run on images")
                }
                Layer::Stateless(layer) => apply(layer.op, inputs),
            };
            values[id] = Some(tap.output(site, output));
        }
        values[stretch.end - 1].take().expect("no node of the stretch reads its last one")
    }

    /// The earlier nodes that a stretch reads, in order.
    pub fn reads_of(&self, stretch: Range<NodeId>) -> Vec<NodeId> {
        let mut reads: Vec<NodeId> = stretch
            .clone()
            .flat_map(|id| self.node(id).inputs.iter().copied())
            .filter(|input| *input < stretch.start)
            .collect();
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    /// For each node, the last node that reads it (itself where none does).
    fn last_use(&self) -> Vec<NodeId> {
        let mut last: Vec<NodeId> = (0..self.nodes().len()).collect();
        for (id, node) in self.nodes().iter().enumerate() {
            for &input in &node.inputs {
                last[input] = id;
            }
        }
        last
    }
}

fn first(inputs: Vec<Tensor<4>>) -> Tensor<4> {
    inputs.into_iter().next().expect("every layer but the input has an input")
}

fn select_channels(input: Tensor<4>, indices: &[usize]) -> Tensor<4> {
    let places: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [indices.len()]), &input.device());
    input.select(1, places)
}

fn apply(op: Op, inputs: Vec<Tensor<4>>) -> Tensor<4> {
    match op {
        Op::Input | Op::Relu => relu(first(inputs)),
        Op::Relu6 => first(inputs).clamp(0.0, 6.0),
        Op::Add => inputs.into_iter().reduce(|sum, term| sum + term).expect("an addition has inputs"),
        Op::Concat => Tensor::cat(inputs, 1),
        Op::MaxPool { kernel, stride, padding } => {
            let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
            max_pool2d(first(inputs), options)
        }
        Op::AvgPool { kernel, stride, padding } => {
            let options = AvgPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
            avg_pool2d(first(inputs), options)
        }
        Op::GlobalAvgPool => {
            let input = first(inputs);
            let [batch, channels, height, width] = input.dims();
            input.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels, 1, 1])
        }
        Op::Flatten => {
            let input = first(inputs);
            let [batch, channels, height, width] = input.dims();
            input.reshape([batch, channels * height * width, 1, 1])
        }
        Op::PadShortcut { stride, before, after } => {
            let step = stride as i32;
            let input = first(inputs).slice(s![.., .., 0..;step, 0..;step]);
            input.pad([(before, after), (0, 0), (0, 0)], PadMode::Constant(0.0))
        }
        Op::Upsample { factor } => {
            let input = first(inputs);
            let [_, _, height, width] = input.dims();
            let options = InterpolateOptions::new(InterpolateMode::Nearest);
            interpolate(input, options.with_output_size([height * factor, width * factor]))
        }
        Op::LeakyRelu { slope } => leaky_relu(first(inputs), slope),
        Op::Tanh => first(inputs).tanh(),
        Op::Unflatten { channels, height, width } => {
            let input = first(inputs);
            let [batch, ..] = input.dims();
            input.reshape([batch, channels, height, width])
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use crate::{Network, NetworkBuilder, Op};

    fn network(op: Op, shape: [usize; 3], values: usize) -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        graph.op("op", &[0], op);
        graph.finish("one", shape, values)
    }

    fn images(values: &[f32], shape: [usize; 3]) -> Tensor<4> {
        let [channels, height, width] = shape;
        let count = values.len() / (channels * height * width);
        Tensor::from_data(TensorData::new(values.to_vec(), [count, channels, height, width]), &Device::flex())
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn upsampling_repeats_every_pixel_and_its_gradient_sums_them() {
        let (shape, factor) = ([2, 1, 2], 3);
        let network = network(Op::Upsample { factor }, shape, 36);
        let input = images(&[1.0, 2.0, -3.0, 4.0], shape).autodiff().require_grad();
        let output = network.forward(input.clone());
        let values = floats(output.clone().inner());
        for (place, value) in values.iter().enumerate() {
            let (channel, column) = (place / 18, place % 6 / 3);
            assert_eq!(*value, [1.0, 2.0, -3.0, 4.0][2 * channel + column], "{place}");
        }
        let weights: Vec<f32> = (0..36).map(|place| place as f32).collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [1, 36]), &Device::flex());
        let gradient = floats(input.grad(&(output * weights).sum().backward()).unwrap());
        let expected = |channel: usize, column: usize| -> f32 {
            let places = (0..3).flat_map(|row| (0..3).map(move |step| channel * 18 + row * 6 + column * 3 + step));
            places.map(|place| place as f32).sum()
        };
        assert_eq!(gradient, [expected(0, 0), expected(0, 1), expected(1, 0), expected(1, 1)]);
    }

    #[test]
    fn unflattening_undoes_flattening() {
        let shape = [2, 3, 2];
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        let flat = graph.op("flatten", &[0], Op::Flatten);
        let back = graph.op("unflatten", &[flat], Op::Unflatten { channels: 2, height: 3, width: 2 });
        graph.op("pool", &[back], Op::AvgPool { kernel: 2, stride: 1, padding: 0 });
        let network = graph.finish("round", shape, 4);
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let output = floats(network.forward(images(&values, shape)));
        let plane = |start: f32| [start + 1.5, start + 3.5];
        assert_eq!(output, [plane(0.0), plane(6.0), plane(12.0), plane(18.0)].concat());
    }

    #[test]
    fn the_activations_have_their_closed_form() {
        let input = images(&[-2.0, -0.5, 0.0, 3.0], [1, 2, 2]);
        let leaky = network(Op::LeakyRelu { slope: 0.2 }, [1, 2, 2], 4);
        for (value, expected) in floats(leaky.forward(input.clone())).iter().zip([-0.4, -0.1, 0.0, 3.0]) {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
        let tanh = network(Op::Tanh, [1, 2, 2], 4);
        for (value, input) in floats(tanh.forward(input)).iter().zip([-2.0f32, -0.5, 0.0, 3.0]) {
            assert!((value - input.tanh()).abs() < 1e-6, "{value} is not tanh {input}");
        }
        assert_eq!(tanh.node(1).layer.kind(), "tanh");
    }
}
