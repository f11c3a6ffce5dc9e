//! Outputs with the mean that they have in the teacher.

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Entry, Layer, Network, NodeId, Site, Tap, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, MeasuredWith, Stage};
use crate::channel_statistics::ChannelStatistics;
use crate::error::QuantError;
use crate::host_layer::HostLayer;
use crate::moments::known_moments;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::output_shift::shift_output;
use crate::pass::ChannelMoments;
use crate::samples::Samples;
use crate::sequential::{Sequential, first_images};

/// Table of [`BiasCorrection`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BiasCorrectionConfig {
    /// Where the mean errors come from.
    pub mode: CorrectionMode,
    /// What is quantized when the errors are measured; for `mode = "empirical"`.
    pub measured: MeasuredWith,
    /// Images that run together; for `mode = "empirical"`.
    pub batch: usize,
    /// So many images are looked at, the first ones; for `mode = "empirical"`.
    pub max_images: usize,
}

impl Default for BiasCorrectionConfig {
    fn default() -> Self {
        Self { mode: CorrectionMode::Empirical, measured: MeasuredWith::Weights, batch: 128, max_images: 1024 }
    }
}

/// Where the mean errors of a layer's outputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorrectionMode {
    /// Measured on images.
    Empirical,
    /// From the statistics of batch norms, for the quantization of the weights alone; looks at no image.
    Analytic,
}

/// Adds to each channel of each convolution and linear layer what quantization has taken from its mean, in the
/// network's order.
///
/// ```text
/// empirical   b_o += mean(y_o) - mean(y^_o)                       y, y^: the layer's output in teacher and student
/// analytic    b_o -= sum_i (sum_uv (W^ - W)[o, i, u, v]) E[x_i]   E[x]: as [`crate::channel_moments`] has it
/// ```
/// Means are over images and positions. In the empirical mode the layers before a layer are corrected when it is
/// measured, and its output is taken before it is quantized itself, so that afterwards, on these images, every layer
/// has the teacher's means. Measured with `weights` quantized, activations are calibrated afterwards, on what the corrected network
/// gives; measured with `activations` quantized as well, their ranges are those of the network before its correction, and stay: at
/// 2 bits, where means are far off, these ranges no longer fit. In the analytic mode `E[x]` is the teacher's for the same reason: once a layer is corrected
/// the next one sees the teacher's means. `W` are the teacher's weights, `W^` what the student's are quantized to, by
/// whatever steps came before.
///
/// A convolution without bias has its correction in the running mean of the batch norm behind it, `m -= c`; where none
/// follows directly, it gets a bias.
///
/// # Source
/// Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2
/// (analytic) and the appendix on empirical correction.
///
/// # Differences from the source
/// The empirical correction measures outputs before the batch norm and rectifier that follow. Zero padding,
/// which lowers `E[x]` at borders, is left out, as in the source. Errors are those against the network after the passes: what
/// `weight-clipping` shifts is not among them, where the source corrects that too.
///
/// # Errors
/// [`QuantError::Config`] for the analytic mode without any batch norm; [`QuantError::NoImages`] for the empirical mode
/// without images; [`QuantError::NotFinite`] with the layer's name where outputs diverge; [`QuantError::OtherNetwork`]
/// for a teacher without the layer.
#[derive(Debug, Clone)]
pub struct BiasCorrection {
    config: BiasCorrectionConfig,
}

