//! Minus, zero and plus a learned scale.

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

/// Table of [`LearnedTernary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedTernaryConfig {
    /// `t`: the threshold as a share of the mean magnitude.
    pub threshold: f64,
}

impl Default for LearnedTernaryConfig {
    fn default() -> Self {
        Self { threshold: 0.7 }
    }
}

/// Ternary weights with a learned scale.
///
/// ```text
/// D  = t * mean |w|,   w^ = a * sign(w) where |w| > D, else 0
/// dw^/dw = 1,   dw^/da = sign(w) where |w| > D, else 0
/// start: a = mean of |w| over |w| > D
/// ```
/// The threshold follows the weights, and is a constant to the gradient. For weights alone.
///
/// # Shapes
/// `scale`: one value a group.
///
/// # Range
/// `{-a, 0, a}` in 2 bits. `a` counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Li, Zhang and Liu, Ternary Weight Networks, 2016, equations 5 and 6; a scale that is learned: Zhu et al., Trained
/// Ternary Quantization, ICLR 2017.
///
/// # Differences from the source
/// The first computes `a` from the weights in every step. The second has a scale for each sign, and multiplies the
/// gradient of a weight beyond the threshold by it.
#[derive(Debug, Clone)]
pub struct LearnedTernary {
    config: LearnedTernaryConfig,
}

impl LearnedTernary {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a threshold that is not positive.
    pub fn new(config: LearnedTernaryConfig) -> Result<Self, ConfigError> {
        positive("threshold", config.threshold)?;
        Ok(Self { config })
    }

    /// `D` of a group, which keeps zero even where all weights are.
    fn threshold(&self, group: &GroupStatistics) -> f32 {
        ((self.config.threshold * f64::from(group.magnitude)) as f32).max(LEAST)
    }
}

impl LearnedQuantizer for LearnedTernary {
    fn widths(&self, role: Role) -> Option<RangeInclusive<u8>> {
        (role == Role::Weight).then_some(2..=2)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        vec![("scale", site.groups)]
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        weights: Option<&Samples>,
        _site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let scale = |(values, group): (&[f32], &GroupStatistics)| {
            let threshold = self.threshold(group);
            let beyond = values.iter().map(|w| w.abs()).filter(|magnitude| *magnitude > threshold);
            let (sum, count) = beyond.fold((0.0f64, 0.0), |(sum, count), w| (sum + f64::from(w), count + 1.0));
            ((sum / f64::max(count, 1.0)) as f32).max(LEAST)
        };
        Ok(vec![values_of(weights)?.iter().zip(statistics).map(scale).collect()])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        let levels = parameters[0].iter().copied().map(size).map(|scale| vec![-scale, 0.0, scale]).collect();
        let statistics = GroupStatistics::of(values_of(weights)?);
        let thresholds = statistics.iter().map(|group| self.threshold(group)).map(|d| vec![-d, d]).collect();
        let book = Codebook::new(levels, site.bits, site.axis)?.with_thresholds(thresholds)?;
        Ok(book.with_constants(site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let scale = size_of(site.spread(&parameters[0]));
        let sign = value.clone() / scale.clone().inner();
        Ok(x + scale.autodiff() * sign)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "ternary",
    summary: "weights: minus, zero and plus a learned scale, by a threshold on the mean magnitude",
    source: "Li, Zhang and Liu, Ternary Weight Networks, 2016; Zhu et al., Trained Ternary Quantization, ICLR 2017",
    defaults: defaults_of::<LearnedTernaryConfig>,
    build: |table| Ok(Box::new(LearnedTernary::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_mean_beyond_the_threshold() {
        let ternary = LearnedTernary::new(LearnedTernaryConfig::default()).unwrap();
        let weights = Samples::new(vec![1.0, -3.0, 0.5, -0.1, 0.0, 0.0, 0.0, 0.0], 2).unwrap();
        let statistics = GroupStatistics::of(&weights);
        let site = LearnedSite { role: Role::Weight, bits: 2, axis: Some(0), groups: 2, signed: true };
        let start = ternary.start(&statistics, Some(&weights), &site).unwrap();
        assert_eq!(start, [vec![2.0f32, LEAST]]);
        let codec = ternary.codec(&start, Some(&weights), &site).unwrap();
        let values = codec.fake_quantize_values(weights.values(), [2, 4, 1, 1]).unwrap();
        assert_eq!(values, [2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn weights_alone_are_ternary() {
        let ternary = LearnedTernary::new(LearnedTernaryConfig::default()).unwrap();
        assert!(ternary.widths(Role::Activation).is_none());
        assert!(LearnedTernary::new(LearnedTernaryConfig { threshold: -1.0 }).is_err());
    }
}
