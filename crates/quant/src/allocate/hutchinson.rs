//! The trace of a matrix that is known by its products alone.

use blindfold_zoo::Stream;
use rand::RngExt;

use crate::error::QuantError;

/// A trace with how certain it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceEstimate {
    /// The mean over the vectors.
    pub trace: f64,
    /// The standard error of that mean; 0 for one vector.
    pub standard_error: f64,
}

/// The trace of a symmetric matrix of `size` rows, from its products with `vectors` random vectors.
///
/// ```text
/// tr H ~ (1/m) sum_k v_k . (H v_k),    v_k of independent entries, +1 or -1 with probability 1/2
/// ```
/// Unbiased, with the variance `(2/m) sum_(i != j) H_ij^2`: exact for a diagonal matrix.
///
/// # Errors
/// Those of `product`.
///
/// # Source
/// Hutchinson, A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines, 1989.
pub fn hutchinson_trace(
    size: usize,
    vectors: usize,
    random: &mut Stream,
    mut product: impl FnMut(&[f32]) -> Result<Vec<f64>, QuantError>,
) -> Result<TraceEstimate, QuantError> {
    let mut estimates = Vec::with_capacity(vectors);
    for _ in 0..vectors.max(1) {
        let vector: Vec<f32> = (0..size).map(|_| if random.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let product = product(&vector)?;
        estimates.push(vector.iter().zip(product).map(|(&v, p)| f64::from(v) * p).sum::<f64>());
    }
    let count = estimates.len() as f64;
    let trace = estimates.iter().sum::<f64>() / count;
    let squares: f64 = estimates.iter().map(|estimate| (estimate - trace).powi(2)).sum();
    let standard_error = (squares / (count - 1.0).max(1.0) / count).sqrt();
    Ok(TraceEstimate { trace, standard_error })
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;

    fn times(matrix: &[Vec<f64>], vector: &[f32]) -> Vec<f64> {
        matrix.iter().map(|row| row.iter().zip(vector).map(|(a, &v)| a * f64::from(v)).sum()).collect()
    }

    #[test]
    fn of_a_diagonal_matrix_one_vector_is_enough() {
        let diagonal = [1.5, -2.0, 7.25, 0.0];
        let product = |vector: &[f32]| Ok(vector.iter().zip(diagonal).map(|(&v, d)| f64::from(v) * d).collect());
        let found = hutchinson_trace(4, 1, &mut stream(3, "test"), product).unwrap();
        assert_eq!(found, TraceEstimate { trace: 6.75, standard_error: 0.0 });
    }

    #[test]
    fn of_a_full_matrix_mean_and_error_are_those_of_the_formula() {
        let size = 8;
        let entry = |i: usize, j: usize| if i == j { 1.0 + i as f64 } else { 1.0 / (1 + i + j) as f64 };
        let matrix: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| entry(i, j)).collect()).collect();
        let places = (0..size).flat_map(|i| (0..size).map(move |j| (i, j)));
        let off: f64 = places.filter(|(i, j)| i != j).map(|(i, j)| entry(i, j).powi(2)).sum();
        let vectors = 4000;
        let product = |vector: &[f32]| Ok(times(&matrix, vector));
        let found = hutchinson_trace(size, vectors, &mut stream(3, "test"), product).unwrap();
        let expected = (2.0 * off / vectors as f64).sqrt();
        assert!((found.trace - 36.0).abs() < 4.0 * expected, "{found:?}");
        assert!((found.standard_error / expected - 1.0).abs() < 0.1, "{found:?} {expected}");
    }
}