impl BiasCorrection {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for no images.
    pub fn new(config: BiasCorrectionConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("batch", config.batch), ("max_images", config.max_images)] {
            if value == 0 {
                return Err(ConfigError::invalid(key, value, "write at least 1"));
            }
        }
        Ok(Self { config })
    }

    /// The student's network with the means measured on images.
    fn empirical(&self, request: FitRequest<'_>, student: &QuantizedNetwork) -> Result<Network, QuantError> {
        let FitRequest { teacher, images, progress, .. } = request;
        student.weight_tensors()?;
        let images = first_images(images, self.config.max_images)?;
        let wanted = output_means(teacher, &images, self.config.batch);
        let mut network = student.network.clone().frozen();
        let (total, mut done) = (weighted(&network).count(), 0);
        let mut tap = student.tap();
        let mut run = Sequential::new(&network, &images, self.config.batch);
        for id in 0..network.nodes().len() {
            if !network.node(id).layer.has_weight() {
                run.advance(&network, &mut tap);
                continue;
            }
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let name = network.node(id).name.clone();
            let found = run.preview(&network, &mut BeforeOutput(&mut tap));
            let wanted = wanted.get(&name).ok_or_else(|| missing(teacher, &name))?;
            let error = mean_errors(teacher, &network, id, wanted.mean(), found.mean());
            let error = error.map_err(|error| error.at(&name))?;
            network = shift_output(network, id, &error);
            run.advance(&network, &mut tap);
            done += 1;
            progress.unit(done, total, &[("bias-correction/mean_error".to_owned(), root_mean_square(&error))]);
        }
        Ok(network)
    }

    /// The student's network with the means that batch norms lead to expect.
    fn analytic(&self, request: FitRequest<'_>, student: &QuantizedNetwork) -> Result<Network, QuantError> {
        let FitRequest { teacher, progress, .. } = request;
        let moments = known_moments("bias-correction", teacher, &student.moments)?;
        let layers = student.weight_tensors()?;
        let mut network = student.network.clone().frozen();
        for (index, layer) in layers.iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let shift = expected_error(teacher, layer, &moments).map_err(|error| error.at(&layer.name))?;
            let id = network.find(&layer.name).ok_or_else(|| missing(&network, &layer.name))?;
            let moved = running_of_norms(teacher, &network, id);
            let correction: Vec<f32> = match moved.filter(|[before, _]| before.mean.len() == shift.len()) {
                Some([before, now]) => {
                    let moved = now.mean.iter().zip(&before.mean).map(|(now, before)| (now - before) as f32);
                    moved.zip(&shift).map(|(moved, shift)| moved - shift).collect()
                }
                None => shift.iter().map(|shift| -shift).collect(),
            };
            network = shift_output(network, id, &correction);
            let size = root_mean_square(&correction);
            progress.unit(index + 1, layers.len(), &[("bias-correction/mean_error".to_owned(), size)]);
        }
        Ok(network)
    }
}

/// What a batch norm takes its input to be.
struct Running {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// Those of the batch norm that alone reads a layer, in the teacher and in the student: earlier steps may have moved them.
fn running_of_norms(teacher: &Network, student: &Network, id: NodeId) -> Option<[Running; 2]> {
    let [reader] = student.consumers(id)[..] else { return None };
    let running = |network: &Network| {
        let Layer::BatchNorm2d(norm) = &network.node(reader).layer else { return None };
        let host =
            |values: Tensor<1>| -> Vec<f64> { values.inner().into_data().iter::<f32>().map(f64::from).collect() };
        let deviation = host(norm.running_var.val()).into_iter().map(|var| (var + norm.epsilon).sqrt()).collect();
        Some(Running { mean: host(norm.running_mean.val()), deviation })
    };
    Some([running(teacher)?, running(student)?])
}

/// By how much the means of a layer's outputs, as the batch norm behind it sees them, fall short of the teacher's.
fn mean_errors(
    teacher: &Network,
    student: &Network,
    id: NodeId,
    wanted: &[f64],
    found: &[f64],
) -> Result<Vec<f32>, QuantError> {
    let norms = running_of_norms(teacher, student, id);
    let Some([before, now]) = norms.filter(|[norm, _]| norm.mean.len() == wanted.len() && wanted.len() == found.len())
    else {
        return differences(wanted, found);
    };
    let wanted: Vec<f64> = (0..wanted.len())
        .map(|c| now.mean[c] + now.deviation[c] / before.deviation[c] * (wanted[c] - before.mean[c]))
        .collect();
    differences(&wanted, found)
}

/// `sum_i (sum_uv (W^ - W)[o, i, u, v]) E[x_i]` of each output channel.
fn expected_error(
    teacher: &Network,
    layer: &LayerWeight,
    moments: &BTreeMap<String, ChannelMoments>,
) -> Result<Vec<f32>, QuantError> {
    let node = teacher.find(&layer.name).map(|id| teacher.node(id)).ok_or_else(|| missing(teacher, &layer.name))?;
    let float = HostLayer::of(node).ok_or_else(|| missing(teacher, &layer.name))?;
    let quantized = layer.quantized()?;
    if float.weight.len() != quantized.len() {
        return Err(QuantError::Groups { expected: quantized.len(), found: float.weight.len() });
    }
    let input = node.inputs.first().and_then(|&input| moments.get(&teacher.node(input).name));
    let means = input.map(|input| input.mean.as_slice()).unwrap_or_default();
    if means.is_empty() || !float.inputs().is_multiple_of(means.len()) {
        return Err(QuantError::Groups { expected: float.inputs(), found: means.len() });
    }
    let repeat = float.inputs() / means.len();
    let mut error = vec![0.0f64; float.outputs()];
    for place in 0..float.inputs() {
        let mean = f64::from(means[place / repeat]);
        for (output, weights) in float.readers(place) {
            let changes = quantized[weights.clone()].iter().zip(&float.weight[weights]);
            error[output] += mean * changes.map(|(new, old)| f64::from(*new) - old).sum::<f64>();
        }
    }
    finite(error)
}

/// Sees weights and inputs as another tap does, and leaves outputs as they are.
struct BeforeOutput<'a>(&'a mut dyn Tap);

