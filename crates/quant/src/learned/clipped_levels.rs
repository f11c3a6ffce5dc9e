//! A fixed set of levels with a learned clip.

use std::ops::RangeInclusive;

use blindfold_zoo::ConfigError;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::size::{LEAST, size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, not_negative, positive, values_of};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// Table of the learned quantizers `apot` and `power-of-two`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClippedLevelsConfig {
    /// Whether levels are those of weights normalised to `(w - mu) / sigma`.
    pub normalize: bool,
    /// `alpha` of weights at the start, in standard deviations.
    pub weight_alpha: f64,
    /// `alpha` of activations at the start; 0: the largest magnitude of the calibration.
    pub activation_alpha: f64,
    /// `d` of the penalty on `alpha` of activations.
    pub activation_decay: f64,
}

impl Default for ClippedLevelsConfig {
    fn default() -> Self {
        Self { normalize: true, weight_alpha: 3.0, activation_alpha: 8.0, activation_decay: 1e-4 }
    }
}

/// A fixed set of levels `u`, the largest of them 1, scaled by a learned clip.
///
/// ```text
/// weights:      w' = (w - mu) / sigma,   v = w' / alpha,   w^ = mu + sigma * alpha * q(v),   q(v) in { -u, u }
///   dw^/dw     = 1 where |v| <= 1, else 0
///   dw^/dalpha = sigma * (q(v) - v) there, else sigma * sign(v)
///   mu, sigma: mean and deviation of the group, constants to the gradient; 0 and 1 without `normalize`
/// activations:  v = x / alpha,   x^ = alpha * q(v),   q(v) in u;  where values may be negative, in { -u, u }
///   dx^/dx     = 1 where v is in [0, 1] or [-1, 1], else 0
///   dx^/dalpha = q(v) - v there, else the end of it that v lies beyond
///   added to the loss: d / 2 * alpha^2
/// ```
/// `q` takes the nearest level.
#[derive(Debug, Clone)]
pub struct ClippedLevels {
    config: ClippedLevelsConfig,
    units: fn(u8) -> Vec<f64>,
}

impl ClippedLevels {
    /// The quantizer of a checked table; `units(b)`: the magnitudes from 0 to 1 that `b` bits have, one of them a sign.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for numbers outside their range.
    pub fn new(config: ClippedLevelsConfig, units: fn(u8) -> Vec<f64>) -> Result<Self, ConfigError> {
        positive("weight_alpha", config.weight_alpha)?;
        not_negative("activation_alpha", config.activation_alpha)?;
        not_negative("activation_decay", config.activation_decay)?;
        Ok(Self { config, units })
    }

    /// `mu` and `sigma` of each group.
    fn frames(&self, weights: Option<&Samples>, site: &LearnedSite) -> Result<Vec<(f32, f32)>, QuantError> {
        if site.role == Role::Activation || !self.config.normalize {
            return Ok(vec![(0.0, 1.0); site.groups]);
        }
        let statistics = GroupStatistics::of(values_of(weights)?);
        Ok(statistics.iter().map(|group| (group.mean, group.deviation.max(LEAST))).collect())
    }

    /// All levels for `alpha = 1`.
    fn levels(&self, site: &LearnedSite) -> Vec<f64> {
        if !site.signed {
            return (self.units)(site.bits + 1);
        }
        (self.units)(site.bits).into_iter().flat_map(|unit| [-unit, unit]).collect()
    }
}

impl LearnedQuantizer for ClippedLevels {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        vec![("alpha", site.groups)]
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let ClippedLevelsConfig { normalize, weight_alpha, activation_alpha, .. } = self.config;
        let start = |group: &GroupStatistics| match site.role {
            Role::Weight if normalize => weight_alpha as f32,
            Role::Weight => (weight_alpha * f64::from(group.deviation)) as f32,
            Role::Activation if activation_alpha > 0.0 => activation_alpha as f32,
            Role::Activation => group.max.abs().max(group.min.abs()),
        };
        Ok(vec![statistics.iter().map(start).collect()])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        let levels = self.levels(site);
        let frames = self.frames(weights, site)?;
        let table = |(&alpha, &(mean, deviation)): (&f32, &(f32, f32))| -> Vec<f32> {
            let (mean, scale) = (f64::from(mean), f64::from(size(alpha)) * f64::from(deviation));
            let level = |unit: &f64| {
                let level = (mean + scale * unit) as f32;
                if level.abs() < f32::MIN_POSITIVE { 0.0 } else { level }
            };
            levels.iter().map(level).collect()
        };
        let tables: Vec<Vec<f32>> = parameters[0].iter().zip(&frames).map(table).collect();
        let constants = if site.role == Role::Weight && self.config.normalize { 2 } else { 1 };
        Ok(Codebook::new(tables, site.bits, site.axis)?.with_constants(constants * site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let (means, deviations) = self.frames(weights, site)?.into_iter().unzip();
        let (mean, deviation) = (site.constants(means, value), site.constants(deviations, value));
        let alpha = size_of(site.spread(&parameters[0]));
        let reach = alpha.clone().inner() * deviation.clone();
        let place = (x.clone().inner() - mean.clone()) / reach.clone();
        let quantized = (value.clone() - mean) / reach;
        let clipped = place.clone().clamp(if site.signed { -1.0 } else { 0.0 }, 1.0);
        let inside = clipped.equal(place.clone()).float();
        // Outside, the level is the end itself.
        let slope = (quantized - place * inside.clone()) * deviation;
        Ok(x * inside + alpha.autodiff() * slope)
    }

    fn decay(&self, _parameter: &str, site: &LearnedSite) -> f64 {
        if site.role == Role::Activation { self.config.activation_decay } else { 0.0 }
    }
}
