//! Ranges of weights by the error that they make in a layer's output.

use std::collections::BTreeMap;

use blindfold_zoo::ops::conv2d;
use blindfold_zoo::{ConfigError, Entry, Layer, Site, Tap, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::rescale::rescaled;
use super::{FitProgress, FitRequest, FittingStep, Stage};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::interval::Range;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::samples::{Samples, host_values};

/// Table of [`SeqMse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeqMseConfig {
    /// How many ranges are tried for each layer.
    pub candidates: usize,
    /// How many images are used, at most.
    pub images: usize,
}

impl Default for SeqMseConfig {
    fn default() -> Self {
        Self { candidates: 20, images: 64 }
    }
}

/// Layer after layer, the shrunk min-max range of the weights that changes the layer's output least.
///
/// ```text
/// k = 1 .. candidates:   range_k = (min w, max w) * k / candidates
/// argmin_k  sum_{images, positions} ((w - w^_k) * x^)^2
/// ```
/// `w^_k`: the weights on the grid that the layer's quantizer makes of `range_k`; `x^`: the layer's input in the network whose
/// earlier weights are quantized with the ranges chosen for them, activations in floating point. An output channel depends on
/// its own weights alone, so that each chooses for itself; with one range a tensor the layer chooses by the sum, and groups of a
/// row share the factor of their output channel. Of equal candidates the widest wins.
///
/// All of it happens in one forward pass: a layer's weights are chosen when its input has come. The memory is that of the pass
/// and of one more output.
///
/// # Range
/// The full range is among the candidates, so that the output error of no layer is above that of min-max on the same input.
///
/// # Source
/// Sequential MSE of AIMET (Qualcomm), with its 20 candidates, its output error without activation function, and the
/// quantized network's inputs on both sides.
///
/// # Differences from the source
/// Ranges are the quantizer's own, asymmetric ones included.
///
/// # Errors
/// [`QuantError::Config`] for a layer whose number format is not uniform integers, [`QuantError::NoImages`] without images.
#[derive(Debug, Clone)]
pub struct SeqMse {
    config: SeqMseConfig,
}

impl SeqMse {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for no candidates or no images.
    pub fn new(config: SeqMseConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("candidates", config.candidates), ("images", config.images)] {
            if value == 0 {
                return Err(ConfigError::invalid(key, value, "write at least 1"));
            }
        }
        Ok(Self { config })
    }
}

impl FittingStep for SeqMse {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { images, progress, .. } = request;
        let count = images.dims()[0].min(self.config.images);
        if count == 0 {
            return Err(QuantError::NoImages);
        }
        let layers = student.weight_tensors()?;
        let mut search = Search {
            candidates: self.config.candidates,
            total: layers.len(),
            layers: layers.into_iter().map(|layer| (layer.name.clone(), layer)).collect(),
            input: None,
            chosen: Vec::new(),
            progress,
            fault: None,
        };
        let images = images.clone().inner().narrow(0, 0, count);
        student.network.clone().frozen().run(images, &mut search);
        let Search { chosen, fault, .. } = search;
        if let Some(error) = fault {
            return Err(error);
        }
        chosen
            .into_iter()
            .try_fold(student, |student, (layer, codec)| student.with_layer_weight(&layer.name, layer.values, codec))
    }
}

/// Chooses the range of every weight as it passes.
struct Search<'a> {
    candidates: usize,
    total: usize,
    layers: BTreeMap<String, LayerWeight>,
    input: Option<Tensor<4>>,
    chosen: Vec<(LayerWeight, Codec)>,
    progress: &'a mut dyn FitProgress,
    fault: Option<QuantError>,
}