impl Tap for BeforeOutput<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        self.0.weight(site, weight)
    }

    fn input(&mut self, site: Site<'_>, index: usize, input: Tensor<4>) -> Tensor<4> {
        self.0.input(site, index, input)
    }
}

/// Keeps the statistics of what weighted layers give.
#[derive(Default)]
struct OutputMeans(BTreeMap<String, ChannelStatistics>);

impl Tap for OutputMeans {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if site.node.layer.has_weight() {
            self.0.entry(site.node.name.clone()).or_default().see(&output);
        }
        output
    }
}

fn output_means(network: &Network, images: &Tensor<4>, batch: usize) -> BTreeMap<String, ChannelStatistics> {
    let mut means = OutputMeans::default();
    for part in images.clone().inner().split(batch, 0) {
        network.run(part, &mut means);
    }
    means.0
}

fn weighted(network: &Network) -> impl Iterator<Item = NodeId> {
    (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight())
}

fn missing(network: &Network, layer: &str) -> QuantError {
    QuantError::OtherNetwork { network: network.name().to_owned(), missing: vec![layer.to_owned()] }
}

/// `wanted - found`, channel by channel.
fn differences(wanted: &[f64], found: &[f64]) -> Result<Vec<f32>, QuantError> {
    if wanted.len() != found.len() {
        return Err(QuantError::Groups { expected: wanted.len(), found: found.len() });
    }
    finite(wanted.iter().zip(found).map(|(wanted, found)| wanted - found).collect())
}

fn finite(values: Vec<f64>) -> Result<Vec<f32>, QuantError> {
    Ok(Samples::new(values.into_iter().map(|value| value as f32).collect(), 1)?.into_values())
}

fn root_mean_square(values: &[f32]) -> f64 {
    let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    (squares / values.len().max(1) as f64).sqrt()
}

impl FittingStep for BiasCorrection {
    fn stage(&self) -> Stage {
        match (self.config.mode, self.config.measured) {
            (CorrectionMode::Empirical, MeasuredWith::Activations) => Stage::Network,
            (CorrectionMode::Empirical, MeasuredWith::Weights) | (CorrectionMode::Analytic, _) => Stage::Weights,
        }
    }

    fn needs_images(&self) -> bool {
        self.config.mode == CorrectionMode::Empirical
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let network = match self.config.mode {
            CorrectionMode::Empirical => self.empirical(request, &student)?,
            CorrectionMode::Analytic => self.analytic(request, &student)?,
        };
        Ok(student.with_network(network))
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "bias-correction",
    summary: "biases take back the shift of every layer's mean outputs, measured on images or from batch norms",
    source: "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2",
    defaults: defaults_of::<BiasCorrectionConfig>,
    build: |table| Ok(Box::new(BiasCorrection::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests;
