//! Levels that are sums of a few powers of two.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::scale::ScaleRule;
use super::tables::{checked_width, codebook, mean};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`Apot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApotConfig {
    /// How the scale `alpha` of each group is chosen.
    pub scale: ScaleRule,
    /// Levels lie about the mean of the group, as where weights are normalized to `(w - mean) / deviation` first; zero
    /// is then no level.
    pub normalize: bool,
}

impl Default for ApotConfig {
    fn default() -> Self {
        Self { scale: ScaleRule::Mse, normalize: false }
    }
}

/// Additive powers of two: finer near the largest level than powers of two, and still shifts and additions.
///
/// ```text
/// n = floor((b - 1) / 2) terms of 2 bits:   p_i in {0, 2^-i, 2^-(i+n), 2^-(i+2n)},   i = 0 .. n-1
/// b even, one term of 1 bit more:           p_i in {0, 2^-i, 2^-(i+n), 2^-(i+2n+1)},   p_n in {0, 2^-2n}
/// levels = +-alpha * gamma * sum p_i,       gamma such that the largest is alpha
/// normalize: w = mean + deviation * w',     levels on w'
/// ```
/// `2^b - 1` levels: one bit is the sign, and zero stands once. At 2 and 3 bits they are those of powers of two.
///
/// # Range
/// `[-alpha, alpha]`, with `normalize` about the mean. With [`ScaleRule::Max`] nothing is clipped.
///
/// # Source
/// Li et al., Additive Powers-of-Two Quantization, ICLR 2020, equation 5 with base width `k = 2`; for an odd number of
/// bits of the magnitude the term of one bit as in the authors' release.
///
/// # Differences from the source
/// There `alpha` is learned, here searched by the error on the weights. There the network computes with `w'`; here the
/// values come back in the units of `w`, so that `deviation` is part of the searched scale and only the mean has an
/// effect.
#[derive(Debug, Clone)]
pub struct Apot {
    config: ApotConfig,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

impl Apot {
    /// The format of a table.
    pub fn new(config: ApotConfig) -> Self {
        Self { config }
    }
}

impl NumberFormat for Apot {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let units = units(checked_width(&WIDTHS, bits)?);
        let book = codebook(samples, bits, axis, |values| {
            let centre = if self.config.normalize { mean(values.iter().map(|&x| f64::from(x))) } else { 0.0 };
            self.config.scale.table(values, centre, &units)
        })?;
        let constants = if self.config.normalize { 2 } else { 1 };
        Ok(book.with_constants(constants * samples.groups()).into())
    }
}

/// The magnitudes from zero to 1, ascending.
pub(crate) fn units(bits: u8) -> Vec<f64> {
    let magnitude = i32::from(bits) - 1;
    let (terms, odd) = (magnitude / 2, magnitude % 2);
    let mut sums = vec![0.0];
    for term in 0..terms {
        sums = with_term(&sums, &[term, term + terms, term + 2 * terms + odd]);
    }
    if odd == 1 {
        sums = with_term(&sums, &[2 * terms]);
    }
    sums.sort_by(f64::total_cmp);
    let largest = sums[sums.len() - 1];
    sums.into_iter().map(|sum| sum / largest).collect()
}

/// Each sum as it is and with each of these powers of two.
fn with_term(sums: &[f64], exponents: &[i32]) -> Vec<f64> {
    let more = |&sum: &f64| exponents.iter().map(move |exponent| sum + 2f64.powi(-exponent));
    sums.iter().copied().chain(sums.iter().flat_map(more)).collect()
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "apot",
    summary: "additive powers of two: each level a sum of a few powers of two times a scale",
    source: "Li et al., Additive Powers-of-Two Quantization, ICLR 2020, equation 5",
    defaults: defaults_of::<ApotConfig>,
    build: |table| Ok(Box::new(Apot::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, mean_square, normal, table};

    #[test]
    fn level_sets_are_the_papers() {
        let four = [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25].map(|sum| sum / 1.25);
        assert_eq!(units(2), [0.0, 1.0]);
        assert_eq!(units(3), [0.0, 0.25, 0.5, 1.0]);
        assert_eq!(units(4), four);
        let mut five: Vec<f64> =
            [0.0, 1.0, 0.25, 0.0625].iter().flat_map(|a| [0.0, 0.5, 0.125, 0.03125].map(|b| (a + b) / 1.5)).collect();
        five.sort_by(f64::total_cmp);
        assert_eq!(units(5), five);
    }

    #[test]
    fn every_width_has_all_of_its_levels() {
        for bits in 2..=8 {
            let mut units = units(bits);
            units.dedup();
            assert_eq!(units.len(), 1 << (bits - 1), "{bits} bits");
            assert_eq!((units[0], units[units.len() - 1]), (0.0, 1.0));
        }
    }

    /// Least errors over the scale on N(0, 1), by integrating the normal density over each cell (scipy).
    #[test]
    fn a_gaussian_is_quantized_with_its_theoretical_error() {
        let values = normal(50_000);
        for (bits, expected) in [(2, 0.190174), (3, 0.047560), (4, 0.0120995), (5, 0.0060048)] {
            let found = mean_square(&fitted(&Apot::new(ApotConfig::default()), &values, bits), &values);
            assert!((found / expected - 1.0).abs() < 0.05, "{bits} bits: {found} {expected}");
        }
    }

    #[test]
    fn normalized_levels_lie_about_the_mean() {
        let values: Vec<f32> = normal(2000).into_iter().map(|x| 0.1 * x + 5.0).collect();
        let about_zero = fitted(&Apot::new(ApotConfig::default()), &values, 4);
        let normalized = fitted(&Apot::new(ApotConfig { normalize: true, ..Default::default() }), &values, 4);
        assert!(mean_square(&normalized, &values) < 0.05 * mean_square(&about_zero, &values));
        assert!((table(&normalized)[7] - 5.0).abs() < 0.01);
        assert_eq!(normalized.storage_bits(0) - about_zero.storage_bits(0), 32);
    }
}