impl Search<'_> {
    /// The codec of a layer for an input, and what to log of it.
    fn choose(&self, site: Site<'_>, layer: &LayerWeight, input: Tensor<4>) -> Result<(Codec, [f64; 3]), QuantError> {
        if self.progress.cancelled() {
            return Err(QuantError::Cancelled);
        }
        if layer.target.format.is_some() {
            let fix = "ranges belong to uniform integers: leave `format` out there, or `seq-mse` out of the steps";
            return Err(ConfigError::invalid("format", "another number format", fix).into());
        }
        let groups = layer.axis.map_or(1, |axis| layer.view[axis]);
        let ranges: Vec<Range> =
            Samples::new(layer.values.clone(), groups)?.iter().map(Range::of).collect::<Result<_, _>>()?;
        let output = OutputError::new(&site.node.layer, layer, input);
        let factor = |index: usize| (self.candidates - index) as f32 / self.candidates as f32;
        let mut least: Vec<(f64, f32)> = Vec::new();
        let mut before = 0.0;
        for index in 0..self.candidates {
            let codec = rescaled(&layer.target, &ranges, layer.bits, layer.axis, |_| factor(index))?;
            let mut errors = output.by_channel(&codec.fake_quantize_values(&layer.values, layer.view)?);
            if groups == 1 {
                errors = vec![errors.iter().sum()];
            }
            if index == 0 {
                before = errors.iter().sum();
            }
            least.resize(errors.len(), (f64::INFINITY, 1.0));
            for (least, error) in least.iter_mut().zip(errors) {
                if error < least.0 {
                    *least = (error, factor(index));
                }
            }
        }
        let chosen = |group: usize| least[group * least.len() / groups].1;
        let codec = rescaled(&layer.target, &ranges, layer.bits, layer.axis, chosen)?;
        let mean = least.iter().map(|(_, factor)| f64::from(*factor)).sum::<f64>() / least.len().max(1) as f64;
        let after = least.iter().map(|(error, _)| error).sum();
        Ok((codec, [mean, before, after]))
    }

    /// The quantized weight, if the layer is to be quantized.
    fn quantize(&mut self, site: Site<'_>, weight: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let (Some(layer), Some(input)) = (self.layers.remove(&site.node.name), self.input.take()) else {
            return Ok(None);
        };
        let (codec, values) = self.choose(site, &layer, input)?;
        let quantized = codec.fake_quantize_values(&layer.values, layer.view)?;
        self.chosen.push((layer, codec));
        let names = ["factor", "before", "after"].map(|name| format!("seq-mse/{name}"));
        let values: Vec<(String, f64)> = names.into_iter().zip(values).collect();
        self.progress.unit(self.chosen.len(), self.total, &values);
        Ok(Some(Tensor::from_data(TensorData::new(quantized, weight.dims()), &weight.device())))
    }
}

impl Tap for Search<'_> {
    fn input(&mut self, site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        if self.fault.is_none() && self.layers.contains_key(&site.node.name) {
            self.input = Some(input.clone());
        }
        input
    }

    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        if self.fault.is_some() {
            return weight;
        }
        match self.quantize(site, &weight) {
            Ok(quantized) => quantized.unwrap_or(weight),
            Err(error) => {
                self.fault = Some(error.at(&site.node.name));
                weight
            }
        }
    }
}

/// The error of a layer's output for one input.
struct OutputError<'a> {
    layer: &'a LayerWeight,
    input: Tensor<4>,
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
}

impl<'a> OutputError<'a> {
    fn new(kind: &Layer, layer: &'a LayerWeight, input: Tensor<4>) -> Self {
        match kind {
            Layer::Conv2d(conv) => {
                Self { layer, input, stride: conv.stride, padding: conv.padding, groups: conv.groups }
            }
            _ => {
                let [batch, channels, height, width] = input.dims();
                let input = input.reshape([batch, channels * height * width, 1, 1]);
                Self { layer, input, stride: [1, 1], padding: [0, 0], groups: 1 }
            }
        }
    }

