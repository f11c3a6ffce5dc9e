//! The sign.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::size::{LEAST, size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, positive, values_of};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::samples::Samples;

/// The gradient of a binary weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryGradient {
    /// `1 / N + m` where `|w| <= c`, else `1 / N`: that of XNOR-Net's paper.
    Xnor,
    /// 1 where `|w| <= c`, else 0: that of the usual codes, which let the magnitude out.
    Clip,
}

/// Table of [`LearnedBinary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedBinaryConfig {
    /// `c`: beyond it the sign has no gradient.
    pub clip: f64,
    /// The gradient of weights.
    pub gradient: BinaryGradient,
}

impl Default for LearnedBinaryConfig {
    fn default() -> Self {
        Self { clip: 1.0, gradient: BinaryGradient::Xnor }
    }
}

/// The sign times a magnitude.
///
/// ```text
/// weights:      w^ = m * sign(w),   m = mean |w| of the N values of a group
///   dw^/dw    = 1 / N + m where |w| <= c, else 1 / N;   `gradient = "clip"`: 1 where |w| <= c, else 0
/// activations:  x^ = a * sign(x)
///   dx^/dx    = a where |x| <= c, else 0
///   dx^/da    = sign(x)
///   start: a = mean |x|
/// ```
/// Zero has the sign minus, as in the number format `binary`.
///
/// # Shapes
/// Activations: `scale`, one value a group. Weights have no parameters.
///
/// # Range
/// `{-m, m}` and `{-a, a}`. `a` counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Rastegari et al., XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks, ECCV 2016, section 3;
/// the clip of 1: Hubara et al., Binarized Neural Networks, NeurIPS 2016.
///
/// # Differences from the source
/// The magnitude of activations is learned, where the paper computes it anew for every position: a network in training
/// goes on from a trained one, and its levels are constants when it is frozen.
#[derive(Debug, Clone)]
pub struct LearnedBinary {
    config: LearnedBinaryConfig,
}

impl LearnedBinary {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a clip that is not positive.
    pub fn new(config: LearnedBinaryConfig) -> Result<Self, ConfigError> {
        positive("clip", config.clip)?;
        Ok(Self { config })
    }
}

fn magnitudes(weights: &Samples) -> Vec<f32> {
    GroupStatistics::of(weights).iter().map(|group| group.magnitude).collect()
}

impl LearnedQuantizer for LearnedBinary {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(1..=1)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        match site.role {
            Role::Weight => Vec::new(),
            Role::Activation => vec![("scale", site.groups)],
        }
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        Ok(match site.role {
            Role::Weight => Vec::new(),
            Role::Activation => vec![statistics.iter().map(|group| group.magnitude.max(LEAST)).collect()],
        })
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        let scales: Vec<f32> = match site.role {
            Role::Weight => magnitudes(values_of(weights)?),
            Role::Activation => parameters[0].iter().copied().map(size).collect(),
        };
        let tables = scales.into_iter().map(|scale| vec![-scale, scale]).collect();
        Ok(Codebook::new(tables, site.bits, site.axis)?.with_constants(site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let inside = x.clone().inner().abs().lower_equal_scalar(self.config.clip).float();
        if site.role == Role::Activation {
            let scale = size_of(site.spread(&parameters[0]));
            let sign = value.clone() / scale.clone().inner();
            return Ok(x * inside * scale.clone().inner() + scale.autodiff() * sign);
        }
        Ok(match self.config.gradient {
            BinaryGradient::Clip => x * inside,
            BinaryGradient::Xnor => {
                let magnitude = site.constants(magnitudes(values_of(weights)?), value);
                x * (inside * magnitude).add_scalar(1.0 / site.share(value.dims()) as f64)
            }
        })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "binary",
    summary: "the sign times the mean magnitude; activations the sign times a learned scale",
    source: "Rastegari et al., XNOR-Net, ECCV 2016",
    defaults: defaults_of::<LearnedBinaryConfig>,
    build: |table| Ok(Box::new(LearnedBinary::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_their_signs_times_the_mean_magnitude() {
        let binary = LearnedBinary::new(LearnedBinaryConfig::default()).unwrap();
        let weights = Samples::new(vec![1.0, -3.0, 0.5, 0.1], 2).unwrap();
        let site = LearnedSite { role: Role::Weight, bits: 1, axis: Some(0), groups: 2, signed: true };
        let codec = binary.codec(&[], Some(&weights), &site).unwrap();
        assert_eq!(codec.fake_quantize_values(weights.values(), [2, 2, 1, 1]).unwrap(), [2.0, -2.0, 0.3, 0.3]);
        let zeros = Samples::new(vec![0.0; 4], 2).unwrap();
        let codec = binary.codec(&[], Some(&zeros), &site).unwrap();
        assert_eq!(codec.fake_quantize_values(zeros.values(), [2, 2, 1, 1]).unwrap(), [0.0; 4]);
    }

    #[test]
    fn activations_start_at_their_mean_magnitude() {
        let binary = LearnedBinary::new(LearnedBinaryConfig::default()).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 1, axis: None, groups: 1, signed: false };
        let statistics = GroupStatistics::of(&Samples::new(vec![0.0, 1.0, 2.0], 1).unwrap());
        assert_eq!(binary.start(&statistics, None, &site).unwrap(), [vec![1.0f32]]);
        assert!(LearnedBinary::new(LearnedBinaryConfig { clip: 0.0, ..Default::default() }).is_err());
    }
}
