//! Two uniform grids: a fine one in the middle, a coarse one for the tails.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::sorted::Sorted;
use super::tables::{checked_width, codebook, mirrored};
use crate::codec::Codec;
use crate::distribution::golden_section;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`PiecewiseLinear`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PiecewiseLinearConfig {
    /// How many break points are tried before the best is refined.
    pub candidates: usize,
}

impl Default for PiecewiseLinearConfig {
    fn default() -> Self {
        Self { candidates: 100 }
    }
}

/// Uniform quantization of `[-p, p]` and of the tails up to `m = max |x|`, each with half of the codes.
///
/// ```text
/// h = 2^(b-2)
/// centre   p * i / (h - 1),        i = -(h-1) .. h-1     2h - 1 levels (h = 1: zero alone)
/// tails    +-(p + (m - p) j / h),  j = 1 .. h            h levels each
/// p = argmin sum (x - x^)^2:  p/m = i / (candidates + 1) and that of the uniform grid, then golden section at the best
/// ```
/// How the `2^b` codes are shared: half of them, `2^(b-1)`, to the centre, of which one stays unused so that the grid
/// is symmetric and zero exact; a quarter to each tail. The break point `p` is a level of the centre; no level stands
/// twice. A value takes the nearest level of both regions. Each group is described by `p` and `m`.
///
/// # Range
/// Nothing is clipped. `p = m (h - 1) / (2h - 1)` is the symmetric uniform grid of `2^b - 1` levels and one of the
/// candidates, so that the squared error is never above its. At 2 bits the levels are `-m, 0, m` whatever `p` is.
///
/// # Source
/// Fang et al., Post-training Piecewise Linear Quantization for Deep Neural Networks, ECCV 2020, section 3.
///
/// # Differences from the source
/// As we read it, the paper's four pieces have `b - 1` bits each and both ends as levels, and the region is told apart
/// outside of the `b` bits; here everything is within `b` bits, so that formats compare at equal size. The paper takes
/// `p` from a formula for the Gaussian or searches it below `m / 2`; here it is searched on the values over all of
/// `(0, m)`.
#[derive(Debug, Clone)]
pub struct PiecewiseLinear {
    candidates: usize,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

impl PiecewiseLinear {
    /// The format of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for fewer than 2 candidates.
    pub fn new(config: PiecewiseLinearConfig) -> Result<Self, ConfigError> {
        if config.candidates < 2 {
            return Err(ConfigError::invalid("candidates", config.candidates, "write at least 2, such as 100"));
        }
        Ok(Self { candidates: config.candidates })
    }

    /// `p / m` of least squared error.
    fn break_point(&self, sorted: &Sorted, bits: u8) -> f64 {
        let error = |ratio: f64| sorted.error(&units(bits, ratio), sorted.largest());
        let half = f64::from(1u16 << (bits - 2));
        let uniform = (half - 1.0) / (2.0 * half - 1.0);
        let step = 1.0 / (self.candidates + 1) as f64;
        let tried = (1..=self.candidates).map(|place| place as f64 * step).chain([uniform]);
        let better = |best: (f64, f64), ratio: f64| {
            let error = error(ratio);
            if error < best.0 { (error, ratio) } else { best }
        };
        let best = tried.fold((f64::INFINITY, uniform), better);
        let refined = golden_section((best.1 - step).max(0.0), (best.1 + step).min(1.0), 1e-3 * step, error);
        better(best, refined).1
    }
}

impl NumberFormat for PiecewiseLinear {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let bits = checked_width(&WIDTHS, bits)?;
        let book = codebook(samples, bits, axis, |values| {
            let sorted = Sorted::magnitudes(values, 0.0);
            let units = units(bits, self.break_point(&sorted, bits));
            mirrored(units.iter().map(|unit| unit * sorted.largest()), 0.0)
        })?;
        Ok(book.with_constants(2 * samples.groups()).into())
    }
}

/// The levels from zero to `m = 1` with the break point at `ratio`.
fn units(bits: u8, ratio: f64) -> Vec<f64> {
    let half = 1u16 << (bits - 2);
    let centre = (0..half).map(|place| ratio * f64::from(place) / f64::from(half.max(2) - 1));
    let tail = (1..=half).map(|place| ratio + (1.0 - ratio) * f64::from(place) / f64::from(half));
    centre.chain(tail).collect()
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "pwlq",
    summary: "piecewise linear: a fine grid within a break point, a coarse one beyond, half of the codes each",
    source: "Fang et al., Post-training Piecewise Linear Quantization for Deep Neural Networks, ECCV 2020",
    defaults: defaults_of::<PiecewiseLinearConfig>,
    build: |table| Ok(Box::new(PiecewiseLinear::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, mean_square, normal, table};
    use crate::format::uniform::{Uniform, UniformConfig};

    fn default() -> PiecewiseLinear {
        PiecewiseLinear::new(PiecewiseLinearConfig::default()).unwrap()
    }

    #[test]
    fn levels_are_those_of_the_formula() {
        for (bits, ratio, expected) in [
            (4, 0.3, [0.0, 0.1, 0.2, 0.3, 0.475, 0.65, 0.825, 1.0].as_slice()),
            (3, 0.25, &[0.0, 0.25, 0.625, 1.0]),
            (2, 0.7, &[0.0, 1.0]),
        ] {
            let found = units(bits, ratio);
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{bits} bits: {found:?}");
        }
        for bits in 2..=8 {
            assert_eq!(2 * units(bits, 0.4).len() - 1, (1 << bits) - 1);
        }
    }

    #[test]
    fn it_never_errs_more_than_the_uniform_grid_and_clearly_less_on_bells() {
        let uniform = Uniform::new(UniformConfig::default()).unwrap();
        for (values, clearly) in [(normal(20_000), 0.75), (laplace(20_000), 0.6)] {
            for bits in 2..=8 {
                let ratio = mean_square(&fitted(&default(), &values, bits), &values)
                    / mean_square(&fitted(&uniform, &values, bits), &values);
                assert!(ratio <= 1.0 + 1e-6, "{bits} bits: {ratio}");
                assert!(bits < 4 || ratio < clearly, "{bits} bits: {ratio}");
            }
        }
    }

    /// The paper's approximation for N(0, 1) between -m and m: `p = ln(0.8614 m + 0.6079)`, from minimising
    /// `p^2 P(|x| < p) + (m - p)^2 P(|x| > p)`; many levels come close to that integral.
    #[test]
    fn the_break_point_of_a_gaussian_is_the_papers() {
        let mut values: Vec<f32> = normal(100_000).into_iter().filter(|x| x.abs() < 4.0).collect();
        values.push(4.0);
        let found = 4.0 * default().break_point(&Sorted::magnitudes(&values, 0.0), 8);
        let expected = (0.8614f64 * 4.0 + 0.6079).ln();
        assert!((found / expected - 1.0).abs() < 0.06, "{found} {expected}");
    }

    #[test]
    fn zero_and_the_largest_magnitude_are_levels() {
        let codec = fitted(&default(), &[0.3, -2.5, 0.1, 0.2, -0.15], 4);
        let levels = table(&codec);
        assert_eq!(levels.len(), 15);
        assert_eq!((levels[0], levels[7], levels[14]), (-2.5, 0.0, 2.5));
        assert_eq!(codec.storage_bits(5), 5 * 4 + 64);
    }

    #[test]
    fn one_candidate_is_refused() {
        assert!(PiecewiseLinear::new(PiecewiseLinearConfig { candidates: 1 }).is_err());
    }
}
