//! Learned bounds, and a gradient scaled element by element.

use std::f64::consts::PI;
use std::ops::RangeInclusive;

use blindfold_zoo::ops::{can_scale_gradients, scale_gradient, substitute};
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::size::{size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, not_negative, positive};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::precision::MAX_BITS;
use crate::samples::Samples;

/// Table of [`Ewgs`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EwgsConfig {
    /// `delta` of the gradient; 0: straight through.
    pub delta: f64,
    /// `k` of the start.
    pub sigmas: f64,
}

impl Default for EwgsConfig {
    fn default() -> Self {
        Self { delta: 1e-3, sigmas: 3.0 }
    }
}

/// Learned bounds with element-wise gradient scaling.
///
/// ```text
/// x_n     = clip((x - l) / (u - l), 0, 1),   x_q = round(n * x_n) / n,   n = 2^b - 1
/// x^      = a * (2 * x_q - 1) where values may be negative, as weights,   a * x_q elsewhere
/// dL/dx_n = g * (1 + delta * sign(g) * (x_n - x_q)),   g = dL/dx_q
/// ```
/// All other gradients, those of `l`, `u` and `a` too, are what these formulas give. The start, `sigma` being the
/// standard deviation, `m` the mean:
///
/// ```text
/// negative values:  u = min(k sqrt(sigma^2 + m^2), max |x|),       l = -u,   a = u
/// elsewhere:        u = min(k sigma / sqrt(1 - 2 / pi), max x),    l = 0,    a = u
/// ```
///
/// # Shapes
/// `lower`, `upper`, `scale`: one value a group each.
///
/// # Range
/// `[-a, a]`, elsewhere `[0, a]`. `u - l` and `a` count by their magnitudes, at least `1e-8`.
///
/// # Source
/// Lee, Kim, Ham: Network Quantization with Element-wise Gradient Scaling, CVPR 2021, section 3; the starts as in the
/// authors' code.
///
/// # Differences from the source
/// `delta` stays as the key says; the source also computes it anew every ten epochs from the trace of the Hessian of each
/// layer (Hutchinson), as `Tr(H) / N` over three deviations of `g`. The scale of a layer's output is here one scale for
/// the weights and one for the activations, so that a trained network starts where it is; in the source it starts at the
/// ratio of mean outputs. For the same reason the bounds at the start reach no further than the values, and those of weights
/// count from 0: a single channel, unlike a layer, has a mean. The source has `l = min x` for activations, which is 0 behind
/// a ReLU. The gradient exists on the flex device alone.
///
/// The authors train `l`, `u` and `a` with Adam, at a hundredth of the weights' rate. Their gradients are sums over all values
/// of a group, for activations of a batch: plain gradient descent at the rate that fits a step of `lsq`, whose gradient is
/// scaled down, throws them far off at once.
#[derive(Debug, Clone)]
pub struct Ewgs {
    config: EwgsConfig,
}

impl Ewgs {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a negative `delta` and for a number of deviations that is not positive.
    pub fn new(config: EwgsConfig) -> Result<Self, ConfigError> {
        not_negative("delta", config.delta)?;
        positive("sigmas", config.sigmas)?;
        Ok(Self { config })
    }
}

