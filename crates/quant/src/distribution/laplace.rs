//! The Laplace density.

use super::Density;

/// `f(x) = e^-|x| / 2`.
///
/// ```text
/// tail = e^-x / 2,   tail_mean = (x + 1) e^-x / 2,   tail_square = (x^2 + 2x + 2) e^-x / 2
/// fit: median, and mean absolute deviation from it
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Laplace;

/// From here on `e^-x` is 0 in `f64`.
const END: f64 = 746.0;

impl Density for Laplace {
    fn density(&self, x: f64) -> f64 {
        (-x.abs()).exp() / 2.0
    }

    fn tail(&self, x: f64) -> f64 {
        (-x).exp() / 2.0
    }

    fn tail_mean(&self, x: f64) -> f64 {
        if x > END { 0.0 } else { (x + 1.0) * self.tail(x) }
    }

    fn tail_square(&self, x: f64) -> f64 {
        if x > END { 0.0 } else { (x * (x + 2.0) + 2.0) * self.tail(x) }
    }

    fn companding(&self, share: f64, limit: f64) -> f64 {
        -3.0 * (share * (-limit / 3.0).exp_m1()).ln_1p()
    }

    fn fit(&self, values: &[f32]) -> (f64, f64) {
        let median = median(values);
        let sum: f64 = values.iter().map(|&x| (f64::from(x) - median).abs()).sum();
        (median, sum / values.len() as f64)
    }
}

/// The middle value, or the mean of the two in the middle, of at least one.
fn median(values: &[f32]) -> f64 {
    let mut values = values.to_vec();
    let (middle, is_odd) = (values.len() / 2, !values.len().is_multiple_of(2));
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let lower = if is_odd { upper } else { below.iter().copied().fold(f32::NEG_INFINITY, f32::max) };
    (f64::from(lower) + f64::from(upper)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_formulas() {
        let e = 1f64.exp();
        assert!((Laplace.tail(1.0) - 0.5 / e).abs() < 1e-16);
        assert!((Laplace.tail_mean(1.0) - 1.0 / e).abs() < 1e-16);
        assert!((Laplace.tail_square(1.0) - 2.5 / e).abs() < 1e-15);
        assert_eq!((Laplace.tail_mean(f64::INFINITY), Laplace.tail_square(f64::INFINITY)), (0.0, 0.0));
    }

    #[test]
    fn the_median_is_that_of_sorted_values() {
        for (values, expected) in [(vec![3.0], 3.0), (vec![5.0, 1.0, 2.0], 2.0), (vec![5.0, 1.0, 2.0, 3.0], 2.5)] {
            assert_eq!(median(&values), expected);
        }
    }
}
