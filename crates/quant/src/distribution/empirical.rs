//! Values that many codebooks are tried on.

use std::ops::Range;

use super::Fitted;

/// Ascending values in units of a density, with running sums: the error of a codebook costs a search a level, not a pass over
/// all values.
#[derive(Debug, Clone)]
pub(crate) struct Empirical {
    values: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Empirical {
    pub(crate) fn of_ascending(values: &[f32], fitted: &Fitted) -> Self {
        let values: Vec<f64> = values.iter().map(|&x| (f64::from(x) - fitted.location) / fitted.scale).collect();
        let running = |term: fn(f64) -> f64| {
            let sums = values.iter().scan(0.0, |sum, &x| {
                *sum += term(x);
                Some(*sum)
            });
            std::iter::once(0.0).chain(sums).collect()
        };
        let (sums, squares) = (running(|x| x), running(|x| x * x));
        Self { values, sums, squares }
    }

    /// The mean squared error when each value takes the nearest of the ascending levels.
    pub(crate) fn error(&self, levels: &[f64]) -> f64 {
        let mut error = 0.0;
        self.cells(levels, |level, cell| {
            let (sum, square) = (self.sum(&cell), self.squares[cell.end] - self.squares[cell.start]);
            error += square - 2.0 * level * sum + level * level * cell.len() as f64;
        });
        (error / self.values.len().max(1) as f64).max(0.0)
    }

    /// The mean of the values nearest to each level; the level itself where there are none.
    pub(crate) fn centroids(&self, levels: &[f64]) -> Vec<f64> {
        let mut centroids = Vec::with_capacity(levels.len());
        self.cells(levels, |level, cell| {
            centroids.push(if cell.is_empty() { level } else { self.sum(&cell) / cell.len() as f64 });
        });
        centroids
    }

    fn sum(&self, cell: &Range<usize>) -> f64 {
        self.sums[cell.end] - self.sums[cell.start]
    }

    fn cells(&self, levels: &[f64], mut visit: impl FnMut(f64, Range<usize>)) {
        let mut start = 0;
        for (index, &level) in levels.iter().enumerate() {
            let end = match levels.get(index + 1) {
                None => self.values.len(),
                Some(next) => {
                    let threshold = (level + next) / 2.0;
                    start + self.values[start..].partition_point(|x| *x <= threshold)
                }
            };
            visit(level, start..end);
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::{DensityFamily, draw};

    #[test]
    fn errors_and_centroids_are_those_of_the_definition() {
        let mut values = draw(DensityFamily::Laplace, 3000, 1);
        values.sort_by(f32::total_cmp);
        let fitted = Fitted { family: DensityFamily::Laplace, location: 0.25, scale: 2.0 };
        let sample = Empirical::of_ascending(&values, &fitted);
        let levels = [-1.0, -0.2, 0.1, 0.5, 40.0];
        let scaled: Vec<f64> = values.iter().map(|&x| (f64::from(x) - 0.25) / 2.0).collect();
        let nearest =
            |x: f64| (0..5).min_by(|&a, &b| f64::total_cmp(&(levels[a] - x).abs(), &(levels[b] - x).abs())).unwrap();
        let error = scaled.iter().map(|&x| (x - levels[nearest(x)]).powi(2)).sum::<f64>() / 3000.0;
        assert!((sample.error(&levels) / error - 1.0).abs() < 1e-12);
        for (index, centroid) in sample.centroids(&levels).into_iter().enumerate() {
            let cell: Vec<f64> = scaled.iter().copied().filter(|&x| nearest(x) == index).collect();
            let mean = cell.iter().sum::<f64>() / cell.len() as f64;
            assert!((centroid - if cell.is_empty() { 40.0 } else { mean }).abs() < 1e-12, "{index}");
        }
    }
}
