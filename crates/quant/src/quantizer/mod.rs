//! Plugin family: from a range to a grid.

mod brecq_affine;
mod symmetric;
mod zeroq_affine;

use std::fmt::Debug;

use blindfold_zoo::{ConfigError, Entry};

use crate::affine::Affine;
use crate::error::QuantError;
use crate::grid::Grid;
use crate::interval::Range;

pub use brecq_affine::{BrecqAffine, BrecqAffineConfig};
pub use symmetric::{Symmetric, SymmetricConfig};
pub use zeroq_affine::{ZeroqAffine, ZeroqAffineConfig};

/// Makes, from the range of a group of values and a number of bits, the map to integer codes.
pub trait Quantizer: Debug + Send + Sync {
    /// The map of one group. Arithmetic and codes must depend on `bits` alone, not on the range.
    ///
    /// # Errors
    /// [`QuantError::Bits`] and [`QuantError::Range`].
    fn map(&self, range: Range, bits: u8) -> Result<Affine, QuantError>;

    /// The grid of a tensor whose groups along `axis` (or whose whole) have these ranges.
    ///
    /// # Errors
    /// As [`Self::map`] and [`Grid::new`].
    fn grid(&self, ranges: &[Range], bits: u8, axis: Option<usize>) -> Result<Grid, QuantError> {
        let maps: Vec<Affine> = ranges.iter().map(|range| self.map(*range, bits)).collect::<Result<_, _>>()?;
        Grid::new(&maps, bits, axis)
    }
}

/// All quantizers of this crate.
pub const BUILTIN: &[Entry<dyn Quantizer>] = &[zeroq_affine::ENTRY, brecq_affine::ENTRY, symmetric::ENTRY];

/// A width below which a range counts as one point: positive, finite and not lost in `f32`.
fn smallest(key: &str, value: f64) -> Result<f32, ConfigError> {
    if (1e-30..1e30).contains(&value) {
        Ok(value as f32)
    } else {
        Err(ConfigError::invalid(key, value, "write a positive number such as 1e-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;

    fn each(mut check: impl FnMut(&dyn Quantizer, u8, &str)) {
        let families = Families::builtin();
        for entry in families.quantizers.entries() {
            let quantizer = (entry.build)(toml::Table::new()).unwrap();
            for bits in 2..=8 {
                check(quantizer.as_ref(), bits, entry.name);
            }
        }
    }

    const RANGES: [(f32, f32); 6] = [(-1.0, 1.0), (0.0, 6.0), (-0.37, 2.11), (-3.0, 0.0), (0.5, 0.75), (-1e-6, 3e5)];

    fn points(range: Range) -> Vec<f32> {
        let (low, width) = (f64::from(range.min()), f64::from(range.max()) - f64::from(range.min()));
        (0..=1000).map(|index| (low + width * f64::from(index) / 1000.0) as f32).collect()
    }

    #[test]
    fn quantizing_twice_is_quantizing_once_and_the_order_is_kept() {
        each(|quantizer, bits, name| {
            for (min, max) in RANGES {
                let range = Range::new(min, max).unwrap();
                let map = quantizer.map(range, bits).unwrap();
                let once: Vec<f32> = points(range).iter().map(|&x| map.value(map.code(x))).collect();
                assert!(once.iter().all(|&x| map.value(map.code(x)) == x), "{name} {bits} [{min}, {max}]");
                assert!(once.is_sorted(), "{name} {bits} [{min}, {max}]");
                let mut levels = once;
                levels.dedup();
                assert!(levels.len() <= 1 << bits, "{name} {bits}: {} levels", levels.len());
            }
        });
    }

    #[test]
    fn inside_the_range_the_error_is_at_most_one_step_and_half_a_step_where_no_code_is_clamped() {
        each(|quantizer, bits, name| {
            for (min, max) in RANGES {
                let range = Range::new(min, max).unwrap();
                let map = quantizer.map(range, bits).unwrap();
                let slack = 4e-7 * max.abs().max(min.abs());
                let (low, high) = map.representable();
                for x in points(range) {
                    let error = (x - map.value(map.code(x))).abs();
                    assert!(error <= map.step() * 1.0001 + slack, "{name} {bits} [{min}, {max}] at {x}: {error}");
                    if (low..=high).contains(&x) {
                        assert!(error <= map.step() * 0.5001 + slack, "{name} {bits} [{min}, {max}] at {x}: {error}");
                    }
                }
            }
        });
    }

    #[test]
    fn the_error_of_uniform_values_is_a_step_over_the_square_root_of_twelve() {
        each(|quantizer, bits, name| {
            let range = Range::new(-1.0, 1.0).unwrap();
            let map = quantizer.map(range, bits).unwrap();
            let inside = 1.0 - 2.0 * f64::from(map.step());
            let count = 200_000;
            let sum: f64 = (0..count)
                .map(|index| {
                    let x = ((f64::from(index) + 0.5) / f64::from(count) * 2.0 - 1.0) * inside.max(0.0) * 0.999;
                    (x - f64::from(map.value(map.code(x as f32)))).powi(2)
                })
                .sum();
            if bits >= 4 {
                let ratio = (sum / f64::from(count)).sqrt() / f64::from(map.step()) * 12f64.sqrt();
                assert!((ratio - 1.0).abs() < 0.06, "{name} {bits}: {ratio}");
            }
        });
    }

    #[test]
    fn a_constant_tensor_keeps_its_value() {
        each(|quantizer, bits, name| {
            for constant in [0.0f32, 1.0, -2.5, 1e-3] {
                let map = quantizer.map(Range::new(constant, constant).unwrap(), bits).unwrap();
                let error = (map.value(map.code(constant)) - constant).abs();
                assert!(error <= 1e-6 * constant.abs(), "{name} {bits}: {constant} {error}");
            }
        });
    }

    #[test]
    fn other_numbers_of_bits_are_errors() {
        let families = Families::builtin();
        for entry in families.quantizers.entries() {
            let quantizer = (entry.build)(toml::Table::new()).unwrap();
            for bits in [0, 1, 9, 255] {
                assert!(matches!(quantizer.map(Range::new(0.0, 1.0).unwrap(), bits), Err(QuantError::Bits(_))));
            }
        }
    }
}
