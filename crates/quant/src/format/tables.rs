//! What the formats with tables of levels share.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use crate::codec::Codebook;
use crate::error::QuantError;
use crate::samples::Samples;

/// `bits` if the format exists in that width.
pub(super) fn checked_width(widths: &RangeInclusive<u8>, bits: u8) -> Result<u8, QuantError> {
    if widths.contains(&bits) { Ok(bits) } else { Err(QuantError::Bits(bits)) }
}

/// A codebook of one table for each group, made from the group's values.
pub(super) fn codebook(
    samples: &Samples,
    bits: u8,
    axis: Option<usize>,
    table: impl Fn(&[f32]) -> Vec<f32> + Sync,
) -> Result<Codebook, QuantError> {
    let tables: Vec<Vec<f32>> =
        (0..samples.groups()).into_par_iter().map(|group| table(samples.group(group))).collect();
    Codebook::new(tables, bits, axis)
}

/// The levels `centre - m` and `centre + m` for each magnitude `m`.
///
/// Around zero, magnitudes below the normal numbers of `f32` become zero: between neighbours there the midpoint is not
/// a number of its own, and devices disagree on them.
pub(super) fn mirrored(magnitudes: impl Iterator<Item = f64>, centre: f64) -> Vec<f32> {
    let level = |x: f64| {
        let level = x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        if level.abs() < f32::MIN_POSITIVE { 0.0 } else { level }
    };
    magnitudes.flat_map(|magnitude| [level(centre - magnitude), level(centre + magnitude)]).collect()
}

/// The mean in `f64`; 0 for no values.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrored_levels_are_finite_and_normal() {
        assert_eq!(mirrored([0.0, 2.0].into_iter(), 1.0), [1.0, 1.0, -1.0, 3.0]);
        assert_eq!(mirrored([1e39].into_iter(), 0.0), [f32::MIN, f32::MAX]);
        assert_eq!(mirrored([1e-40].into_iter(), 0.0), [0.0, 0.0]);
    }

    #[test]
    fn groups_have_tables_of_their_own() {
        let samples = Samples::new(vec![1.0, 3.0, -5.0, -7.0], 2).unwrap();
        let book = codebook(&samples, 1, Some(0), |values| vec![mean(values.iter().map(|&x| f64::from(x))) as f32]);
        let book = book.unwrap();
        assert_eq!((book.table(0), book.table(1)), ([2.0].as_slice(), [-6.0].as_slice()));
        assert!(matches!(checked_width(&(2..=8), 1), Err(QuantError::Bits(1))));
    }
}
