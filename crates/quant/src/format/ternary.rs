//! Three levels: minus, zero and plus.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::{checked_width, codebook, mean, mirrored};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// How the magnitude `alpha` is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TernaryRule {
    /// The least squared error of all.
    Exact,
    /// The mean magnitude beyond a threshold of 0.7 times the mean magnitude (TWN).
    Twn,
}

/// Table of [`Ternary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TernaryConfig {
    /// How the magnitude of each group is found.
    pub rule: TernaryRule,
}

impl Default for TernaryConfig {
    fn default() -> Self {
        Self { rule: TernaryRule::Exact }
    }
}

/// Levels `-alpha, 0, alpha` in 2 bits.
///
/// ```text
/// exact:  |w| sorted descending, S_k = the sum of the k largest:   k* = argmax S_k^2 / k,   alpha = S_k* / k*
///         (for k values at +-alpha the best alpha is S_k / k, and the squared error sum w^2 - S_k^2 / k)
/// twn:    Delta = 0.7 mean |w|,   alpha = mean of |w| over |w| > Delta
/// ```
/// A value takes the nearest level: zero below `alpha / 2`.
///
/// # Range
/// `[-alpha, alpha]`; larger magnitudes are clipped.
///
/// # Source
/// Li, Zhang and Liu, Ternary Weight Networks, 2016, equations 3 to 6; the exact optimum is their equation 5 solved
/// over all thresholds.
///
/// # Differences from the source
/// With `twn` the paper sends magnitudes between `Delta` and `alpha / 2` to `alpha`; here they take the nearest level,
/// which errs less and makes quantizing twice the same as once.
#[derive(Debug, Clone)]
pub struct Ternary {
    rule: TernaryRule,
}

const WIDTHS: RangeInclusive<u8> = 2..=2;

impl Ternary {
    /// The format of a table.
    pub fn new(config: TernaryConfig) -> Self {
        Self { rule: config.rule }
    }

    fn magnitude(&self, values: &[f32]) -> f64 {
        let mut magnitudes: Vec<f64> = values.iter().map(|&x| f64::from(x).abs()).collect();
        match self.rule {
            TernaryRule::Exact => {
                magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
                let (mut sum, mut gain, mut best) = (0.0, 0.0, 0.0);
                for (place, magnitude) in magnitudes.iter().enumerate() {
                    let count = (place + 1) as f64;
                    sum += magnitude;
                    if sum * sum / count > gain {
                        (gain, best) = (sum * sum / count, sum / count);
                    }
                }
                best
            }
            TernaryRule::Twn => {
                let threshold = 0.7 * mean(magnitudes.iter().copied());
                magnitudes.retain(|&magnitude| magnitude > threshold);
                mean(magnitudes.into_iter())
            }
        }
    }
}

impl NumberFormat for Ternary {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let bits = checked_width(&WIDTHS, bits)?;
        let book = codebook(samples, bits, axis, |values| mirrored([0.0, self.magnitude(values)].into_iter(), 0.0))?;
        Ok(book.with_constants(samples.groups()).into())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "ternary",
    summary: "minus, zero and plus a magnitude, by the exact optimum or by TWN's threshold",
    source: "Li, Zhang and Liu, Ternary Weight Networks, 2016",
    defaults: defaults_of::<TernaryConfig>,
    build: |table| Ok(Box::new(Ternary::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, mean_square, normal, table};

    fn codec(rule: TernaryRule, values: &[f32]) -> Codec {
        fitted(&Ternary::new(TernaryConfig { rule }), values, 2)
    }

    /// Least squared error over all `3^n` ways of giving each value a sign or zero, with the best magnitude for each.
    fn exhaustive(values: &[f32]) -> f64 {
        let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        (0..3usize.pow(values.len() as u32))
            .map(|mut choice| {
                let (mut cross, mut count) = (0.0, 0.0);
                for &x in values {
                    let sign = (choice % 3) as f64 - 1.0;
                    choice /= 3;
                    cross += sign * f64::from(x);
                    count += sign.abs();
                }
                if count == 0.0 { squares } else { squares - cross * cross / count }
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_exact_rule_is_the_best_of_all_assignments() {
        let values = normal(72);
        for values in values.chunks(8).chain([[1.0f32, 1.0, 1.0, 9.0].as_slice()]) {
            let found = mean_square(&codec(TernaryRule::Exact, values), values) * values.len() as f64;
            let least = exhaustive(values);
            assert!((found - least).abs() <= 1e-6 * least.max(1e-3), "{values:?}: {found} {least}");
        }
    }

    /// The optimal three levels of N(0, 1) are 0 and +-1.2240 with error 0.190174 (Lloyd-Max); the threshold of TWN
    /// there is 0.7 sqrt(2 / pi), and the mean beyond it 1.18416.
    #[test]
    fn a_gaussian_gets_its_theoretical_levels() {
        let values = normal(100_000);
        let exact = codec(TernaryRule::Exact, &values);
        assert!((f64::from(table(&exact)[2]) / 1.2240 - 1.0).abs() < 0.02);
        assert!((mean_square(&exact, &values) / 0.190174 - 1.0).abs() < 0.03);
        let twn = codec(TernaryRule::Twn, &values);
        assert!((f64::from(table(&twn)[2]) / 1.18416 - 1.0).abs() < 0.01);
    }

    #[test]
    fn the_exact_rule_is_never_above_twn() {
        for values in [normal(999), laplace(999), vec![0.0; 5], vec![-4.0; 5], vec![1e-3, 1.0, 50.0]] {
            let [exact, twn] = [TernaryRule::Exact, TernaryRule::Twn].map(|rule| codec(rule, &values));
            assert!(mean_square(&exact, &values) <= mean_square(&twn, &values) * (1.0 + 1e-6));
        }
        assert_eq!(codec(TernaryRule::Exact, &[1.0; 4]).storage_bits(4), 4 * 2 + 32);
    }
}
