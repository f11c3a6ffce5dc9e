//! Two networks of one graph, layer by layer.

use blindfold_zoo::{BatchNorm2d, ConfigError, Conv2d, Layer, Linear, Network, NodeId, Op};
use burn::tensor::Tensor;

use super::interval::Maps;
use super::linear_map::{Geometry, LinearMap};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::samples::Samples;

/// What a node does in both networks.
#[derive(Debug)]
pub(super) enum Step {
    /// The images.
    Input,
    /// Anything linear, a batch norm and an average included; reads its input as one vector where it is fully
    /// connected.
    Linear {
        /// Both networks' weights.
        maps: Box<Maps>,
        /// Whether it reads a vector.
        flat: bool,
    },
    /// `min(max(x, low), high)`.
    Clamp(f64, f64),
    /// Sum of the inputs.
    Add,
    /// Joined channels.
    Concat,
    /// Maximum over windows: kernel, stride, padding.
    MaxPool([usize; 3]),
    /// As one vector.
    Flatten,
    /// Copies of channels.
    Select(Vec<usize>),
    /// Every `stride`-th pixel, zero channels before and after.
    Pad([usize; 3]),
}

/// A node of both networks.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The layer's kind.
    pub(super) kind: &'static str,
    /// The nodes that it reads.
    pub(super) inputs: &'a [NodeId],
    /// Its output: `[channel, height, width]`.
    pub(super) shape: [usize; 3],
    /// What it does.
    pub(super) step: Step,
    /// What the student's output is quantized with.
    pub(super) codec: Option<&'a Codec>,
    /// For a batch norm of the teacher, `[beta, |gamma|]` of each channel.
    pub(super) batch_norm: Option<[Vec<f64>; 2]>,
}

/// The nodes of a teacher and its student, both without gradients, in order.
///
/// # Errors
/// [`QuantError::OtherNetwork`] and [`QuantError::Bound`] for networks that are not of one graph; with the node's name
/// [`QuantError::Bound`] for a layer or a format of which nothing is known here, and [`QuantError::NotFinite`].
pub(super) fn stages<'a>(teacher: &'a Network, student: &'a QuantizedNetwork) -> Result<Vec<Stage<'a>>, QuantError> {
    same_graph(teacher, &student.network)?;
    let mut weights = student.weight_tensors()?;
    let mut stages: Vec<Stage<'a>> = Vec::with_capacity(teacher.nodes().len());
    for (id, node) in teacher.nodes().iter().enumerate() {
        let other = &student.network.node(id).layer;
        let quantized = weights.iter().position(|weight| weight.name == node.name).map(|at| weights.swap_remove(at));
        let inputs: Vec<[usize; 3]> = node.inputs.iter().map(|&input| stages[input].shape).collect();
        let stage = || -> Result<Stage<'a>, QuantError> {
            let quantized = quantized.map(|weight| weight.quantized()).transpose()?;
            let (step, shape) = match (&node.layer, other) {
                (Layer::Conv2d(own), Layer::Conv2d(other)) => {
                    let own = convolution(own, None)?;
                    let other = convolution(other, quantized)?;
                    linear(own, other, inputs[0], false)?
                }
                (Layer::Linear(own), Layer::Linear(other)) => {
                    let flat = [inputs[0].iter().product(), 1, 1];
                    linear(dense(own, None)?, dense(other, quantized)?, flat, true)?
                }
                (Layer::BatchNorm2d(own), Layer::BatchNorm2d(other)) => {
                    linear(normalization(own)?, normalization(other)?, inputs[0], false)?
                }
                (Layer::ChannelSelect(own), Layer::ChannelSelect(other)) if own.indices == other.indices => {
                    let [_, height, width] = inputs[0];
                    (Step::Select(own.indices.clone()), [own.indices.len(), height, width])
                }
                (Layer::Stateless(own), Layer::Stateless(other)) if own.op == other.op => {
                    stateless(own.op, &inputs, teacher.input_shape())?
                }
                (own, other) => return Err(different(own.kind(), other.kind())),
            };
            let batch_norm = match &node.layer {
                Layer::BatchNorm2d(bn) => {
                    let (beta, gamma) = (vector(bn.beta.val())?, vector(bn.gamma.val().abs())?);
                    Some([beta, gamma])
                }
                _ => None,
            };
            let codec = codec(student, &node.name)?;
            let (name, kind) = (node.name.as_str(), node.layer.kind());
            Ok(Stage { name, kind, inputs: &node.inputs, shape, step, codec, batch_norm })
        };
        let stage = stage().map_err(|error| error.at(&node.name))?;
        stages.push(stage);
    }
    Ok(stages)
}

fn same_graph(teacher: &Network, student: &Network) -> Result<(), QuantError> {
    let missing = |from: &Network, of: &Network| -> Vec<String> {
        of.nodes().iter().filter(|node| from.find(&node.name).is_none()).map(|node| node.name.clone()).collect()
    };
    for (from, of) in [(teacher, student), (student, teacher)] {
        let missing = missing(from, of);
        if !missing.is_empty() {
            return Err(QuantError::OtherNetwork { network: from.name().to_owned(), missing });
        }
    }
    let mut pairs = teacher.nodes().iter().zip(student.nodes());
    match pairs.find(|(own, other)| own.name != other.name || own.inputs != other.inputs) {
        Some((own, _)) => Err(different("the teacher's", "the student's").at(&own.name)),
        None => Ok(()),
    }
}