    /// The sum over images and positions of the squared error of each output channel.
    fn by_channel(&self, quantized: &[f32]) -> Vec<f64> {
        let difference: Vec<f32> = self.layer.values.iter().zip(quantized).map(|(w, q)| w - q).collect();
        let difference = Tensor::from_data(TensorData::new(difference, self.layer.shape), &self.input.device());
        let error = conv2d(self.input.clone(), difference, None, self.stride, self.padding, self.groups);
        let sums = (error.clone() * error).sum_dim(3).sum_dim(2).sum_dim(0);
        host_values(sums).into_iter().map(f64::from).collect()
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "seq-mse",
    summary: "layer after layer, the range of the weights that changes the layer's output least",
    source: "Sequential MSE of AIMET, Qualcomm Innovation Center",
    defaults: defaults_of::<SeqMseConfig>,
    build: |table| Ok(Box::new(SeqMse::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::{FeatureTap, Taps};

    use super::super::Silent;
    use super::*;
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::plan::{Plan, PluginChoice, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, plain, small};

    fn student(network: blindfold_zoo::Network, change: impl Fn(&mut QuantConfig)) -> QuantizedNetwork {
        let mut config = QuantConfig { weight_bits: Precision::Int(3), ..Default::default() };
        change(&mut config);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        QuantizedNetwork::with_weights(network, plan).unwrap()
    }

    fn fit(config: SeqMseConfig, student: &QuantizedNetwork, images: &Tensor<4>) -> QuantizedNetwork {
        let teacher = student.network.clone();
        let request = FitRequest { teacher: &teacher, images, seed: 1, progress: &mut Silent };
        SeqMse::new(config).unwrap().fit(request, student.clone()).unwrap()
    }

    /// Squared output errors of each output channel, by the definition: 3x3 convolutions of stride 1 and padding 1 over
    /// `x` of that shape, or matrix products where the kernel is 1x1.
    fn naive(layer: &LayerWeight, quantized: &[f32], x: &[f32], shape: [usize; 4]) -> Vec<f64> {
        let [batch, channels, height, width] = shape;
        let [out, _, kernel, _] = layer.shape;
        let pad = (kernel / 2) as isize;
        let pixel = |n: usize, c: usize, h: isize, w: isize| {
            let inside = (0..height as isize).contains(&h) && (0..width as isize).contains(&w);
            if inside { f64::from(x[((n * channels + c) * height + h as usize) * width + w as usize]) } else { 0.0 }
        };
        let mut errors = vec![0.0; out];
        for (o, error) in errors.iter_mut().enumerate() {
            for n in 0..batch {
                for h in 0..height as isize {
                    for w in 0..width as isize {
                        let mut sum = 0.0;
                        for c in 0..channels {
                            for u in 0..kernel {
                                for v in 0..kernel {
                                    let index = ((o * channels + c) * kernel + u) * kernel + v;
                                    let difference = f64::from(layer.values[index]) - f64::from(quantized[index]);
                                    sum += difference * pixel(n, c, h + u as isize - pad, w + v as isize - pad);
                                }
                            }
                        }
                        *error += sum * sum;
                    }
                }
            }
        }
        errors
    }

    /// Checks that no other candidate has a smaller error on the inputs that the fitted network itself gives.
    fn check(before: &QuantizedNetwork, after: &QuantizedNetwork, images: &Tensor<4>, candidates: usize) {
        let mut features = FeatureTap::new(["flatten".to_owned()]);
        let mut fake = after.tap();
        after.network.run(images.clone(), &mut Taps(vec![&mut fake, &mut features]));
        let layers = before.weight_tensors().unwrap();
        for (layer, fitted) in layers.iter().zip(after.weight_tensors().unwrap()) {
            let input = if layer.name == "first" { images.clone() } else { features.features["flatten"].clone() };
            let (shape, input) = (input.dims(), host_values(input));
            let groups = layer.axis.map_or(1, |axis| layer.view[axis]);
            let samples = Samples::new(layer.values.clone(), groups).unwrap();
            let ranges: Vec<Range> = samples.iter().map(|group| Range::of(group).unwrap()).collect();
            let found = naive(layer, &fitted.quantized().unwrap(), &input, shape);
            let mut best = vec![f64::INFINITY; found.len()];
            let mut best_sum = f64::INFINITY;
            for k in 1..=candidates {
                let factor = k as f32 / candidates as f32;
                let codec = rescaled(&layer.target, &ranges, layer.bits, layer.axis, |_| factor).unwrap();
                let quantized = codec.fake_quantize_values(&layer.values, layer.view).unwrap();
                let errors = naive(layer, &quantized, &input, shape);
                best_sum = best_sum.min(errors.iter().sum());
                best.iter_mut().zip(errors).for_each(|(best, error)| *best = best.min(error));
            }
            if groups == 1 {
                assert!(found.iter().sum::<f64>() <= best_sum * 1.0001, "{}", layer.name);
            } else {
                for (channel, (found, best)) in found.iter().zip(best).enumerate() {
                    assert!(*found <= best * 1.0001, "{} {channel}: {found} {best}", layer.name);
                }
            }
        }
    }

    #[test]
    fn no_other_candidate_has_a_smaller_output_error() {
        let settings: [fn(&mut QuantConfig); 4] = [
            |_| {},
            |config| config.protocol = Protocol::Brecq,
            |config| config.weight.granularity = Some(Granularity::PerTensor),
            |config| config.weight.granularity = Some(Granularity::PerGroup(9)),
        ];
        for change in settings {
            let before = student(plain(3), change);
            let images = images(&before.network, 6, 4);
            let after = fit(SeqMseConfig { candidates: 12, images: 6 }, &before, &images);
            check(&before, &after, &images, 12);
            assert_eq!(after.weights.len(), 2);
        }
    }

    #[test]
    fn images_beyond_the_limit_are_not_looked_at() {
        let before = student(plain(3), |_| {});
        let images = images(&before.network, 6, 4);
        let config = SeqMseConfig { candidates: 12, images: 2 };
        let limited = fit(config.clone(), &before, &images);
        let first = fit(config, &before, &images.narrow(0, 0, 2));
        assert_eq!(limited.weights, first.weights);
    }

    #[test]
    fn one_candidate_is_min_max_and_blocks_are_no_obstacle() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let before = student(small(1), |config| {
                config.protocol = protocol;
                config.weight.range = Some(PluginChoice::named("min-max"));
            });
            let images = images(&before.network, 2, 4);
            let after = fit(SeqMseConfig { candidates: 1, images: 2 }, &before, &images);
            assert_eq!(after.codes_of_weights().unwrap(), before.codes_of_weights().unwrap());
            let narrowed = fit(SeqMseConfig::default(), &before, &images);
            assert_ne!(narrowed.codes_of_weights().unwrap(), before.codes_of_weights().unwrap());
            assert_eq!(narrowed.weights.len(), 6);
        }
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [SeqMseConfig { candidates: 0, images: 1 }, SeqMseConfig { candidates: 1, images: 0 }] {
            assert!(SeqMse::new(config).unwrap_err().to_string().contains("write at least 1"));
        }
    }
}
