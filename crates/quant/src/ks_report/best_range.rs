//! The range of least error, both of whose ends are free.

use crate::deviation::Counted;
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;

/// Shares of the whole range that the search begins with.
const SHARES: usize = 50;
/// Cells of the whole range whose borders are tried as ends, as the error has more than one valley.
const MESH: usize = 24;
/// The first move of an end, and that at which the search stops, as shares of the range.
const MOVES: (f32, f32) = (0.125, 0.001);

/// The range whose grid has the smallest mean squared error on some finite values, as far as a descent finds it: from the best of
/// a coarse mesh and of shares of the whole range on, it moves one end or both by ever smaller steps as long as that helps.
///
/// # Errors
/// Those of the quantizer; [`QuantError::Empty`] without values.
pub(super) fn best_range(values: &[f32], quantizer: &dyn Quantizer, bits: u8) -> Result<Range, QuantError> {
    let whole = Range::of(values)?;
    let counted = Counted::new(values);
    let error = |range: Range, limit: f64| -> Result<f64, QuantError> {
        Ok(counted.deviation(&quantizer.map(range, bits)?, 2.0, limit))
    };
    let mut best = (whole, error(whole, f64::INFINITY)?);
    let found = |range: Range, best: &mut (Range, f64)| -> Result<bool, QuantError> {
        let error = error(range, best.1)?;
        let better = error < best.1;
        if better {
            *best = (range, error);
        }
        Ok(better)
    };
    for share in (1..SHARES).rev() {
        found(whole.scaled(share as f32 / SHARES as f32), &mut best)?;
    }
    let place = |cell: usize| whole.min() + whole.width() * (cell as f32 / MESH as f32);
    for (low, high) in (0..MESH).flat_map(|low| (low + 1..=MESH).map(move |high| (low, high))) {
        if let Ok(range) = Range::new(place(low), place(high)) {
            found(range, &mut best)?;
        }
    }
    let mut part = MOVES.0;
    while part >= MOVES.1 {
        let mut moved = false;
        for [low, high] in [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 1.0]] {
            let (range, step) = (best.0, part * best.0.width());
            if let Ok(range) = Range::new(range.min() + low * step, range.max() + high * step) {
                moved |= found(range, &mut best)?;
            }
        }
        if !moved {
            part /= 2.0;
        }
    }
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::{DensityFamily, draw};
    use crate::families::Families;

    fn normal(count: usize) -> Vec<f32> {
        draw(DensityFamily::Gaussian, count, 3)
    }

    fn quantizer(name: &str) -> Box<dyn Quantizer> {
        Families::builtin().quantizers.build(name, toml::Table::new()).unwrap()
    }

    fn error(values: &[f32], quantizer: &dyn Quantizer, bits: u8, range: Range) -> f64 {
        let map = quantizer.map(range, bits).unwrap();
        values.iter().map(|&x| f64::from(x - map.value(map.code(x))).powi(2)).sum::<f64>() / values.len() as f64
    }

    /// The least of `int (x - x^)^2 f dx` over steps, integrated numerically (NumPy): evenly spaced levels of a Gaussian, one of them at
    /// zero. Max (Quantizing for Minimum Distortion, 1960) has 0.1188, 0.03744, 0.01154 and 0.003495 without that level.
    #[test]
    fn of_a_gaussian_it_has_the_error_of_the_best_step() {
        let values = normal(400_000);
        for (bits, least) in [(2u8, 0.149432), (3, 0.040641), (4, 0.011866), (5, 0.003527)] {
            let quantizer = quantizer("brecq-affine");
            let found =
                error(&values, quantizer.as_ref(), bits, best_range(&values, quantizer.as_ref(), bits).unwrap());
            assert!((found / least - 1.0f64).abs() < 0.02, "{bits}: {found} {least}");
        }
    }

    #[test]
    fn no_range_of_a_fine_mesh_is_clearly_better() {
        let mut skewed: Vec<f32> = normal(300).into_iter().map(|x| x.exp() - 0.5).collect();
        skewed.push(-4.0);
        for values in [skewed, normal(200)] {
            for name in ["zeroq-affine", "brecq-affine", "symmetric"] {
                let (quantizer, whole) = (quantizer(name), Range::of(&values).unwrap());
                let found = best_range(&values, quantizer.as_ref(), 3).unwrap();
                let mesh =
                    (0..80).flat_map(|low| (low + 1..=80).map(move |high| (low as f32 / 80.0, high as f32 / 80.0)));
                let least = mesh
                    .map(|(low, high)| {
                        let place = |share: f32| whole.min() + share * whole.width();
                        error(&values, quantizer.as_ref(), 3, Range::new(place(low), place(high)).unwrap())
                    })
                    .fold(f64::INFINITY, f64::min);
                let found = error(&values, quantizer.as_ref(), 3, found);
                assert!(found <= least * 1.05, "{name}: {found} {least}");
            }
        }
    }

    #[test]
    fn one_outlier_does_not_decide() {
        let mut values = normal(20_000);
        values.push(40.0);
        let quantizer = quantizer("brecq-affine");
        let range = best_range(&values, quantizer.as_ref(), 4).unwrap();
        let error = |range: Range| error(&values, quantizer.as_ref(), 4, range);
        let whole = Range::of(&values).unwrap();
        let alike = (1..=100).map(|share| error(whole.scaled(share as f32 / 100.0))).fold(f64::INFINITY, f64::min);
        assert!(error(range) < 0.1 && alike > 0.12, "{range:?}: {}, {alike} with both ends shrunk alike", error(range));
        assert_eq!(best_range(&[2.5; 7], quantizer.as_ref(), 4).unwrap(), Range::new(2.5, 2.5).unwrap());
    }
}
