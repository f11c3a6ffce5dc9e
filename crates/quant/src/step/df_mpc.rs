//! Errors of one layer's weights made up for in the next layer.

use std::collections::BTreeMap;

use blindfold_zoo::{BatchNorm2d, ConfigError, Entry, Layer, Network, NodeId, Op, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, Stage};
use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::samples::{Samples, host_values};

/// Table of [`DfMpc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DfMpcConfig {
    /// Weight of the mismatch of the shifts after the batch norm.
    pub lambda1: f64,
    /// Weight of the coefficients' own squares.
    pub lambda2: f64,
    /// Whether the batch norm between the layers gets the statistics of the quantized weights.
    pub recompute_statistics: bool,
}

impl Default for DfMpcConfig {
    fn default() -> Self {
        Self { lambda1: 0.5, lambda2: 0.0, recompute_statistics: true }
    }
}

/// Each input channel of a layer multiplied by the coefficient that makes up best for the quantization of the layer before it.
///
/// Pairs: a layer whose output passes a batch norm or none, a ReLU or none, and nothing else on its way to its only reader, the
/// second layer (a convolution without groups, or linear), which has at least as many bits. No layer is the second of one pair
/// and the first of another.
///
/// ```text
/// first layer, output channel j:   float  g (w * x) + t             g = gamma / sigma,   t = beta - g m
///                              quantized  g^ (w^ * x) + t^          g^ = gamma / sigma^, t^ = beta - g^ m^
/// m, sigma: mean (without the layer's bias) and deviation that the batch norm has for w * x
/// recomputed:  m^ = m <w^, w> / |w|^2,   sigma^ = sigma |w^| / |w|          (else m^ = m, sigma^ = sigma)
/// without batch norm:  g = g^ = 1,  t = t^ = the layer's bias, or 0
///
/// c_j = argmin_{c >= 0}  |c g^ w^ - g w|^2 + lambda1 (c t^ - t)^2 + lambda2 c^2
///     = max(0, (g^ g <w^, w> + lambda1 t^ t) / (g^^2 |w^|^2 + lambda1 t^^2 + lambda2))
/// second layer:  w2[:, j] <- c_j w2[:, j],  then quantized again
/// ```
/// A ReLU passes factors that are not negative, so that `c_j` on the second layer's input is `c_j` on the first one's output.
/// Channels for which the quotient is 0/0, and channels without weights, keep `c_j = 1` and their statistics.
///
/// # Range
/// `c_j >= 0`; with both lambdas 0 it is the cosine between `w^` and `w` with recomputed statistics, and
/// `<w^, w> / |w^|^2` without.
///
/// # Source
/// Chen et al., Data-Free Quantization via Mixed-Precision Compensation without Fine-Tuning, 2023 (arXiv 2307.00498):
/// recalled, not read. That goes for the objective, for the recomputed statistics, and for the defaults of both lambdas.
///
/// # Differences from the source
/// The first layer has the plan's format, the source has ternary weights. Statistics are recomputed from the direction and the
/// length of the weights, which is exact where `w^ = a w` and, for the deviation, where inputs are uncorrelated and equally
/// spread. Folded batch norms (protocol `brecq`) have left no statistics behind, so that nothing is recomputed. ReLU6, pooling
/// and several readers between the layers make no pair.
///
/// # Errors
/// [`QuantError::Config`] for a network without pairs; [`QuantError::OtherNetwork`] for a teacher of another graph.
#[derive(Debug, Clone)]
pub struct DfMpc {
    config: DfMpcConfig,
}

/// Two layers and the batch norm between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    first: NodeId,
    norm: Option<NodeId>,
    second: NodeId,
}

/// What a channel of the first layer goes through on its way to the second one, in the teacher.
#[derive(Debug, Clone, Copy)]
struct Between {
    gamma: f64,
    beta: f64,
    mean: f64,
    deviation: f64,
}

/// What is done about the quantization of one channel: its coefficient, and what the mean and the deviation are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Compensation {
    coefficient: f64,
    mean: f64,
    deviation: f64,
}

