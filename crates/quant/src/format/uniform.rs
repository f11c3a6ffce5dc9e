//! Uniform integers as a number format, beside the others.

use std::ops::RangeInclusive;
use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::checked_width;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::grid::Grid;
use crate::quantizer::{BrecqAffine, BrecqAffineConfig, Quantizer, Symmetric, SymmetricConfig};
use crate::range::{MinMax, MinMaxConfig, Mse, MseConfig, RangeEstimator};
use crate::samples::Samples;

/// Where zero lies among the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniformScheme {
    /// In the middle, with as many codes below as above: `2^b - 1` levels.
    Symmetric,
    /// At an integral zero point: `2^b` levels.
    Affine,
}

/// Which range the codes span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniformRange {
    /// From the smallest to the largest value.
    MinMax,
    /// The shrunk min-max range of least mean `|x - x^|^p`.
    Mse,
}

/// Table of [`Uniform`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniformConfig {
    /// Where zero lies.
    pub scheme: UniformScheme,
    /// How the range of each group is chosen.
    pub range: UniformRange,
    /// Exponent of the error that [`UniformRange::Mse`] minimises.
    pub p: f64,
}

impl Default for UniformConfig {
    fn default() -> Self {
        Self { scheme: UniformScheme::Symmetric, range: UniformRange::MinMax, p: 2.0 }
    }
}

/// Equidistant levels, so that uniform integers stand in the same tables as the other formats.
///
/// ```text
/// symmetric:  delta = max |x| / (2^(b-1) - 1),   x^ = delta * clamp(round(x / delta))
/// affine:     delta = (max - min) / (2^b - 1),   x^ = delta * (clamp(round(x / delta) + zp) - zp),
///             zp = round(-min / delta)
/// ```
/// The quantizers `symmetric` and `brecq-affine` with the range estimators `min-max` and `mse` (80 candidates, step
/// 0.01).
///
/// # Range
/// As the range rule says. Symmetric levels hold zero exactly; affine ones do where the range holds zero.
///
/// # Source
/// Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR
/// 2018; the search: Li et al., BRECQ, ICLR 2021.
///
/// # Differences from the source
/// The smallest symmetric step is `1e-30`, where the quantizer `symmetric` has `1e-8`: rests of rests are small.
#[derive(Debug, Clone)]
pub struct Uniform {
    quantizer: Arc<dyn Quantizer>,
    range: Arc<dyn RangeEstimator>,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

impl Uniform {
    /// The format of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an exponent outside `(0, 16]`.
    pub fn new(config: UniformConfig) -> Result<Self, ConfigError> {
        let quantizer: Arc<dyn Quantizer> = match config.scheme {
            UniformScheme::Symmetric => {
                Arc::new(Symmetric::new(&SymmetricConfig { min_step: 1e-30, ..Default::default() })?)
            }
            UniformScheme::Affine => Arc::new(BrecqAffine::new(&BrecqAffineConfig::default())?),
        };
        let mse = Mse::new(MseConfig { p: config.p, ..Default::default() })?;
        let range: Arc<dyn RangeEstimator> = match config.range {
            UniformRange::MinMax => Arc::new(MinMax::new(MinMaxConfig::default())),
            UniformRange::Mse => Arc::new(mse),
        };
        Ok(Self { quantizer, range })
    }

    /// The grid of these groups of values.
    ///
    /// # Errors
    /// [`QuantError::Bits`]; [`QuantError::Range`] for values so large that a level would be infinite.
    pub(super) fn grid(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Grid, QuantError> {
        let bits = checked_width(&WIDTHS, bits)?;
        let mut observer = self.range.observer(self.quantizer.clone(), bits);
        observer.observe(samples)?;
        let ranges = observer.ranges()?;
        let grid = self.quantizer.grid(&ranges, bits, axis)?;
        for (group, range) in ranges.into_iter().enumerate() {
            let (low, high) = grid.map(group).representable();
            if !(low.is_finite() && high.is_finite()) {
                return Err(range.refused());
            }
        }
        Ok(grid)
    }
}

impl NumberFormat for Uniform {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        Ok(self.grid(samples, bits, axis)?.into())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "uniform",
    summary: "uniform integers, symmetric or affine, over the min-max or the MSE-optimal range",
    source: "Jacob et al., CVPR 2018; Li et al., BRECQ, ICLR 2021",
    defaults: defaults_of::<UniformConfig>,
    build: |table| Ok(Box::new(Uniform::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, mean_square, normal, quantized};

    fn uniform(scheme: UniformScheme, range: UniformRange) -> Uniform {
        Uniform::new(UniformConfig { scheme, range, ..Default::default() }).unwrap()
    }

    #[test]
    fn levels_are_those_of_the_formulas() {
        let values = [-3.5, 1.0, 0.24, 0.26];
        let symmetric = fitted(&uniform(UniformScheme::Symmetric, UniformRange::MinMax), &values, 4);
        assert_eq!(quantized(&symmetric, &values), [-3.5, 1.0, 0.0, 0.5]);
        let values = [-1.0, 2.75, 0.12, 0.13];
        let affine = fitted(&uniform(UniformScheme::Affine, UniformRange::MinMax), &values, 4);
        assert_eq!(quantized(&affine, &values), [-1.0, 2.75, 0.0, 0.25]);
    }

    #[test]
    fn the_searched_range_errs_less() {
        for scheme in [UniformScheme::Symmetric, UniformScheme::Affine] {
            for values in [normal(20_000), laplace(20_000)] {
                let [full, searched] = [UniformRange::MinMax, UniformRange::Mse]
                    .map(|range| mean_square(&fitted(&uniform(scheme, range), &values, 3), &values));
                assert!(searched < 0.8 * full, "{scheme:?}: {searched} {full}");
            }
        }
    }

    /// The least error of 15 equidistant levels about zero on N(0, 1), by integrating the normal density over each cell
    /// (scipy).
    #[test]
    fn a_gaussian_in_four_bits_has_its_theoretical_error() {
        let values = normal(50_000);
        let error = mean_square(&fitted(&uniform(UniformScheme::Symmetric, UniformRange::Mse), &values, 4), &values);
        assert!((error / 0.0128894 - 1.0).abs() < 0.05, "{error}");
    }

    #[test]
    fn an_exponent_of_zero_is_refused() {
        assert!(Uniform::new(UniformConfig { p: 0.0, ..Default::default() }).is_err());
    }
}
