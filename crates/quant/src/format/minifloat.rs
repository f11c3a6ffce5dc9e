//! Floating point of 8 and 4 bits with a scale a group.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::scale::ScaleRule;
use super::tables::{checked_width, codebook};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// The two 8-bit formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fp8Variant {
    /// 4 bits of exponent with bias 7, 3 of mantissa; largest 448, no infinities.
    E4m3,
    /// 5 bits of exponent with bias 15, 2 of mantissa; largest 57344; the infinities are not used.
    E5m2,
}

/// Table of the entry `fp8`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fp8Config {
    /// Which of the two.
    pub variant: Fp8Variant,
    /// How the scale of each group is chosen.
    pub scale: ScaleRule,
}

impl Default for Fp8Config {
    fn default() -> Self {
        Self { variant: Fp8Variant::E4m3, scale: ScaleRule::Max }
    }
}

/// Table of the entry `fp4`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fp4Config {
    /// How the scale of each group is chosen.
    pub scale: ScaleRule,
}

impl Default for Fp4Config {
    fn default() -> Self {
        Self { scale: ScaleRule::Max }
    }
}

/// Small floating-point numbers times a scale a group.
///
/// ```text
/// code = sign | e | f,  f of m bits:   e = 0: v = f / 2^m * 2^(1 - bias),   else v = (1 + f / 2^m) * 2^(e - bias)
/// E4M3: m = 3, bias  7, codes 0 to 126 of 127 (127: NaN)              0, 2^-9 .. 448       253 levels
/// E5M2: m = 2, bias 15, codes 0 to 123 of 127 (infinity, NaNs)        0, 2^-16 .. 57344    247 levels
/// E2M1: m = 1, bias  1, codes 0 to 7                                  0, .5, 1, 1.5, 2, 3, 4, 6     15 levels
/// x^ = s * v of the nearest s * v;   max: s = max |x| / largest v,   mse: s of least squared error
/// ```
/// The codes that the codec hands out are places in the table of levels, not these bit patterns.
///
/// # Range
/// Values beyond `s * largest` take it (saturating, as OCP allows); with [`ScaleRule::Max`] there are none.
///
/// # Source
/// OCP 8-bit Floating Point Specification (OFP8) 1.0, 2023, after Micikevicius et al., FP8 Formats for Deep Learning,
/// 2022; E2M1: OCP Microscaling Formats (MX) Specification 1.0, 2023.
///
/// # Differences from the source
/// Halves go to the lower neighbour, not to the even one, and zero has no sign. The scale is an `f32` for each group of
/// the layer's granularity; MX has a power of two for each 32 values.
#[derive(Debug, Clone)]
pub struct Minifloat {
    bits: u8,
    magnitudes: Vec<f64>,
    scale: ScaleRule,
}

impl Minifloat {
    /// 8 bits.
    pub fn fp8(config: Fp8Config) -> Self {
        let magnitudes = match config.variant {
            Fp8Variant::E4m3 => magnitudes(3, 7, 127),
            Fp8Variant::E5m2 => magnitudes(2, 15, 124),
        };
        Self { bits: 8, magnitudes, scale: config.scale }
    }

    /// 4 bits.
    pub fn fp4(config: Fp4Config) -> Self {
        Self { bits: 4, magnitudes: magnitudes(1, 1, 8), scale: config.scale }
    }
}

impl NumberFormat for Minifloat {
    fn widths(&self) -> RangeInclusive<u8> {
        self.bits..=self.bits
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let bits = checked_width(&self.widths(), bits)?;
        let book = codebook(samples, bits, axis, |values| self.scale.table(values, 0.0, &self.magnitudes))?;
        Ok(book.with_constants(samples.groups()).into())
    }
}

/// The values of the first `count` codes without sign, ascending.
fn magnitudes(mantissa_bits: i32, bias: i32, count: i32) -> Vec<f64> {
    let value = |code: i32| {
        let (exponent, fraction) = (code >> mantissa_bits, code & ((1 << mantissa_bits) - 1));
        let fraction = f64::from(fraction) * 2f64.powi(-mantissa_bits);
        if exponent == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(exponent - bias) }
    };
    (0..count).map(value).collect()
}

