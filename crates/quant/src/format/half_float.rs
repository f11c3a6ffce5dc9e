//! Floating point of 16 bits.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::checked_width;
use crate::codec::{Codec, Half};
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`HalfFloat`]: it has no keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfFloatConfig {}

/// 16-bit floating point without a scale; nothing is fitted.
///
/// ```text
/// fp16: 5 bits of exponent, 10 of mantissa:  |x - x^| <= 2^-11 |x|  for 2^-14 <= |x| <= 65504,  2^-25 below
/// bf16: 8 bits of exponent, 7 of mantissa:   |x - x^| <= 2^-8 |x|   for normal numbers
/// ```
/// To nearest, halves to even.
///
/// # Range
/// Values beyond the largest finite one (fp16: 65504) take it.
///
/// # Source
/// IEEE 754-2019, binary16; bfloat16: Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, 2019.
///
/// # Differences from the source
/// IEEE 754 rounds values beyond the largest to infinity.
#[derive(Debug, Clone)]
pub struct HalfFloat {
    half: Half,
}

const WIDTHS: RangeInclusive<u8> = 16..=16;

impl HalfFloat {
    /// One of the two formats.
    pub fn new(half: Half, _config: HalfFloatConfig) -> Self {
        Self { half }
    }
}

impl NumberFormat for HalfFloat {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, _samples: &Samples, bits: u8, _axis: Option<usize>) -> Result<Codec, QuantError> {
        checked_width(&WIDTHS, bits)?;
        Ok(Codec::Half(self.half))
    }
}

/// How the registry lists IEEE's format.
pub const FP16_ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "fp16",
    summary: "IEEE 754 binary16: 5 bits of exponent, 10 of mantissa",
    source: "IEEE 754-2019, binary16",
    defaults: defaults_of::<HalfFloatConfig>,
    build: |table| Ok(Box::new(HalfFloat::new(Half::Fp16, parse(table)?))),
};

/// How the registry lists bfloat16.
pub const BF16_ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "bf16",
    summary: "bfloat16: 8 bits of exponent, 7 of mantissa",
    source: "Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, 2019",
    defaults: defaults_of::<HalfFloatConfig>,
    build: |table| Ok(Box::new(HalfFloat::new(Half::Bf16, parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, quantized};

    #[test]
    fn errors_stay_within_half_a_unit_in_the_last_place() {
        for (half, digits, smallest) in [(Half::Fp16, 11, -25), (Half::Bf16, 8, -134)] {
            let codec = fitted(&HalfFloat::new(half, HalfFloatConfig {}), &[1.0], 16);
            for magnitude in [1e-6f32, 1e-3, 1.0, 1e3] {
                let values: Vec<f32> = laplace(2000).into_iter().map(|x| x * magnitude).collect();
                for (x, y) in values.iter().zip(quantized(&codec, &values)) {
                    let (x, y) = (f64::from(*x), f64::from(y));
                    let bound = (x.abs() * 2f64.powi(-digits)).max(2f64.powi(smallest));
                    assert!((x - y).abs() <= bound, "{half:?}: {x} became {y}");
                }
            }
        }
    }

    #[test]
    fn it_takes_sixteen_bits_and_no_constants() {
        let codec = fitted(&HalfFloat::new(Half::Bf16, HalfFloatConfig {}), &[1.0, 2.0], 16);
        assert_eq!((codec.bits(), codec.storage_bits(100)), (16, 1600));
        let samples = Samples::new(vec![1.0], 1).unwrap();
        let format = HalfFloat::new(Half::Fp16, HalfFloatConfig {});
        assert!(matches!(format.fit(&samples, 8, None), Err(QuantError::Bits(8))));
    }
}
