//! Quantization without a zero point.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Quantizer, smallest};
use crate::affine::{Affine, Arithmetic};
use crate::error::QuantError;
use crate::interval::Range;
use crate::precision::checked_bits;

/// Table of [`Symmetric`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SymmetricConfig {
    /// Codes on both sides of zero; false for values that are never negative.
    pub signed: bool,
    /// As many codes below zero as above it: the lowest code of a signed format is left out.
    pub restricted: bool,
    /// The step that a smaller one is taken to be.
    pub min_step: f64,
}

impl Default for SymmetricConfig {
    fn default() -> Self {
        Self { signed: true, restricted: true, min_step: 1e-8 }
    }
}

/// Codes proportional to the values: zero is code 0.
///
/// ```text
/// signed:    n = 2^(b-1) - 1,  delta = max(|min|, |max|) / n,  q = clamp(round(x / delta), -n, n)
/// unsigned:  n = 2^b - 1,      delta = max(max, 0) / n,        q = clamp(round(x / delta), 0, n)
/// x^ = q * delta
/// ```
/// All in `f32`, halves rounded to even. With `restricted = false` signed codes begin at `-n - 1`.
///
/// # Range
/// `min = max = 0` has `delta = min_step`: zero stays zero. Unsigned codes turn negative values into zero.
///
/// # Source
/// Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
///
/// # Differences from the source
/// None.
#[derive(Debug, Clone, Copy)]
pub struct Symmetric {
    signed: bool,
    restricted: bool,
    min_step: f32,
}

impl Symmetric {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `min_step` that is not positive.
    pub fn new(config: &SymmetricConfig) -> Result<Self, ConfigError> {
        let SymmetricConfig { signed, restricted, min_step } = *config;
        Ok(Self { signed, restricted, min_step: smallest("min_step", min_step)? })
    }
}

impl Quantizer for Symmetric {
    fn map(&self, range: Range, bits: u8) -> Result<Affine, QuantError> {
        let bits = checked_bits(bits)?;
        let (low, high, extent) = if self.signed {
            let high = f32::from((1u16 << (bits - 1)) - 1);
            let low = if self.restricted { -high } else { -high - 1.0 };
            (low, high, range.min().abs().max(range.max().abs()))
        } else {
            (0.0, f32::from((1u16 << bits) - 1), range.max().max(0.0))
        };
        let scale = (extent / high).max(self.min_step);
        Ok(Affine { arithmetic: Arithmetic::Divide, scale, zero: 0.0, low, high })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Quantizer> = Entry {
    name: "symmetric",
    summary: "no zero point: zero is code 0; signed (restricted or not) or unsigned codes",
    source: "Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018",
    defaults: defaults_of::<SymmetricConfig>,
    build: |table| Ok(Box::new(Symmetric::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn map(config: SymmetricConfig, min: f32, max: f32, bits: u8) -> Affine {
        Symmetric::new(&config).unwrap().map(Range::new(min, max).unwrap(), bits).unwrap()
    }

    #[test]
    fn constants_are_those_of_the_formula() {
        let signed = map(SymmetricConfig::default(), -3.5, 1.0, 4);
        assert_eq!((signed.scale, signed.low, signed.high), (0.5, -7.0, 7.0));
        assert_eq!([-9.0, -0.25, 0.25, 0.75, 9.0].map(|x| signed.value(signed.code(x))), [-3.5, 0.0, 0.0, 1.0, 3.5]);
        let full = map(SymmetricConfig { restricted: false, ..Default::default() }, -3.5, 1.0, 4);
        assert_eq!(full.value(full.code(-9.0)), -4.0);
        let unsigned = map(SymmetricConfig { signed: false, ..Default::default() }, 0.0, 7.5, 4);
        assert_eq!((unsigned.scale, unsigned.low, unsigned.high), (0.5, 0.0, 15.0));
        assert_eq!(unsigned.value(unsigned.code(-1.0)), 0.0);
    }

    #[test]
    fn a_zero_range_is_defined() {
        let map = map(SymmetricConfig::default(), 0.0, 0.0, 2);
        assert_eq!(map.value(map.code(0.0)), 0.0);
        assert!(map.value(map.code(1.0)) < 1.1e-8);
    }

    #[test]
    fn a_step_of_zero_is_refused() {
        let error = Symmetric::new(&SymmetricConfig { min_step: 0.0, ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("min_step"));
    }
}