/// How the registry lists 8 bits.
pub const FP8_ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "fp8",
    summary: "8-bit floating point, E4M3 or E5M2, with a scale a group",
    source: "OCP 8-bit Floating Point Specification 1.0, 2023; Micikevicius et al., FP8 Formats, 2022",
    defaults: defaults_of::<Fp8Config>,
    build: |table| Ok(Box::new(Minifloat::fp8(parse(table)?))),
};

/// How the registry lists 4 bits.
pub const FP4_ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "fp4",
    summary: "4-bit floating point, E2M1, with a scale a group",
    source: "OCP Microscaling Formats (MX) Specification 1.0, 2023",
    defaults: defaults_of::<Fp4Config>,
    build: |table| Ok(Box::new(Minifloat::fp4(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, mean_square, normal, quantized, table};

    fn fp8(variant: Fp8Variant, scale: ScaleRule) -> Minifloat {
        Minifloat::fp8(Fp8Config { variant, scale })
    }

    #[test]
    fn e4m3_has_the_values_of_the_specification() {
        let codec = fitted(&fp8(Fp8Variant::E4m3, ScaleRule::Max), &[448.0, 1.0], 8);
        let mut expected = vec![0.0f32];
        expected.extend((1..8).map(|fraction| fraction as f32 / 512.0));
        for exponent in -6..=8 {
            expected.extend((8..16).map(|eighths| eighths as f32 / 8.0 * 2f32.powi(exponent)));
        }
        assert_eq!(expected.pop(), Some(480.0), "the pattern of NaN");
        let levels = table(&codec);
        assert_eq!(levels.len(), 253);
        assert_eq!(levels[126..], expected);
        assert!(levels.iter().rev().zip(levels).all(|(high, low)| *high == -low));
        assert_eq!(levels[252], 448.0);
    }

    #[test]
    fn e5m2_is_the_upper_byte_of_binary16() {
        let codec = fitted(&fp8(Fp8Variant::E5m2, ScaleRule::Max), &[-57344.0], 8);
        let expected: Vec<f32> = (0..124u16).map(|code| half::f16::from_bits(code << 8).to_f32()).collect();
        assert_eq!(table(&codec)[123..], expected);
        assert_eq!(table(&codec).len(), 247);
    }

    #[test]
    fn e2m1_has_eight_magnitudes() {
        let codec = fitted(&Minifloat::fp4(Fp4Config::default()), &[6.0, -1.0], 4);
        assert_eq!(table(&codec)[7..], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(quantized(&codec, &[2.4, 2.6, -5.1, -7.0, 0.2]), [2.0, 3.0, -6.0, -6.0, 0.0]);
        assert_eq!(codec.storage_bits(10), 10 * 4 + 32);
    }

    #[test]
    fn the_scale_of_least_error_errs_least() {
        for values in [normal(3000), laplace(3000)] {
            let error = |format: &Minifloat, bits: u8| mean_square(&fitted(format, &values, bits), &values);
            for variant in [Fp8Variant::E4m3, Fp8Variant::E5m2] {
                assert!(error(&fp8(variant, ScaleRule::Mse), 8) <= error(&fp8(variant, ScaleRule::Max), 8) * 1.000_01);
            }
            let [max, mse] = [ScaleRule::Max, ScaleRule::Mse].map(|scale| Minifloat::fp4(Fp4Config { scale }));
            assert!(error(&mse, 4) < 0.97 * error(&max, 4));
        }
    }

    /// The least error over the scale on N(0, 1), by integrating the normal density over each cell (scipy).
    #[test]
    fn a_gaussian_in_four_bits_has_its_theoretical_error() {
        let values = normal(50_000);
        let found = mean_square(&fitted(&Minifloat::fp4(Fp4Config { scale: ScaleRule::Mse }), &values, 4), &values);
        assert!((found / 0.012685 - 1.0).abs() < 0.05, "{found}");
    }

    #[test]
    fn other_widths_are_errors() {
        let samples = Samples::new(vec![1.0], 1).unwrap();
        let fp4 = Minifloat::fp4(Fp4Config::default());
        assert!(matches!(fp4.fit(&samples, 8, None), Err(QuantError::Bits(8))));
    }
}
