//! The affine quantizer of BRECQ and its successors.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Quantizer, smallest};
use crate::affine::{Affine, Arithmetic};
use crate::error::QuantError;
use crate::interval::Range;
use crate::precision::checked_bits;

/// Table of [`BrecqAffine`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrecqAffineConfig {
    /// The step that a smaller one is taken to be.
    pub min_step: f64,
}

impl Default for BrecqAffineConfig {
    fn default() -> Self {
        Self { min_step: 1e-8 }
    }
}

/// Asymmetric unsigned codes, the scale in units per code.
///
/// ```text
/// delta = (max - min) / (2^b - 1)
/// zp    = round(-min / delta)
/// q     = clamp(round(x / delta) + zp, 0, 2^b - 1)
/// x^    = (q - zp) * delta
/// ```
/// All in `f32`, halves rounded to even.
///
/// # Range
/// A range of one point `c` has `delta = min_step`, and `c` keeps its value (to `f32` accuracy).
///
/// # Source
/// Li et al., BRECQ, ICLR 2021; the same in QDrop, PD-Quant and GENIE.
///
/// # Differences from the source
/// None.
#[derive(Debug, Clone, Copy)]
pub struct BrecqAffine {
    min_step: f32,
}

impl BrecqAffine {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `min_step` that is not positive.
    pub fn new(config: &BrecqAffineConfig) -> Result<Self, ConfigError> {
        Ok(Self { min_step: smallest("min_step", config.min_step)? })
    }
}

impl Quantizer for BrecqAffine {
    fn map(&self, range: Range, bits: u8) -> Result<Affine, QuantError> {
        let bits = checked_bits(bits)?;
        let n = f32::from((1u16 << bits) - 1);
        let scale = (range.width() / n).max(self.min_step);
        let zero = (-range.min() / scale).round_ties_even();
        if !zero.is_finite() {
            return Err(range.refused());
        }
        Ok(Affine { arithmetic: Arithmetic::Divide, scale, zero, low: 0.0, high: n })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Quantizer> = Entry {
    name: "brecq-affine",
    summary: "asymmetric, unsigned codes, integral zero point, scale in units per code",
    source: "Li et al., BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, ICLR 2021",
    defaults: defaults_of::<BrecqAffineConfig>,
    build: |table| Ok(Box::new(BrecqAffine::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_those_of_the_formula() {
        let quantizer = BrecqAffine::new(&BrecqAffineConfig::default()).unwrap();
        let map = quantizer.map(Range::new(-1.0, 2.75).unwrap(), 4).unwrap();
        assert_eq!((map.scale, map.zero, map.low, map.high), (0.25, 4.0, 0.0, 15.0));
        assert_eq!(
            [-2.0, -1.0, 0.0, 0.125, 0.375, 2.75, 3.0].map(|x| map.code(x)),
            [0.0, 0.0, 4.0, 4.0, 6.0, 15.0, 15.0]
        );
        assert_eq!(map.value(15.0), 2.75);
    }
}
