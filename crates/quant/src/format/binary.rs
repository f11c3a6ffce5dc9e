//! Two levels.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::{checked_width, codebook, mean, mirrored};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`Binary`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryConfig {
    /// The levels lie about the mean of the group instead of about zero.
    pub center: bool,
}

/// The sign, with a magnitude a group.
///
/// ```text
/// levels = mu -+ alpha,   alpha = mean |w - mu|,   mu = 0, with `center` mean w
/// ```
/// `alpha` minimises `sum (w - alpha sign w)^2`, whose derivative is `2 sum (alpha - |w|)`. Zero (with `center` the
/// mean) takes the lower level; only a group of zeros keeps them.
///
/// # Range
/// `[mu - alpha, mu + alpha]`; what lies beyond is clipped.
///
/// # Source
/// Rastegari et al., XNOR-Net, ECCV 2016, equation 6.
///
/// # Differences from the source
/// None for `center = false`; the paper centres weights in its training code alone.
#[derive(Debug, Clone)]
pub struct Binary {
    center: bool,
}

const WIDTHS: RangeInclusive<u8> = 1..=1;

impl Binary {
    /// The format of a table.
    pub fn new(config: BinaryConfig) -> Self {
        Self { center: config.center }
    }

    fn table(&self, values: &[f32]) -> Vec<f32> {
        let centre = if self.center { mean(values.iter().map(|&x| f64::from(x))) } else { 0.0 };
        let magnitude = mean(values.iter().map(|&x| (f64::from(x) - centre).abs()));
        mirrored(std::iter::once(magnitude), centre)
    }
}

impl NumberFormat for Binary {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let book = codebook(samples, checked_width(&WIDTHS, bits)?, axis, |values| self.table(values))?;
        let constants = if self.center { 2 } else { 1 };
        Ok(book.with_constants(constants * samples.groups()).into())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "binary",
    summary: "the sign times the mean magnitude of the group",
    source: "Rastegari et al., XNOR-Net, ECCV 2016, equation 6",
    defaults: defaults_of::<BinaryConfig>,
    build: |table| Ok(Box::new(Binary::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, laplace, mean_square, normal, quantized, table};

    fn codec(center: bool, values: &[f32]) -> Codec {
        fitted(&Binary::new(BinaryConfig { center }), values, 1)
    }

    #[test]
    fn the_derivative_of_the_error_is_zero_at_the_scale() {
        for values in [normal(1000), laplace(1000), vec![0.5, -3.0, 0.0]] {
            let alpha = f64::from(table(&codec(false, &values))[1]);
            let error = |alpha: f64| -> f64 {
                values.iter().map(|&x| (f64::from(x).abs() - alpha).powi(2)).sum::<f64>() / values.len() as f64
            };
            let slope = (error(alpha + 1e-3) - error(alpha - 1e-3)) / 2e-3;
            assert!(slope.abs() < 1e-6, "{slope}");
            assert!(error(alpha * 1.01) > error(alpha) && error(alpha * 0.99) > error(alpha));
            assert!((mean_square(&codec(false, &values), &values) - error(alpha)).abs() < 1e-6);
        }
    }

    /// `E (x - sqrt(2 / pi) sign x)^2 = 1 - 2 / pi` for N(0, 1).
    #[test]
    fn a_gaussian_has_its_theoretical_error() {
        let values = normal(100_000);
        let error = mean_square(&codec(false, &values), &values);
        assert!((error / (1.0 - std::f64::consts::FRAC_2_PI) - 1.0).abs() < 0.02, "{error}");
    }

    #[test]
    fn levels_lie_about_zero_or_the_mean() {
        let values = [1.0, 2.0, 6.0];
        assert_eq!(table(&codec(false, &values)), [-3.0, 3.0]);
        assert_eq!(table(&codec(true, &values)), [1.0, 5.0]);
        assert_eq!(quantized(&codec(true, &values), &values), [1.0, 1.0, 5.0]);
        assert_eq!(table(&codec(false, &[0.0; 3])), [0.0]);
        assert_eq!(table(&codec(true, &[7.5; 3])), [7.5]);
        assert_eq!(codec(true, &values).storage_bits(3), 3 + 64);
    }
}
