//! A learned step.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::steps::{self, Placed, gradient_scale, placed};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, positive};
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// Table of [`Lsq`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LsqConfig {
    /// `c` of the start.
    pub start: f64,
    /// Whether the step's gradient is multiplied by `g`.
    pub gradient_scale: bool,
}

impl Default for LsqConfig {
    fn default() -> Self {
        Self { start: 2.0, gradient_scale: true }
    }
}

/// Learned step size.
///
/// ```text
/// x^      = s * clamp(round(x / s), Qn, Qp)
/// dx^/dx  = 1 where Qn <= x / s <= Qp, else 0
/// dx^/ds  = g * (round(x / s) - x / s) there, else g * Qn or g * Qp
/// g       = 1 / sqrt(N * Qp),   N: values that share the step, of one image for activations
/// start:    s = c * mean |x| / sqrt(Qp)
/// Qn, Qp  = -2^(b-1), 2^(b-1) - 1,   unsigned 0, 2^b - 1
/// ```
/// Codes are unsigned at activations where calibration saw no negative value.
///
/// # Shapes
/// `step`: one value a group.
///
/// # Range
/// `[Qn * s, Qp * s]`. A step counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Esser et al., Learned Step Size Quantization, ICLR 2020, equations 1 to 3, sections 2.1 and 2.2.
///
/// # Differences from the source
/// With a step for each channel, `N` counts the values of one; the paper has one step a tensor.
#[derive(Debug, Clone)]
pub struct Lsq {
    config: LsqConfig,
}

impl Lsq {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a start that is not positive.
    pub fn new(config: LsqConfig) -> Result<Self, ConfigError> {
        positive("start", config.start)?;
        Ok(Self { config })
    }
}

impl LearnedQuantizer for Lsq {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        vec![("step", site.groups)]
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let (_, high) = site.codes();
        let factor = self.config.start / f64::from(high).sqrt();
        Ok(vec![statistics.iter().map(|group| (factor * f64::from(group.magnitude)) as f32).collect()])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        steps::codec(parameters[0].iter().copied(), site)
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        _value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let scale = if self.config.gradient_scale { gradient_scale(site, x.dims()) } else { 1.0 };
        let Placed { step, inside, slope } = placed(x.clone().inner(), &parameters[0], site);
        Ok(x * inside + step.autodiff().mul_scalar(scale) * slope)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "lsq",
    summary: "uniform integers with a learned step",
    source: "Esser et al., Learned Step Size Quantization, ICLR 2020",
    defaults: defaults_of::<LsqConfig>,
    build: |table| Ok(Box::new(Lsq::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_papers() {
        let lsq = Lsq::new(LsqConfig::default()).unwrap();
        let samples = Samples::new(vec![1.0, -3.0, 2.0, 0.5, 0.0, -0.5], 2).unwrap();
        let statistics = GroupStatistics::of(&samples);
        for (bits, signed, high) in [(4, true, 7.0f64), (4, false, 15.0), (2, true, 1.0)] {
            let site = LearnedSite { role: Role::Weight, bits, axis: Some(0), groups: 2, signed };
            let start = lsq.start(&statistics, Some(&samples), &site).unwrap();
            for (found, mean) in start[0].iter().zip([2.0, 1.0 / 3.0]) {
                assert!((f64::from(*found) - 2.0 * mean / high.sqrt()).abs() < 1e-6, "{bits} {signed}: {found}");
            }
        }
    }

    #[test]
    fn the_gradient_scale_counts_what_shares_a_step() {
        let site = LearnedSite { role: Role::Activation, bits: 3, axis: None, groups: 1, signed: false };
        assert!((gradient_scale(&site, [16, 4, 3, 2]) - 1.0 / (24.0f64 * 7.0).sqrt()).abs() < 1e-12);
        let site = LearnedSite { role: Role::Weight, bits: 3, axis: Some(0), groups: 16, signed: true };
        assert!((gradient_scale(&site, [16, 4, 3, 2]) - 1.0 / (24.0f64 * 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_step_that_is_no_number_is_refused() {
        let lsq = Lsq::new(LsqConfig::default()).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 3, axis: None, groups: 1, signed: false };
        assert!(matches!(lsq.codec(&[vec![f32::NAN]], None, &site), Err(QuantError::Grid(_))));
        assert!(Lsq::new(LsqConfig { start: 0.0, ..Default::default() }).is_err());
    }
}
