//! Levels that are best for a density.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::{checked_width, codebook};
use crate::codec::Codec;
use crate::distribution::{DensityFamily, KolmogorovSmirnov, UnitCodebook};
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`LloydMax`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LloydMaxConfig {
    /// The density that each group is taken to have.
    pub family: LloydMaxFamily,
}

impl Default for LloydMaxConfig {
    fn default() -> Self {
        Self { family: LloydMaxFamily::Auto }
    }
}

/// The density that a group of values is taken to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LloydMaxFamily {
    /// The Gaussian of its mean and standard deviation.
    Gaussian,
    /// The Laplace density of its median and mean absolute deviation.
    Laplace,
    /// That of the two with the smaller Kolmogorov-Smirnov distance.
    Auto,
}

/// The Lloyd-Max codebook of a density fitted to each group.
///
/// ```text
/// level_i = location + scale * y_i,   y: the levels of least mean squared error for the unit density
/// ```
/// See [`UnitCodebook`]; a value takes the nearest level. Levels lie symmetrically about the location, so that zero is none.
///
/// # Range
/// A group of equal values has that value as its only level.
///
/// # Source
/// Max, Quantizing for Minimum Distortion, 1960; Lloyd, Least Squares Quantization in PCM, 1957/1982.
///
/// # Differences from the source
/// None.
#[derive(Debug, Clone)]
pub struct LloydMax {
    config: LloydMaxConfig,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

impl LloydMax {
    /// The format of a table.
    pub fn new(config: LloydMaxConfig) -> Self {
        Self { config }
    }

    fn levels(&self, values: &[f32], bits: u8) -> Vec<f32> {
        let fitted = match self.config.family {
            LloydMaxFamily::Gaussian => DensityFamily::Gaussian.fit(values),
            LloydMaxFamily::Laplace => DensityFamily::Laplace.fit(values),
            LloydMaxFamily::Auto => KolmogorovSmirnov::of(values).map(|test| *test.fitted()),
        };
        match fitted {
            Some(fitted) => fitted.levels(&UnitCodebook::optimum(fitted.family, bits).levels()),
            None => values.first().copied().into_iter().collect(),
        }
    }
}

impl NumberFormat for LloydMax {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let (bits, groups) = (checked_width(&WIDTHS, bits)?, samples.groups());
        let book = codebook(samples, bits, axis, |values| self.levels(values, bits))?;
        let families = if self.config.family == LloydMaxFamily::Auto { groups.div_ceil(32) } else { 0 };
        Ok(book.with_constants(2 * groups + families).into())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "lloyd-max",
    summary: "the best levels for a Gaussian or a Laplace density fitted to each group",
    source: "Max, Quantizing for Minimum Distortion, 1960; Lloyd, Least Squares Quantization in PCM, 1957/1982",
    defaults: defaults_of::<LloydMaxConfig>,
    build: |table| Ok(Box::new(LloydMax::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::draw;
    use crate::format::testing::{fitted, mean_square, quantized};

    fn format(family: LloydMaxFamily) -> LloydMax {
        LloydMax::new(LloydMaxConfig { family })
    }

    #[test]
    fn on_samples_the_error_is_that_of_methods_md() {
        for (family, rule, errors) in [
            (DensityFamily::Gaussian, LloydMaxFamily::Gaussian, [0.117_482, 0.034_548, 0.009_501]),
            (DensityFamily::Laplace, LloydMaxFamily::Laplace, [0.352_390, 0.108_952, 0.030_745]),
        ] {
            let values: Vec<f32> = draw(family, 200_000, 9).iter().map(|x| 0.02 * x + 0.3).collect();
            for (bits, expected) in (2..).zip(errors) {
                for rule in [rule, LloydMaxFamily::Auto] {
                    let codec = fitted(&format(rule), &values, bits);
                    assert_eq!(codec.levels(), 1 << bits);
                    let found = mean_square(&codec, &values) / (0.02 * 0.02);
                    assert!((found / expected - 1.0).abs() < 0.06, "{family:?} {bits}: {found}, {expected} expected");
                }
            }
        }
    }

    #[test]
    fn each_group_has_its_own_density() {
        let mut values: Vec<f32> = draw(DensityFamily::Gaussian, 4000, 1);
        values.extend(draw(DensityFamily::Laplace, 4000, 2).iter().map(|x| 5.0 + 3.0 * x));
        let samples = Samples::new(values, 2).unwrap();
        let Codec::Codebook(book) = format(LloydMaxFamily::Auto).fit(&samples, 2, Some(0)).unwrap() else {
            panic!("a table of levels is expected")
        };
        // 1.5104 and 2.5936: the outermost of four levels, of N(0, 1) and of the Laplace density of scale 1.
        assert!((book.table(0)[3] - 1.5104).abs() < 0.1, "{:?}", book.table(0));
        assert!((book.table(1)[3] - (5.0 + 3.0 * 2.5936)).abs() < 0.5, "{:?}", book.table(1));
        assert_eq!(book.constants(), 5);
    }

    #[test]
    fn constants_keep_their_value_and_other_widths_are_errors() {
        for family in [LloydMaxFamily::Gaussian, LloydMaxFamily::Laplace, LloydMaxFamily::Auto] {
            let values = vec![0.1, 0.1, 0.1, -7.0, -7.0, -7.0, 0.0, 0.0, 0.0];
            let samples = Samples::new(values.clone(), 3).unwrap();
            let codec = format(family).fit(&samples, 4, Some(0)).unwrap();
            assert_eq!(codec.fake_quantize_values(&values, [3, 3, 1, 1]).unwrap(), values);
            for bits in [0, 1, 9] {
                assert!(matches!(format(family).fit(&samples, bits, Some(0)), Err(QuantError::Bits(_))));
            }
        }
    }

    #[test]
    fn values_at_the_ends_of_f32_stay_finite() {
        let values = vec![-3.4e38, 3.4e38, 1.0, -1e-45];
        let codec = fitted(&format(LloydMaxFamily::Auto), &values, 8);
        assert!(quantized(&codec, &values).iter().all(|x| x.is_finite()));
    }
}