fn different(teacher: &str, student: &str) -> QuantError {
    QuantError::Bound(format!(
        "the teacher and the student are not of one graph (here {teacher} and {student}): give the teacher as the plan \
         prepares it"
    ))
}

/// The codec of the student's output there, if it has one.
fn codec<'a>(student: &'a QuantizedNetwork, name: &str) -> Result<Option<&'a Codec>, QuantError> {
    let codec = student.activations.get(name);
    let target = student.plan.activation(name).filter(|target| target.is_quantized());
    if codec.is_none() && student.is_calibrated() && target.is_some_and(|target| target.dynamic.is_some()) {
        let fix = "what has codes is not known then: leave it out, for a static range";
        return Err(ConfigError::invalid("activation.dynamic", "a range found while the network runs", fix).into());
    }
    Ok(codec)
}

fn linear(
    teacher: LinearMap,
    student: LinearMap,
    input: [usize; 3],
    flat: bool,
) -> Result<(Step, [usize; 3]), QuantError> {
    if teacher.geometry != student.geometry {
        return Err(different(&format!("{:?}", teacher.geometry), &format!("{:?}", student.geometry)));
    }
    let shape = teacher.geometry.output(input);
    Ok((Step::Linear { maps: Box::new(Maps::new(teacher, student)), flat }, shape))
}

fn stateless(op: Op, inputs: &[[usize; 3]], images: [usize; 3]) -> Result<(Step, [usize; 3]), QuantError> {
    if op == Op::Input {
        return Ok((Step::Input, images));
    }
    let Some(&[channels, height, width]) = inputs.first() else {
        return Err(QuantError::Bound("it has no input".to_owned()));
    };
    let shape = [channels, height, width];
    let average = |kernel: [usize; 2], stride: usize, padding: usize| {
        let map = LinearMap::average(channels, kernel, [stride; 2], [padding; 2]);
        linear(map.clone(), map, shape, false)
    };
    Ok(match op {
        Op::Relu => (Step::Clamp(0.0, f64::INFINITY), shape),
        Op::Relu6 => (Step::Clamp(0.0, 6.0), shape),
        Op::Add => (Step::Add, shape),
        Op::Concat => (Step::Concat, [inputs.iter().map(|input| input[0]).sum(), height, width]),
        Op::MaxPool { kernel, stride, padding } => {
            let geometry = Geometry {
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
                ..Geometry::channelwise(channels)
            };
            (Step::MaxPool([kernel, stride, padding]), geometry.output(shape))
        }
        Op::AvgPool { kernel, stride, padding } => average([kernel; 2], stride, padding)?,
        Op::GlobalAvgPool => average([height, width], 1, 0)?,
        Op::Flatten => (Step::Flatten, [channels * height * width, 1, 1]),
        Op::PadShortcut { stride, before, after } => {
            let shape = [before + channels + after, height.div_ceil(stride), width.div_ceil(stride)];
            (Step::Pad([stride, before, after]), shape)
        }
        other => {
            let reason = format!("how far a layer of kind `{}` carries an error is not known here", other.kind());
            return Err(QuantError::Bound(reason));
        }
    })
}

/// A convolution with its own weights, or with those that it computes with.
fn convolution(conv: &Conv2d, quantized: Option<Vec<f32>>) -> Result<LinearMap, QuantError> {
    let weight = conv.weight.val();
    let [out, group_in, height, width] = weight.dims();
    let geometry = Geometry {
        out,
        group_in,
        groups: conv.groups,
        kernel: [height, width],
        stride: conv.stride,
        padding: conv.padding,
    };
    let weight = match quantized {
        Some(values) => values.into_iter().map(f64::from).collect(),
        None => values(weight)?,
    };
    let bias = match &conv.bias {
        Some(bias) => vector(bias.val())?,
        None => vec![0.0; out],
    };
    Ok(LinearMap::new(geometry, weight, bias))
}

/// A fully connected layer with its own weights, or with those that it computes with.
fn dense(linear: &Linear, quantized: Option<Vec<f32>>) -> Result<LinearMap, QuantError> {
    let [out, features] = linear.weight.dims();
    let weight = match quantized {
        Some(values) => values.into_iter().map(f64::from).collect(),
        None => values(linear.weight.val().reshape([out, features, 1, 1]))?,
    };
    let bias = match &linear.bias {
        Some(bias) => vector(bias.val())?,
        None => vec![0.0; out],
    };
    Ok(LinearMap::new(Geometry::dense(out, features), weight, bias))
}

fn normalization(bn: &BatchNorm2d) -> Result<LinearMap, QuantError> {
    let (scale, shift) = bn.affine();
    let (scale, shift) = (vector(scale)?, vector(shift)?);
    Ok(LinearMap::new(Geometry::channelwise(scale.len()), scale, shift))
}

fn values(tensor: Tensor<4>) -> Result<Vec<f64>, QuantError> {
    Ok(Samples::of(tensor, None)?.values().iter().copied().map(f64::from).collect())
}

fn vector(tensor: Tensor<1>) -> Result<Vec<f64>, QuantError> {
    let [length] = tensor.dims();
    values(tensor.reshape([length, 1, 1, 1]))
}
