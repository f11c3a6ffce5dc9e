//! Weights squashed by the hyperbolic tangent; activations clipped at a constant.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::size::LEAST;
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, positive, steps, unsigned, values_of};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// Table of [`Dorefa`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DorefaConfig {
    /// Weights come back multiplied by `c`, so that those of a trained network keep their size; false: in `[-1, 1]`.
    pub restore: bool,
    /// Where activations are clipped.
    pub clip: f64,
}

impl Default for DorefaConfig {
    fn default() -> Self {
        Self { restore: true, clip: 1.0 }
    }
}

/// Weights normalised by the hyperbolic tangent, activations in `[0, 1]`; nothing but the weights is learned.
///
/// ```text
/// weights:      v = tanh(w) / c,   c = max |tanh(w)|,   w^ = r * (2 * round(n * (v + 1) / 2) / n - 1),   n = 2^b - 1
///               r = c, a constant to the gradient; 1 without `restore`
///   dw^/dw:       that of r * v, through c as well
/// activations:  x^ = round(clip(x, 0, a) * n / a) * a / n,   a = clip
///   dx^/dx    = 1 where 0 <= x <= a, else 0
/// ```
///
/// # Shapes
/// No parameters.
///
/// # Range
/// Weights `[-r, r]`, zero not among the levels; activations `[0, a]`.
///
/// # Source
/// Zhou et al., DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low Bitwidth Gradients, 2016,
/// equations 9 and 10.
///
/// # Differences from the source
/// Gradients are not quantized. `restore` is ours: the paper trains from the beginning, with batch norms that make good
/// for the size, where here a trained network goes on. The maximum is that of a group, in the paper of the layer. One
/// bit, which the paper treats apart, is `binary`.
#[derive(Debug, Clone)]
pub struct Dorefa {
    config: DorefaConfig,
}

impl Dorefa {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a clip that is not positive.
    pub fn new(config: DorefaConfig) -> Result<Self, ConfigError> {
        positive("clip", config.clip)?;
        Ok(Self { config })
    }

    /// Thresholds and levels of one group.
    fn stairs(&self, weights: &[f32], steps: usize) -> (Vec<f32>, Vec<f32>) {
        let largest = weights.iter().map(|&w| f64::from(w).tanh().abs()).fold(f64::from(LEAST), f64::max);
        let scale = if self.config.restore { largest } else { 1.0 };
        let place = |code: f64| 2.0 * code / steps as f64 - 1.0;
        let thresholds = (0..steps).map(|code| (largest * place(code as f64 + 0.5)).atanh() as f32).collect();
        let levels = (0..=steps).map(|code| (scale * place(code as f64)) as f32).collect();
        (thresholds, levels)
    }
}

impl LearnedQuantizer for Dorefa {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, _site: &LearnedSite) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn start(
        &self,
        _statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        if site.role == Role::Activation {
            unsigned(site, "dorefa")?;
        }
        Ok(Vec::new())
    }

    fn codec(
        &self,
        _parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        if site.role == Role::Activation {
            let step = self.config.clip as f32 / site.steps();
            return steps::codec(std::iter::repeat_n(step, site.groups), site);
        }
        let stairs = values_of(weights)?.iter().map(|values| self.stairs(values, site.steps() as usize));
        let (thresholds, levels): (Vec<_>, Vec<_>) = stairs.unzip();
        let book = Codebook::new(levels, site.bits, site.axis)?.with_thresholds(thresholds)?;
        Ok(book.with_constants(site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        _value: &Tensor<4>,
        _parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        if site.role == Role::Activation {
            let plain = x.clone().inner();
            let clipped = plain.clone().clamp(0.0, self.config.clip);
            return Ok(x * clipped.equal(plain).float());
        }
        let squashed = x.tanh();
        let length = squashed.dims().iter().product::<usize>() / site.groups;
        let magnitudes = squashed.clone().abs().reshape([site.groups, length]);
        let largest = site.spread(&magnitudes.max_dim(1).reshape([site.groups])).clamp_min(LEAST);
        let scale = if self.config.restore { largest.clone().inner() } else { largest.clone().inner().ones_like() };
        Ok(squashed / largest * scale)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "dorefa",
    summary: "weights normalised by the hyperbolic tangent, activations in [0, 1]",
    source: "Zhou et al., DoReFa-Net, 2016, equations 9 and 10",
    defaults: defaults_of::<DorefaConfig>,
    build: |table| Ok(Box::new(Dorefa::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_equidistant_and_span_the_largest_weight() {
        let weights = Samples::new(vec![0.5, -2.0, 0.1, 1.0], 1).unwrap();
        let site = LearnedSite { role: Role::Weight, bits: 2, axis: None, groups: 1, signed: true };
        for (restore, scale) in [(true, 2f64.tanh()), (false, 1.0)] {
            let dorefa = Dorefa::new(DorefaConfig { restore, ..Default::default() }).unwrap();
            let codec = dorefa.codec(&[], Some(&weights), &site).unwrap();
            let values = codec.fake_quantize_values(weights.values(), [1, 4, 1, 1]).unwrap();
            let expected = [1.0 / 3.0, -1.0, 1.0 / 3.0, 1.0].map(|level| (level * scale) as f32);
            for (found, expected) in values.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{values:?}");
            }
        }
    }
}
