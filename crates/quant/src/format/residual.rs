//! A sum of uniform quantizations, each of what those before it have left over.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::uniform::{Uniform, UniformConfig};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`Residual`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResidualConfig {
    /// How many quantizations are added up.
    pub terms: usize,
    /// The grid of each term.
    pub grid: UniformConfig,
}

impl Default for ResidualConfig {
    fn default() -> Self {
        Self { terms: 2, grid: UniformConfig::default() }
    }
}

/// Residual expansion: `terms` uniform quantizations of `b` bits each.
///
/// ```text
/// R_1 = Q(W),   R_k = Q(W - R_1 - ... - R_(k-1)),   W^ = R_1 + ... + R_K;   each Q with a grid of its own
/// ```
/// With symmetric min-max grids of `n = 2^(b-1) - 1` positive codes each term divides the largest error by `2n`:
/// `|W - W^| <= max |W| / (2n)^K`, down to the accuracy of `f32`.
///
/// The storage is `terms * b` bits a value, and a scale for each term and group; `bits` of [`NumberFormat::fit`] is
/// `b`, [`Codec::bits`] the product. The network can run each term as a layer of `b` bits and add the outputs.
///
/// # Range
/// Largest magnitude of the first term plus those of the rests. In the default grids the value of a sum does not
/// decrease with its input (to the rounding of `f32`); with `range = "mse"` or affine grids a rest can leave its grid
/// and this is lost.
///
/// # Source
/// Yvinec et al., REx: Data-Free Residual Quantization Error Expansion, NeurIPS 2023, section 3.
///
/// # Differences from the source
/// Without the paper's group sparsity (terms beyond the first for some output channels alone) and its ensembling of
/// terms.
#[derive(Debug, Clone)]
pub struct Residual {
    terms: usize,
    grid: Uniform,
}

const MOST_TERMS: usize = 8;

impl Residual {
    /// The format of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] unless there are 1 to 8 terms, and as [`Uniform::new`].
    pub fn new(config: ResidualConfig) -> Result<Self, ConfigError> {
        if !(1..=MOST_TERMS).contains(&config.terms) {
            return Err(ConfigError::invalid("terms", config.terms, format!("write 1 to {MOST_TERMS}, such as 2")));
        }
        let grid = Uniform::new(config.grid).map_err(|error| error.within("grid"))?;
        Ok(Self { terms: config.terms, grid })
    }
}

impl NumberFormat for Residual {
    fn widths(&self) -> RangeInclusive<u8> {
        self.grid.widths()
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let mut rest = samples.clone();
        let mut terms = Vec::with_capacity(self.terms);
        for _ in 0..self.terms {
            let grid = self.grid.grid(&rest, bits, axis)?;
            let mut values = Vec::with_capacity(rest.values().len());
            for (group, from) in rest.iter().enumerate() {
                let mut part = from.to_vec();
                grid.map(group).fake_quantize(&mut part);
                values.extend(from.iter().zip(part).map(|(from, part)| from - part));
            }
            rest = Samples::new(values, samples.groups())?;
            terms.push(grid.into());
        }
        Ok(Codec::Sum(terms))
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "residual",
    summary: "a sum of uniform quantizations, each of the error of those before it",
    source: "Yvinec et al., REx: Data-Free Residual Quantization Error Expansion, NeurIPS 2023",
    defaults: defaults_of::<ResidualConfig>,
    build: |table| Ok(Box::new(Residual::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{fitted, mean_square, normal, quantized};
    use crate::format::uniform::{UniformRange, UniformScheme};

    fn residual(terms: usize) -> Residual {
        Residual::new(ResidualConfig { terms, ..Default::default() }).unwrap()
    }

    #[test]
    fn each_term_divides_the_largest_error_by_twice_the_largest_code() {
        let values = normal(2000);
        let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (bits, terms) in [(2u8, 4usize), (3, 4), (4, 3), (8, 2)] {
            let codes = 2.0 * f64::from((1u16 << (bits - 1)) - 1);
            for terms in 1..=terms {
                let output = quantized(&fitted(&residual(terms), &values, bits), &values);
                let errors = values.iter().zip(output).map(|(x, y)| f64::from((x - y).abs()));
                let error = errors.fold(0.0, f64::max);
                let bound = f64::from(largest) / codes.powi(terms as i32);
                assert!(error <= bound * (1.0 + 1e-3) + 1e-6, "{bits} bits, {terms} terms: {error} {bound}");
                assert!(error > bound * 0.8, "{bits} bits, {terms} terms: the bound is nearly met: {error} {bound}");
            }
        }
    }

    #[test]
    fn one_term_is_the_uniform_format_and_storage_is_terms_times_bits() {
        let values = normal(300);
        let uniform = fitted(&Uniform::new(UniformConfig::default()).unwrap(), &values, 4);
        assert_eq!(quantized(&fitted(&residual(1), &values, 4), &values), quantized(&uniform, &values));
        let codec = fitted(&residual(3), &values, 4);
        assert_eq!(codec.bits(), 12);
        assert_eq!(codec.storage_bits(300), 3 * uniform.storage_bits(300));
    }

    #[test]
    fn groups_have_rests_of_their_own() {
        let (small, large) = (normal(400), normal(400).iter().map(|x| 100.0 * x).collect::<Vec<f32>>());
        let both = Samples::new([small.clone(), large.clone()].concat(), 2).unwrap();
        let codec = residual(2).fit(&both, 4, Some(0)).unwrap();
        let output = codec.fake_quantize_values(both.values(), [2, 400, 1, 1]).unwrap();
        let apart = [small, large].map(|values| quantized(&fitted(&residual(2), &values, 4), &values)).concat();
        assert_eq!(output, apart);
    }

    #[test]
    fn other_grids_and_wrong_tables() {
        let grid = UniformConfig { scheme: UniformScheme::Affine, range: UniformRange::Mse, p: 2.0 };
        let affine = Residual::new(ResidualConfig { terms: 2, grid: grid.clone() }).unwrap();
        let values: Vec<f32> = normal(1000).into_iter().map(|x| x + 3.0).collect();
        let one = fitted(&Uniform::new(grid.clone()).unwrap(), &values, 3);
        assert!(mean_square(&fitted(&affine, &values, 3), &values) < 0.3 * mean_square(&one, &values));
        assert!(Residual::new(ResidualConfig { terms: 0, ..Default::default() }).is_err());
        let error = Residual::new(ResidualConfig { terms: 2, grid: UniformConfig { p: -1.0, ..grid } }).unwrap_err();
        assert!(error.to_string().contains("grid.p"), "{error}");
    }
}
