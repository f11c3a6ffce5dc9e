//! The quantizer `shift`: steps that are powers of two.

use blindfold::quant::{Affine, Arithmetic, MAX_BITS, MIN_BITS, QuantError, Quantizer, Range};
use blindfold::zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

/// Table of [`Shift`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftConfig {
    /// Codes on both sides of zero; false for values that are never negative.
    pub signed: bool,
    /// The exponent that a smaller one is taken to be, -100 to 0.
    pub least_exponent: i32,
}

impl Default for ShiftConfig {
    fn default() -> Self {
        Self { signed: true, least_exponent: -30 }
    }
}

/// Codes proportional to the values, by a power of two: to go from one step to another is to shift bits.
///
/// ```text
/// signed:    n = 2^(b-1) - 1,  m = max(|min|, |max|),  q = clamp(round(x / delta), -n, n)
/// unsigned:  n = 2^b - 1,      m = max(max, 0),        q = clamp(round(x / delta), 0, n)
/// delta = 2^e,  e = max(ceil(log2(m / n)), least_exponent),  x^ = q * delta
/// ```
/// All in `f32`, halves rounded to even.
///
/// # Range
/// Nothing of the range is clamped; the step is less than twice that of the quantizer `symmetric`.
///
/// # Source
/// Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR
/// 2018, with the multiplier of its equation 5 left out, as integer accelerators with shifts alone do.
#[derive(Debug, Clone, Copy)]
pub struct Shift {
    signed: bool,
    least: f32,
}

impl Shift {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an exponent outside -100 to 0.
    pub fn new(config: &ShiftConfig) -> Result<Self, ConfigError> {
        let ShiftConfig { signed, least_exponent } = *config;
        match (-100..=0).contains(&least_exponent) {
            true => Ok(Self { signed, least: 2f32.powi(least_exponent) }),
            false => Err(ConfigError::invalid("least_exponent", least_exponent, "write -100 to 0")),
        }
    }
}

impl Quantizer for Shift {
    fn map(&self, range: Range, bits: u8) -> Result<Affine, QuantError> {
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(QuantError::Bits(bits));
        }
        let (high, extent) = match self.signed {
            true => (f32::from((1u16 << (bits - 1)) - 1), range.min().abs().max(range.max().abs())),
            false => (f32::from((1u16 << bits) - 1), range.max().max(0.0)),
        };
        let low = if self.signed { -high } else { 0.0 };
        let mut scale = self.least;
        while scale * high < extent {
            scale *= 2.0;
        }
        Ok(Affine { arithmetic: Arithmetic::Divide, scale, zero: 0.0, low, high })
    }
}

/// The quantizer `shift`.
pub const ENTRY: Entry<dyn Quantizer> = Entry {
    name: "shift",
    summary: "no zero point, the step a power of two: rescaling is shifting bits",
    source: "Jacob et al.: Integer-Arithmetic-Only Inference, CVPR 2018, without the multiplier of equation 5",
    defaults: defaults_of::<ShiftConfig>,
    build: |table| Ok(Box::new(Shift::new(&parse(table)?)?)),
};
