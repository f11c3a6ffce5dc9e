//! A learned step and a learned offset.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::size::size;
use super::steps::{self, Placed, gradient_scale, placed};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, positive};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// Table of [`LsqPlus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LsqPlusConfig {
    /// `k` of the weights' start.
    pub sigmas: f64,
    /// Whether the gradients of step and offset are multiplied by `g`.
    pub gradient_scale: bool,
}

impl Default for LsqPlusConfig {
    fn default() -> Self {
        Self { sigmas: 3.0, gradient_scale: true }
    }
}

/// Learned step size with a learned offset for activations.
///
/// ```text
/// weights:      as lsq,  start: s = max(|mu - k sigma|, |mu + k sigma|) / 2^(b-1)
/// activations:  v = (x - beta) / s,   x^ = beta + s * clamp(round(v), 0, Qp),   Qp = 2^b - 1
///   dx^/dx    = 1 where 0 <= v <= Qp, else 0
///   dx^/ds    = g * (round(v) - v) there, else 0 or g * Qp
///   dx^/dbeta = 0 there, else g
///   start:      s = (max - min) / Qp,   beta = min
/// g = 1 / sqrt(N * Qp),   N: values that share the step, of one image for activations
/// ```
///
/// # Shapes
/// `step`, for activations `offset`: one value a group each.
///
/// # Range
/// `[beta, beta + Qp * s]`. A step counts by its magnitude, at least `1e-8`; zero need not be a level.
///
/// # Source
/// Bhalgat et al., LSQ+: Improving Low-bit Quantization through Learnable Offsets and Better Initialization, CVPR
/// Workshops 2020, section 3.
///
/// # Differences from the source
/// The start of the activations is from the smallest and largest value of the calibration; the paper fits it to the
/// squared error on a few batches, from there. The offset's gradient is scaled as the step's, as in the code of QDrop.
#[derive(Debug, Clone)]
pub struct LsqPlus {
    config: LsqPlusConfig,
}

impl LsqPlus {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a number of deviations that is not positive.
    pub fn new(config: LsqPlusConfig) -> Result<Self, ConfigError> {
        positive("sigmas", config.sigmas)?;
        Ok(Self { config })
    }
}

impl LearnedQuantizer for LsqPlus {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        match site.role {
            Role::Weight => vec![("step", site.groups)],
            Role::Activation => vec![("step", site.groups), ("offset", site.groups)],
        }
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let half = (f64::from(site.steps()) + 1.0) / 2.0;
        Ok(match site.role {
            Role::Weight => {
                let step = |group: &GroupStatistics| {
                    let (mean, reach) = (f64::from(group.mean), self.config.sigmas * f64::from(group.deviation));
                    ((mean - reach).abs().max((mean + reach).abs()) / half) as f32
                };
                vec![statistics.iter().map(step).collect()]
            }
            Role::Activation => {
                let step = |group: &GroupStatistics| (group.max - group.min) / site.steps();
                vec![statistics.iter().map(step).collect(), statistics.iter().map(|group| group.min).collect()]
            }
        })
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        if site.role == Role::Weight {
            return steps::codec(parameters[0].iter().copied(), site);
        }
        let levels = |(&step, &offset): (&f32, &f32)| {
            let (step, offset) = (f64::from(size(step)), f64::from(offset));
            (0..=site.steps() as usize).map(|code| (offset + step * code as f64) as f32).collect()
        };
        let tables: Vec<Vec<f32>> = parameters[0].iter().zip(&parameters[1]).map(levels).collect();
        Ok(Codebook::new(tables, site.bits, site.axis)?.with_constants(2 * site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        _value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let codes = match site.role {
            Role::Weight => *site,
            Role::Activation => LearnedSite { signed: false, ..*site },
        };
        let scale = if self.config.gradient_scale { gradient_scale(&codes, x.dims()) } else { 1.0 };
        let offset = parameters.get(1).map(|offset| site.spread(offset));
        let plain = match &offset {
            Some(offset) => x.clone().inner() - offset.clone().inner(),
            None => x.clone().inner(),
        };
        let Placed { step, inside, slope } = placed(plain, &parameters[0], &codes);
        let carrier = x * inside.clone() + step.autodiff().mul_scalar(scale) * slope;
        Ok(match offset {
            Some(offset) => carrier + offset.autodiff().mul_scalar(scale) * (inside.ones_like() - inside),
            None => carrier,
        })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "lsq-plus",
    summary: "uniform levels with a learned step and, for activations, a learned offset",
    source: "Bhalgat et al., LSQ+, CVPR Workshops 2020",
    defaults: defaults_of::<LsqPlusConfig>,
    build: |table| Ok(Box::new(LsqPlus::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_papers() {
        let plus = LsqPlus::new(LsqPlusConfig::default()).unwrap();
        let samples = Samples::new(vec![-1.0, 0.5, 2.0, 4.5], 1).unwrap();
        let statistics = GroupStatistics::of(&samples);
        let (mean, sigma) = (1.5f64, ((6.25 + 1.0 + 0.25 + 9.0) / 3.0f64).sqrt());
        let site = LearnedSite { role: Role::Weight, bits: 3, axis: None, groups: 1, signed: true };
        let start = plus.start(&statistics, Some(&samples), &site).unwrap();
        assert_eq!(start.len(), 1);
        assert!((f64::from(start[0][0]) - (mean + 3.0 * sigma) / 4.0).abs() < 1e-6);
        let site = LearnedSite { role: Role::Activation, ..site };
        assert_eq!(plus.start(&statistics, None, &site).unwrap(), [vec![5.5f32 / 7.0], vec![-1.0]]);
    }

    #[test]
    fn the_levels_begin_at_the_offset() {
        let plus = LsqPlus::new(LsqPlusConfig::default()).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 2, axis: None, groups: 1, signed: true };
        let codec = plus.codec(&[vec![0.5], vec![-0.75]], None, &site).unwrap();
        let values = codec.fake_quantize_values(&[-9.0, -0.51, -0.49, 0.3, 9.0], [1, 5, 1, 1]).unwrap();
        assert_eq!(values, [-0.75, -0.75, -0.25, 0.25, 0.75]);
    }
}
