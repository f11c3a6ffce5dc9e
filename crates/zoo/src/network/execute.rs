//! Running the nodes in order.

use std::ops::Range;

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Int, Tensor, TensorData, s};

use super::Network;
use super::layer::{Layer, Op};
use super::node::NodeId;
use super::tap::{Site, Tap};
use crate::ops::{channel_affine, conv2d};

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
    }
}
