//! The tensors whose ranges are searched.

use std::collections::BTreeMap;

use blindfold_zoo::{Network, Site, Tap};
use burn::tensor::Tensor;

use super::LapqConfig;
use crate::error::QuantError;
use crate::interval::Range;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::plan::Target;
use crate::range::{Mse, MseConfig, RangeEstimator};
use crate::reservoir::Reservoir;
use crate::samples::Samples;
use crate::step::rescale::rescaled;

/// Ranges of the groups of every searched tensor.
pub(super) type Clips = Vec<Vec<Range>>;

/// The searched tensors, activations first, with a sample of their values in floating point.
pub(super) struct Tensors {
    tensors: Vec<Searched>,
    sites: usize,
}

struct Searched {
    target: Target,
    bits: u8,
    axis: Option<usize>,
    samples: Samples,
    is_weight: bool,
}

impl Tensors {
    /// All tensors of a student in uniform integers with static ranges, without the first and the last site and, where
    /// weights are searched, without the first and the last layer.
    pub(super) fn new(
        config: &LapqConfig,
        teacher: &Network,
        images: &Tensor<4>,
        student: &QuantizedNetwork,
    ) -> Result<Self, QuantError> {
        let quantized = student.plan.activations().filter(|target| target.is_quantized()).collect::<Vec<_>>();
        let sites = inner(&quantized).iter().filter(|target| {
            let codec = student.activations.get(&target.name);
            target.format.is_none() && codec.is_some_and(|codec| codec.uniform().is_some())
        });
        let mut watch = Watch {
            sites: sites.map(|target| (target.name.clone(), (*target).clone())).collect(),
            seen: BTreeMap::new(),
            max_samples: config.max_samples,
            fault: None,
        };
        let count = images.dims()[0];
        for first in (0..count).step_by(config.batch) {
            let batch = images.clone().narrow(0, first, config.batch.min(count - first));
            teacher.run(batch, &mut watch);
            if let Some(error) = watch.fault.take() {
                return Err(error);
            }
        }
        let mut tensors = Vec::new();
        for target in quantized {
            let (Some(seen), Some(bits)) = (watch.seen.remove(&target.name), target.precision.bits()) else { continue };
            let axis = target.granularity.activation_axis();
            let samples = samples(&seen).map_err(|error| error.at(&target.name))?;
            tensors.push(Searched { target: target.clone(), bits, axis, samples, is_weight: false });
        }
        let sites = tensors.len();
        if config.weights {
            let layers = student.weight_tensors()?;
            let uniform = |layer: &&LayerWeight| layer.target.format.is_none() && layer.codec.uniform().is_some();
            for layer in inner(&layers).iter().filter(uniform) {
                let groups = layer.axis.map_or(1, |axis| layer.view[axis]);
                let samples = Samples::new(layer.values.clone(), groups)?;
                let (target, bits, axis) = (layer.target.clone(), layer.bits, layer.axis);
                tensors.push(Searched { target, bits, axis, samples, is_weight: true });
            }
        }
        Ok(Self { tensors, sites })
    }

    /// How many of them there are.
    pub(super) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// How many of them are activations.
    pub(super) fn sites(&self) -> usize {
        self.sites
    }

    /// For each tensor the ranges with the smallest `mean |x - x^|^p`.
    pub(super) fn clips(&self, config: &LapqConfig, p: f64) -> Result<Clips, QuantError> {
        let (candidates, step) = (config.candidates, 1.0 / config.candidates as f64);
        let estimator = Mse::new(MseConfig { p, candidates, step, max_samples: usize::MAX })?;
        let ranges = |tensor: &Searched| {
            let mut observer = estimator.observer(tensor.target.quantizer.clone(), tensor.bits);
            observer.observe(&tensor.samples)?;
            observer.ranges()
        };
        let all = self.tensors.iter();
        all.map(|tensor| ranges(tensor).map_err(|error: QuantError| error.at(&tensor.target.name))).collect()
    }

    /// Gives a student these ranges, those of the first tensors times a factor.
    pub(super) fn apply(
        &self,
        student: &mut QuantizedNetwork,
        clips: &[Vec<Range>],
        factors: &[f64],
    ) -> Result<(), QuantError> {
        for (index, (tensor, ranges)) in self.tensors.iter().zip(clips).enumerate() {
            let Searched { target, bits, axis, is_weight, .. } = tensor;
            let factor = factors.get(index).copied().unwrap_or(1.0) as f32;
            let codec = rescaled(target, ranges, *bits, *axis, |_| factor).map_err(|error| error.at(&target.name))?;
            let codecs = if *is_weight { &mut student.weights } else { &mut student.activations };
            codecs.insert(target.name.clone(), codec);
        }
        Ok(())
    }
}

/// All but the first and the last.
fn inner<T>(all: &[T]) -> &[T] {
    all.get(1..all.len().saturating_sub(1)).unwrap_or_default()
}

/// Keeps the range and a sample of the outputs of sites.
struct Watch {
    sites: BTreeMap<String, Target>,
    seen: BTreeMap<String, Vec<Seen>>,
    max_samples: usize,
    fault: Option<QuantError>,
}

struct Seen {
    range: Range,
    sample: Reservoir,
}

impl Watch {
    fn see(&mut self, name: &str, output: &Tensor<4>) -> Result<(), QuantError> {
        let Some(target) = self.sites.get(name) else { return Ok(()) };
        let samples = Samples::of(output.clone(), target.granularity.activation_axis())?;
        let groups = self.seen.entry(name.to_owned()).or_default();
        for (index, values) in samples.iter().enumerate() {
            let range = Range::of(values)?;
            if index == groups.len() {
                groups.push(Seen { range, sample: Reservoir::new(self.max_samples) });
            }
            let group = &mut groups[index];
            group.range = group.range.union(range)?;
            group.sample.extend(values);
        }
        Ok(())
    }
}

impl Tap for Watch {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.fault.is_none()
            && let Err(error) = self.see(&site.node.name, &output)
        {
            self.fault = Some(error.at(&site.node.name));
        }
        output
    }
}

/// The samples of all groups, with the smallest and the largest value of each.
fn samples(seen: &[Seen]) -> Result<Samples, QuantError> {
    let group = |seen: &Seen| [seen.sample.values(), &[seen.range.min(), seen.range.max()]].concat();
    Samples::new(seen.iter().flat_map(group).collect(), seen.len())
}
