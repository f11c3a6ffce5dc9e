//! The affine quantizer of ZeroQ and the GDFQ family.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Quantizer, smallest};
use crate::affine::{Affine, Arithmetic};
use crate::error::QuantError;
use crate::interval::Range;
use crate::precision::checked_bits;

/// Table of [`ZeroqAffine`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroqAffineConfig {
    /// The width that a narrower range is taken to have.
    pub min_range: f64,
}

impl Default for ZeroqAffineConfig {
    fn default() -> Self {
        Self { min_range: 1e-8 }
    }
}

/// Asymmetric codes with signed storage, the scale in codes per unit.
///
/// ```text
/// n  = 2^k - 1
/// S  = n / max(max - min, 1e-8)
/// Z  = round(S * min) + 2^(k-1)
/// q  = clamp(round(S * x - Z), -2^(k-1), 2^(k-1) - 1)
/// x^ = (q + Z) / S
/// ```
/// All in `f32`, halves rounded to even; `S` is `n * (1 / ...)` with two roundings, which is how PyTorch divides a number by
/// a tensor, and so how the published numbers came about. Rounding `Z` shifts the grid by up to half a step against the range, so that one
/// end of it may be clipped by half a step: kept, because the published numbers have it.
///
/// # Range
/// A range of one point `c` gives a grid on which `c` keeps its value (to `f32` accuracy).
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020; the same in GDFQ, Qimera, AIT, IntraQ, HAST, SynQ, AdaDFQ and SQuant.
///
/// # Differences from the source
/// For a stored activation range of one point ZeroQ takes the range of the batch at hand instead.
#[derive(Debug, Clone, Copy)]
pub struct ZeroqAffine {
    min_range: f32,
}

impl ZeroqAffine {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `min_range` that is not positive.
    pub fn new(config: &ZeroqAffineConfig) -> Result<Self, ConfigError> {
        Ok(Self { min_range: smallest("min_range", config.min_range)? })
    }
}

impl Quantizer for ZeroqAffine {
    fn map(&self, range: Range, bits: u8) -> Result<Affine, QuantError> {
        let bits = checked_bits(bits)?;
        let half = f32::from(1u16 << (bits - 1));
        let n = f32::from((1u16 << bits) - 1);
        let scale = n * (1.0 / range.width().max(self.min_range));
        let zero = (scale * range.min()).round_ties_even() + half;
        if !zero.is_finite() {
            return Err(range.refused());
        }
        Ok(Affine { arithmetic: Arithmetic::Multiply, scale, zero, low: -half, high: half - 1.0 })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Quantizer> = Entry {
    name: "zeroq-affine",
    summary: "asymmetric, signed codes, integral zero point, scale in codes per unit",
    source: "Cai et al., ZeroQ: A Novel Zero Shot Quantization Framework, CVPR 2020",
    defaults: defaults_of::<ZeroqAffineConfig>,
    build: |table| Ok(Box::new(ZeroqAffine::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn map(min: f32, max: f32, bits: u8) -> Affine {
        ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap().map(Range::new(min, max).unwrap(), bits).unwrap()
    }

    #[test]
    fn constants_are_those_of_the_formula() {
        let map = map(-1.0, 2.0, 4);
        assert_eq!((map.scale, map.zero, map.low, map.high), (5.0, 3.0, -8.0, 7.0));
        assert_eq!([-1.0, 0.0, 0.3, 2.0, 5.0].map(|x| map.code(x)), [-8.0, -3.0, -2.0, 7.0, 7.0]);
        assert_eq!(map.value(7.0), 2.0);
    }

    #[test]
    fn rounding_the_zero_point_clips_half_a_step() {
        let map = map(-0.5, 7.0, 4);
        assert_eq!((map.scale, map.zero), (2.0, 7.0));
        let map = super::tests::map(-0.25, 7.25, 4);
        assert_eq!((map.scale, map.zero), (2.0, 8.0), "round(-0.5) is 0, to even");
        assert_eq!(map.value(map.code(7.25)), 7.0);
        assert_eq!(map.value(map.code(-0.25)), 0.0);
    }

    #[test]
    fn a_zero_range_is_defined() {
        let map = map(0.0, 0.0, 4);
        assert_eq!((map.scale, map.zero), (15.0 * (1.0 / 1e-8), 8.0));
        assert_eq!(map.value(map.code(0.0)), 0.0);
        assert!(map.value(map.code(3.0)) < 1.1e-8);
    }
}