impl DfMpc {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a lambda that is negative or not finite.
    pub fn new(config: DfMpcConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("lambda1", config.lambda1), ("lambda2", config.lambda2)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(ConfigError::invalid(key, value, "write a number that is not negative, such as 0.5"));
            }
        }
        Ok(Self { config })
    }

    /// The solution for one channel; `between` is none without a batch norm, and `bias` then the layer's.
    fn compensate(&self, weights: &[f32], quantized: &[f32], between: Option<Between>, bias: f64) -> Compensation {
        const NONE: Compensation = Compensation { coefficient: 1.0, mean: 1.0, deviation: 1.0 };
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (cross, length, length_q) =
            (product(quantized, weights), product(weights, weights), product(quantized, quantized));
        let recomputes = self.config.recompute_statistics && between.is_some();
        if length == 0.0 || recomputes && length_q == 0.0 {
            return NONE;
        }
        let (mean, deviation) = if recomputes { (cross / length, (length_q / length).sqrt()) } else { (1.0, 1.0) };
        let (gain, gain_q, shift, shift_q) = match between {
            Some(Between { gamma, beta, mean: m, deviation: sigma }) => {
                let (gain, gain_q) = (gamma / sigma, gamma / (sigma * deviation));
                (gain, gain_q, beta - gain * m, beta - gain_q * m * mean)
            }
            None => (1.0, 1.0, bias, bias),
        };
        let DfMpcConfig { lambda1, lambda2, .. } = self.config;
        let quotient = (gain_q * gain * cross + lambda1 * shift_q * shift)
            / (gain_q * gain_q * length_q + lambda1 * shift_q * shift_q + lambda2);
        if !quotient.is_finite() {
            return NONE;
        }
        Compensation { coefficient: quotient.max(0.0), mean, deviation }
    }

    /// The compensation of every channel of the first layer of a pair.
    fn channels(&self, pair: Pair, teacher: &Network, first: &LayerWeight) -> Result<Vec<Compensation>, QuantError> {
        let node = teacher.node(pair.first);
        let (weights, quantized) = (node.layer.weight().map(host_values).unwrap_or_default(), first.quantized()?);
        if weights.len() != quantized.len() {
            return Err(QuantError::Groups { expected: quantized.len(), found: weights.len() });
        }
        let channels = first.shape[0];
        let bias = bias_of(&node.layer).unwrap_or_else(|| vec![0.0; channels]);
        let norm = pair.norm.and_then(|id| match &teacher.node(id).layer {
            Layer::BatchNorm2d(norm) => Some(Statistics::of(norm)),
            _ => None,
        });
        let length = (weights.len() / channels.max(1)).max(1);
        let rows = weights.chunks(length).zip(quantized.chunks(length)).zip(&bias).enumerate();
        Ok(rows
            .map(|(channel, ((weights, quantized), bias))| {
                let between = norm.as_ref().map(|norm| norm.between(channel, *bias));
                self.compensate(weights, quantized, between, *bias)
            })
            .collect())
    }
}

/// A batch norm's parameters on the host.
struct Statistics {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    epsilon: f64,
}

impl Statistics {
    fn of(norm: &BatchNorm2d) -> Self {
        Self {
            gamma: host(norm.gamma.val()),
            beta: host(norm.beta.val()),
            mean: host(norm.running_mean.val()),
            variance: host(norm.running_var.val()),
            epsilon: norm.epsilon,
        }
    }

    fn between(&self, channel: usize, bias: f64) -> Between {
        Between {
            gamma: f64::from(self.gamma[channel]),
            beta: f64::from(self.beta[channel]),
            mean: f64::from(self.mean[channel]) - bias,
            deviation: (f64::from(self.variance[channel]) + self.epsilon).sqrt(),
        }
    }

    /// Running mean and variance for the quantized weights.
    fn recomputed(&self, bias: &[f64], channels: &[Compensation]) -> (Vec<f32>, Vec<f32>) {
        let each = channels.iter().zip(bias).enumerate();
        each.map(|(channel, (change, bias))| {
            let Between { mean, deviation, .. } = self.between(channel, *bias);
            let variance = (deviation * change.deviation).powi(2) - self.epsilon;
            ((mean * change.mean + bias) as f32, variance.max(0.0) as f32)
        })
        .unzip()
    }
}

fn host(values: Tensor<1>) -> Vec<f32> {
    values.inner().into_data().iter::<f32>().collect()
}

fn bias_of(layer: &Layer) -> Option<Vec<f64>> {
    let bias = match layer {
        Layer::Conv2d(conv) => conv.bias.as_ref(),
        Layer::Linear(linear) => linear.bias.as_ref(),
        _ => None,
    };
    bias.map(|bias| host(bias.val()).into_iter().map(f64::from).collect())
}

/// The pairs of a network, in its order, each layer in the first one that it fits into.
fn pairs(network: &Network, fits: impl Fn(&Pair) -> bool) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for first in (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight()) {
        if pairs.iter().all(|pair| pair.second != first) {
            pairs.extend(pair_from(network, first).filter(|pair| fits(pair)));
        }
    }
    pairs
}

fn pair_from(network: &Network, first: NodeId) -> Option<Pair> {
    let (mut id, mut norm, mut rectified) = (first, None, false);
    while let [reader] = network.consumers(id)[..] {
        match &network.node(reader).layer {
            Layer::BatchNorm2d(_) if norm.is_none() && !rectified => norm = Some(reader),
            Layer::Stateless(layer) if layer.op == Op::Relu => rectified = true,
            Layer::Conv2d(conv) if conv.groups == 1 => return Some(Pair { first, norm, second: reader }),
            Layer::Linear(_) => return Some(Pair { first, norm, second: reader }),
            _ => return None,
        }
        id = reader;
    }
    None
}

