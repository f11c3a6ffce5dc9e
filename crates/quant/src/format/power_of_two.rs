//! Levels that are powers of two: a product is a shift.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::scale::ScaleRule;
use super::tables::{checked_width, codebook};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`PowerOfTwo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerOfTwoConfig {
    /// How the scale of each group is chosen.
    pub scale: ScaleRule,
}

impl Default for PowerOfTwoConfig {
    fn default() -> Self {
        Self { scale: ScaleRule::Mse }
    }
}

/// Zero and powers of two, with a scale a group.
///
/// ```text
/// levels = alpha * {0, +-2^-k},   k = 0 .. 2^(b-1) - 2
/// ```
/// `2^b - 1` levels: one code stays unused, so that the set is symmetric. A value takes the nearest level, not the
/// nearest exponent. Levels too small for the normal numbers of `f32` become zero (at 8 bits the smallest is `2^-126
/// alpha`).
///
/// # Range
/// `[-alpha, alpha]`. With [`ScaleRule::Max`] nothing is clipped.
///
/// # Source
/// Miyashita et al., Convolutional Neural Networks using Logarithmic Data Representation, 2016; Zhou et al.,
/// Incremental Network Quantization, ICLR 2017, equation 1; as a set of levels: Li et al., Additive Powers-of-Two
/// Quantization, ICLR 2020, equation 3.
///
/// # Differences from the source
/// The scale is any positive number, in INQ a power of two as well. The set of Li et al. has one exponent more, and so
/// two levels more than codes; the smallest is left out.
#[derive(Debug, Clone)]
pub struct PowerOfTwo {
    scale: ScaleRule,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

impl PowerOfTwo {
    /// The format of a table.
    pub fn new(config: PowerOfTwoConfig) -> Self {
        Self { scale: config.scale }
    }
}

impl NumberFormat for PowerOfTwo {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let units = units(checked_width(&WIDTHS, bits)?);
        let book = codebook(samples, bits, axis, |values| self.scale.table(values, 0.0, &units))?;
        Ok(book.with_constants(samples.groups()).into())
    }
}

/// Zero and the powers of two up to 1, ascending.
pub(crate) fn units(bits: u8) -> Vec<f64> {
    let exponents = (0..(1i32 << (bits - 1)) - 1).rev();
    std::iter::once(0.0).chain(exponents.map(|exponent| 2f64.powi(-exponent))).collect()
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "power-of-two",
    summary: "zero and powers of two times a scale: a product is a shift",
    source: "Zhou et al., Incremental Network Quantization, ICLR 2017; Li et al., APoT, ICLR 2020, equation 3",
    defaults: defaults_of::<PowerOfTwoConfig>,
    build: |table| Ok(Box::new(PowerOfTwo::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, mean_square, normal, table};

    #[test]
    fn levels_are_those_of_the_formula() {
        assert_eq!(units(2), [0.0, 1.0]);
        assert_eq!(units(3), [0.0, 0.25, 0.5, 1.0]);
        assert_eq!(units(4), [0.0, 0.015625, 0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0]);
        let max = PowerOfTwo::new(PowerOfTwoConfig { scale: ScaleRule::Max });
        let codec = fitted(&max, &[0.7, -3.0, 2.0], 3);
        assert_eq!(table(&codec), [-3.0, -1.5, -0.75, 0.0, 0.75, 1.5, 3.0]);
        assert_eq!(codec.storage_bits(3), 3 * 3 + 32);
        assert!(table(&fitted(&max, &[1e-3], 8)).len() > 200);
    }

    /// Least errors over the scale on N(0, 1), by integrating the normal density over each cell (scipy).
    #[test]
    fn a_gaussian_is_quantized_with_its_theoretical_error() {
        let values = normal(50_000);
        for (bits, expected) in [(2, 0.190174), (3, 0.047560), (4, 0.037745), (5, 0.037729)] {
            let found = mean_square(&fitted(&PowerOfTwo::new(PowerOfTwoConfig::default()), &values, bits), &values);
            assert!((found / expected - 1.0).abs() < 0.05, "{bits} bits: {found} {expected}");
        }
    }
}
