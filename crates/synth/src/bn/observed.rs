//! A teacher whose batch norms are watched, with the folded ones read through the convolution before them.

use std::ops::Range;

use blindfold_zoo::{BatchNorm2d, Layer, Network, NodeId, fold_batch_norms_where};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use super::statistics::{Sampling, Statistics, Target};
use super::tap::StatisticsTap;
use crate::error::SynthError;

/// Where a batch norm's scale is smaller than this share of the layer's largest scale (or of the channel's own shift), the
/// input cannot be recovered from the output without loss of precision, and the layer stays as it is.
const SMALLEST_SCALE: f64 = 1e-3;

/// A watched batch norm.
#[derive(Debug, Clone)]
pub struct ObservedLayer {
    /// Its name.
    pub name: String,
    /// Its channels among those of all layers.
    pub channels: Range<usize>,
    /// Whether the convolution before it computes its output.
    pub folded: bool,
    /// Where in [`ObservedNetwork::network`] its statistics are seen: that convolution's output, or its own input.
    pub node: NodeId,
}

/// A teacher in evaluation mode, ready to give the statistics of what its batch norms read.
///
/// A batch norm that alone reads a convolution is folded into it: the convolution then gives
/// `y = gamma (x - m) / s + beta` with `s = sqrt(v + e)` at once, which saves a pass over memory each way, and the
/// statistics of `x` follow from those of `y`:
///
/// ```text
/// mean_x = (mean_y - beta) s / gamma + m        var_x = var_y (s / gamma)^2
/// ```
#[derive(Debug)]
pub struct ObservedNetwork {
    network: Network,
    layers: Vec<ObservedLayer>,
    recovery: Option<Recovery>,
    target: Target,
}

/// `x = (y - shift) * scale + offset`, by channel of all layers; the identity where a layer is not folded.
#[derive(Debug)]
struct Recovery {
    shift: Tensor<2>,
    scale: Tensor<2>,
    square: Tensor<2>,
    offset: Tensor<2>,
}

impl ObservedNetwork {
    /// Watches all batch norms of a teacher; with `fold` the convolutions before them compute them where that loses nothing.
    ///
    /// # Errors
    /// [`SynthError::NoBatchNorm`] when there is none.
    pub fn new(teacher: &Network, fold: bool) -> Result<Self, SynthError> {
        let teacher = teacher.clone().frozen();
        let network = fold_batch_norms_where(teacher.clone(), |node| match &node.layer {
            Layer::BatchNorm2d(bn) => fold && Values::of(bn).recoverable(),
            _ => false,
        });
        let mut layers = Vec::new();
        let mut columns = Columns::default();
        for node in teacher.nodes() {
            let Layer::BatchNorm2d(bn) = &node.layer else { continue };
            let own = network.find(&node.name);
            let channels = columns.append(&Values::of(bn), own.is_none());
            let place = own.or_else(|| network.find(&teacher.node(node.inputs[0]).name));
            let place = place.expect("a batch norm that is gone was folded into the convolution it reads, which stays");
            layers.push(ObservedLayer { name: node.name.clone(), channels, folded: own.is_none(), node: place });
        }
        if layers.is_empty() {
            return Err(SynthError::NoBatchNorm { network: teacher.name().to_owned() });
        }
        let (target, recovery) = columns.tensors(&layers, &teacher.device());
        Ok(Self { network, layers, recovery, target })
    }

    /// The network that runs: the same function as the teacher.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The batch norms in the order in which they run.
    pub fn layers(&self) -> &[ObservedLayer] {
        &self.layers
    }

    /// What the statistics should be.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Logits and statistics of images `[image, channel, height, width]`; gradients flow to the images.
    pub fn run(&self, images: Tensor<4>, sampling: Sampling) -> (Tensor<2>, Statistics) {
        let mut tap = StatisticsTap::new(self, sampling);
        let logits = self.network.run(images, &mut tap);
        let statistics =
            tap.statistics().expect("the run above has passed every batch norm of the network that is watched");
        (logits, statistics)
    }

    /// From statistics of what was seen to those of the batch norms' inputs.
    pub(super) fn recover(&self, mean: Tensor<2>, var: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        match &self.recovery {
            Some(Recovery { shift, scale, square, offset }) => {
                let mean = (mean - shift.clone()) * scale.clone() + offset.clone();
                (mean, var * square.clone())
            }
            None => (mean, var),
        }
    }
}

/// A batch norm's parameters on the host.
struct Values {
    gamma: Vec<f64>,
    beta: Vec<f64>,
    mean: Vec<f64>,
    var: Vec<f64>,
    epsilon: f64,
}

impl Values {
    fn of(bn: &BatchNorm2d) -> Self {
        let read = |param: &Param<Tensor<1>>| param.val().into_data().iter::<f64>().collect();
        Self {
            gamma: read(&bn.gamma),
            beta: read(&bn.beta),
            mean: read(&bn.running_mean),
            var: read(&bn.running_var),
            epsilon: bn.epsilon,
        }
    }

    fn recoverable(&self) -> bool {
        let largest = self.gamma.iter().fold(0.0f64, |largest, gamma| largest.max(gamma.abs()));
        let fine = |(gamma, beta): (&f64, &f64)| gamma.abs() > SMALLEST_SCALE * largest.max(beta.abs());
        self.gamma.iter().zip(&self.beta).all(fine)
    }
}

/// The constants of all layers side by side.
#[derive(Default)]
struct Columns {
    mean: Vec<f32>,
    var: Vec<f32>,
    shift: Vec<f32>,
    scale: Vec<f64>,
    offset: Vec<f32>,
}

impl Columns {
    fn append(&mut self, values: &Values, folded: bool) -> Range<usize> {
        let start = self.mean.len();
        for channel in 0..values.gamma.len() {
            self.mean.push(values.mean[channel] as f32);
            self.var.push(values.var[channel] as f32);
            let std = (values.var[channel] + values.epsilon).sqrt();
            let [shift, scale, offset] = if folded {
                [values.beta[channel], std / values.gamma[channel], values.mean[channel]]
            } else {
                [0.0, 1.0, 0.0]
            };
            self.shift.push(shift as f32);
            self.scale.push(scale);
            self.offset.push(offset as f32);
        }
        start..self.mean.len()
    }

    fn tensors(self, layers: &[ObservedLayer], device: &Device) -> (Target, Option<Recovery>) {
        let row = |values: Vec<f32>| {
            let shape = [1, values.len()];
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        };
        let scale = |map: fn(f64) -> f64| row(self.scale.iter().map(|&scale| map(scale) as f32).collect());
        let recovery = layers.iter().any(|layer| layer.folded).then(|| Recovery {
            scale: scale(|scale| scale),
            square: scale(|scale| scale * scale),
            shift: row(self.shift),
            offset: row(self.offset),
        });
        let layers = layers.iter().map(|layer| layer.channels.clone()).collect();
        (Target { mean: row(self.mean), var: row(self.var), layers, exact: false }, recovery)
    }
}

#[cfg(test)]
mod tests;