/// Weights `[out, in, height, width]` with each input channel multiplied by its coefficient.
fn scaled(values: &[f32], shape: [usize; 4], channels: &[Compensation]) -> Result<Vec<f32>, QuantError> {
    let [_, inputs, height, width] = shape;
    if inputs != channels.len() {
        return Err(QuantError::Groups { expected: inputs, found: channels.len() });
    }
    let kernel = height * width;
    let factor = |index: usize| channels[index / kernel % inputs].coefficient;
    Ok(values.iter().enumerate().map(|(index, &w)| (f64::from(w) * factor(index)) as f32).collect())
}

/// The student with the second layer's weights scaled, and quantized again where the plan quantizes them.
fn compensated(
    mut student: QuantizedNetwork,
    second: NodeId,
    quantized: Option<&LayerWeight>,
    channels: &[Compensation],
) -> Result<QuantizedNetwork, QuantError> {
    if let Some(layer) = quantized {
        let values = scaled(&layer.values, layer.shape, channels)?;
        let groups = layer.axis.map_or(1, |axis| layer.view[axis]);
        let codec = layer.target.codec(&Samples::new(values.clone(), groups)?, layer.bits, layer.axis)?;
        return student.with_layer_weight(&layer.name, values, codec);
    }
    let node = student.network.node(second);
    let name = node.name.clone();
    let Some(weight) = node.layer.weight() else { return Ok(student) };
    let (shape, device) = (weight.dims(), weight.device());
    let values = scaled(&host_values(weight), shape, channels)?;
    let mut scaled = Some(Tensor::from_data(TensorData::new(values, shape), &device));
    student.network = student.network.map_layers(|node, layer| match (node == name).then(|| scaled.take()).flatten() {
        Some(weight) => layer.with_weight(weight),
        None => layer,
    });
    Ok(student)
}

/// The network with other running statistics in one batch norm.
fn with_statistics(network: Network, name: &str, mean: &[f32], variance: &[f32]) -> Network {
    network.map_layers(|node, layer| match layer {
        Layer::BatchNorm2d(mut norm) if node == name => {
            let replace = |values: &[f32], old: Tensor<1>| {
                Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &old.device())
            };
            norm.running_mean = norm.running_mean.map(|old| replace(mean, old));
            norm.running_var = norm.running_var.map(|old| replace(variance, old));
            Layer::BatchNorm2d(norm)
        }
        layer => layer,
    })
}

impl FittingStep for DfMpc {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { teacher, progress, .. } = request;
        let names = |network: &Network| network.nodes().iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        if names(teacher) != names(&student.network) {
            let missing = names(&student.network).into_iter().filter(|name| teacher.find(name).is_none()).collect();
            return Err(QuantError::OtherNetwork { network: teacher.name().to_owned(), missing });
        }
        let layers = student.weight_tensors()?;
        let layers: BTreeMap<&str, &LayerWeight> = layers.iter().map(|layer| (layer.name.as_str(), layer)).collect();
        let layer = |id: NodeId| layers.get(teacher.node(id).name.as_str()).copied();
        let fits = |pair: &Pair| {
            let bits = |id: NodeId| layer(id).map_or(u8::MAX, |layer| layer.bits);
            layer(pair.first).is_some() && bits(pair.first) <= bits(pair.second)
        };
        let pairs: Vec<Pair> = pairs(teacher, fits);
        if pairs.is_empty() {
            let found = format!("`{}` without a pair of layers", teacher.name());
            let fix = "the step needs a quantized layer with one reader, over batch norm and ReLU alone, of as many bits \
                       or more: leave it out";
            return Err(ConfigError::invalid("df-mpc", found, fix).into());
        }
        let mut student = student;
        for (index, pair) in pairs.iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let Some(first) = layer(pair.first) else { continue };
            let channels = self.channels(*pair, teacher, first).map_err(|error| error.at(&first.name))?;
            if let (Some(id), true) = (pair.norm, self.config.recompute_statistics) {
                let node = teacher.node(id);
                if let Layer::BatchNorm2d(norm) = &node.layer {
                    let bias = bias_of(&teacher.node(pair.first).layer).unwrap_or_else(|| vec![0.0; channels.len()]);
                    let (mean, variance) = Statistics::of(norm).recomputed(&bias, &channels);
                    student.network = with_statistics(student.network, &node.name, &mean, &variance);
                }
            }
            let second = teacher.node(pair.second).name.as_str();
            student =
                compensated(student, pair.second, layer(pair.second), &channels).map_err(|error| error.at(second))?;
            let mean = channels.iter().map(|channel| channel.coefficient).sum::<f64>() / channels.len().max(1) as f64;
            progress.unit(index + 1, pairs.len(), &[("df-mpc/coefficient".to_owned(), mean)]);
        }
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "df-mpc",
    summary: "input channels scaled to make up for the quantization of the layer before; closed form, no images",
    source: "Chen et al., Data-Free Quantization via Mixed-Precision Compensation without Fine-Tuning, 2023 (recalled, not read)",
    defaults: defaults_of::<DfMpcConfig>,
    build: |table| Ok(Box::new(DfMpc::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests;