impl LearnedQuantizer for Ewgs {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(1..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        ["lower", "upper", "scale"].map(|name| (name, site.groups)).to_vec()
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let start = |group: &GroupStatistics| {
            let [min, max, mean, deviation] = [group.min, group.max, group.mean, group.deviation].map(f64::from);
            if site.signed {
                let reach = (self.config.sigmas * mean.hypot(deviation)).min(min.abs().max(max.abs()));
                return [-reach, reach, reach];
            }
            let upper = (self.config.sigmas * deviation / (1.0 - 2.0 / PI).sqrt()).min(max);
            [0.0, upper, upper]
        };
        let starts: Vec<[f64; 3]> = statistics.iter().map(start).collect();
        Ok((0..3).map(|place| starts.iter().map(|start| start[place] as f32).collect()).collect())
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        let steps = site.steps() as usize;
        let (mut thresholds, mut levels) = (Vec::with_capacity(site.groups), Vec::with_capacity(site.groups));
        for ((&lower, &upper), &scale) in parameters[0].iter().zip(&parameters[1]).zip(&parameters[2]) {
            let (start, width, scale) = (f64::from(lower), f64::from(size(upper - lower)), f64::from(size(scale)));
            let place = |code: f64| code / steps as f64;
            let level = |code: usize| {
                let place = place(code as f64);
                (scale * if site.signed { 2.0 * place - 1.0 } else { place }) as f32
            };
            thresholds.push((0..steps).map(|code| (start + width * place(code as f64 + 0.5)) as f32).collect());
            levels.push((0..=steps).map(level).collect());
        }
        let book = Codebook::new(levels, site.bits, site.axis)?.with_thresholds(thresholds)?;
        Ok(book.with_constants(3 * site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        _value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let steps = f64::from(site.steps());
        let lower = site.spread(&parameters[0]).autodiff();
        let width = size_of(site.spread(&parameters[1]).autodiff() - lower.clone());
        let scale = size_of(site.spread(&parameters[2]).autodiff());
        let normalised = ((x - lower) / width).clamp(0.0, 1.0);
        let plain = normalised.clone().inner();
        let rounded = plain.clone().mul_scalar(steps).round().div_scalar(steps);
        let scaled = scale_gradient(normalised, plain - rounded.clone(), self.config.delta);
        let quantized = substitute(scaled, rounded);
        let centred = if site.signed { quantized.mul_scalar(2.0).sub_scalar(1.0) } else { quantized };
        Ok(centred * scale)
    }

    fn check_device(&self, device: &Device) -> Result<(), ConfigError> {
        if self.config.delta == 0.0 || can_scale_gradients(device) {
            return Ok(());
        }
        let fix = "the scaled gradient exists on the flex device alone: write delta = 0, or run with --device flex";
        Err(ConfigError::invalid("delta", self.config.delta, fix))
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "ewgs",
    summary: "learned bounds; gradients scaled by how far a value is from its level",
    source: "Lee, Kim, Ham: Network Quantization with Element-wise Gradient Scaling, CVPR 2021",
    defaults: defaults_of::<EwgsConfig>,
    build: |table| Ok(Box::new(Ewgs::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_that_of_the_formulas() {
        let ewgs = Ewgs::new(EwgsConfig::default()).unwrap();
        let site = LearnedSite { role: Role::Weight, bits: 3, axis: None, groups: 1, signed: true };
        let start = |min: f32, max: f32, site: &LearnedSite| {
            let statistics = GroupStatistics { min, max, mean: 1.0, magnitude: 1.0, deviation: 0.5 };
            ewgs.start(&[statistics], None, site).unwrap().concat()
        };
        let near = |found: Vec<f32>, [lower, upper, scale]: [f64; 3]| {
            let distances = found.iter().zip([lower, upper, scale]).map(|(found, end)| (f64::from(*found) - end).abs());
            assert!(found.len() == 3 && distances.fold(0.0, f64::max) < 1e-6, "{found:?}");
        };
        let reach = 3.0 * 1.25f64.sqrt();
        near(start(0.25, 9.0, &site), [-reach, reach, reach]);
        near(start(-2.5, 1.5, &site), [-2.5, 2.5, 2.5]);
        let site = LearnedSite { role: Role::Activation, signed: false, ..site };
        let upper = 1.5 / (1.0 - std::f64::consts::FRAC_2_PI).sqrt();
        near(start(0.25, 9.0, &site), [0.0, upper, upper]);
        near(start(0.25, 2.0, &site), [0.0, 2.0, 2.0]);
    }

    #[test]
    fn bounds_decide_and_the_scale_gives_the_levels() {
        let ewgs = Ewgs::new(EwgsConfig::default()).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 1, axis: None, groups: 1, signed: false };
        let parameters = [vec![0.5], vec![1.5], vec![4.0]];
        let values = [-1.0, 0.99, 1.01, 3.0];
        let codec = ewgs.codec(&parameters, None, &site).unwrap();
        assert_eq!(codec.fake_quantize_values(&values, [1, 4, 1, 1]).unwrap(), [0.0, 0.0, 4.0, 4.0]);
        let codec = ewgs.codec(&parameters, None, &LearnedSite { signed: true, ..site }).unwrap();
        assert_eq!(codec.fake_quantize_values(&values, [1, 4, 1, 1]).unwrap(), [-4.0, -4.0, 4.0, 4.0]);
    }
}
