//! Upper bounds of operator norms.

use rayon::prelude::*;

use super::linear_map::LinearMap;

/// Squarings of the Gram matrix, and the side up to which there are so many; larger ones have fewer.
const SQUARINGS: [usize; 2] = [5, 3];
const SMALL: usize = 128;

/// An upper bound of the largest singular value of a row-major matrix, within a few percent of it.
///
/// With `G` the smaller of `A A^T` and `A^T A` and `m` its side:
///
/// ```text
/// |A|_2 <= min(|G^(2^s)|_F^(1/2^(s+1)), sqrt(|A|_1 |A|_inf))
/// ```
///
/// The first is the Schatten norm of order `2^(s+2)` of `A`, at most `m^(1/2^(s+2))` times too large. Both hold for
/// every matrix, unlike what power iteration gives, which approaches the norm from below. Rounding in `f64` is added.
///
/// # Source
/// Horn, Johnson: Matrix Analysis, 2nd ed. 2012, 5.6 (the norms) and 7.4.7 (Schatten norms).
pub(super) fn spectral_bound(matrix: &[f64], rows: usize, columns: usize) -> f64 {
    let size = matrix.iter().map(|x| x * x).sum::<f64>().sqrt();
    if size == 0.0 {
        return 0.0;
    }
    let mut column_sums = vec![0.0f64; columns];
    let mut row_sum = 0.0f64;
    for row in matrix.chunks_exact(columns) {
        row_sum = row_sum.max(row.iter().map(|x| x.abs()).sum());
        column_sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.abs());
    }
    let by_sums = (row_sum * column_sums.iter().fold(0.0f64, |most, &sum| most.max(sum))).sqrt();
    let wide: Vec<f64> = if rows <= columns {
        matrix.iter().map(|x| x / size).collect()
    } else {
        (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column] / size)).collect()
    };
    let side = rows.min(columns);
    let mut gram = products_of_rows(&wide, side);
    let squarings = SQUARINGS[usize::from(side > SMALL)];
    for _ in 0..squarings {
        gram = products_of_rows(&gram, side);
    }
    let trace_norm = gram.iter().map(|x| x * x).sum::<f64>();
    let by_powers = size * trace_norm.powf(0.25 / 2f64.powi(squarings as i32));
    let slack = 1e-9 + 16.0 * f64::EPSILON * (side * (rows + columns)) as f64;
    by_powers.min(by_sums).min(size) * (1.0 + slack)
}

/// `R R^T` for the rows `R` of a matrix with that many of them.
fn products_of_rows(matrix: &[f64], rows: usize) -> Vec<f64> {
    let columns = matrix.len() / rows;
    let row = |index: usize| &matrix[index * columns..(index + 1) * columns];
    let mut gram = vec![0.0; rows * rows];
    gram.par_chunks_exact_mut(rows).enumerate().for_each(|(i, line)| {
        for (j, value) in line[..=i].iter_mut().enumerate() {
            *value = dot(row(i), row(j));
        }
    });
    for i in 0..rows {
        for j in i + 1..rows {
            gram[i * rows + j] = gram[j * rows + i];
        }
    }
    gram
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_rows, a_rest) = a.as_chunks::<LANES>();
    let (b_rows, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for (a, b) in a_rows.iter().zip(b_rows) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// How far a linear map can stretch the channel vectors of its input, measured in the Euclidean norm.
#[derive(Debug, Clone)]
pub(super) struct Norms {
    /// For each kernel place, a bound of the norm of the matrix there.
    pub(super) taps: Vec<f64>,
    /// A bound of the norm of all those matrices side by side.
    pub(super) whole: f64,
    /// For each output channel and kernel place, the norm of the row there.
    pub(super) rows: Vec<f64>,
}

impl Norms {
    /// The norms of a map; of its groups the largest.
    pub(super) fn of(map: &LinearMap) -> Self {
        let geometry = map.geometry;
        let (taps, terms, inputs) = (geometry.taps(), geometry.terms(), geometry.group_in);
        let outputs = geometry.out / geometry.groups;
        let group = |index: usize| &map.weight[index * outputs * terms..(index + 1) * outputs * terms];
        let at = |matrix: &[f64], tap: usize| matrix.iter().skip(tap).step_by(taps).copied().collect::<Vec<f64>>();
        let most =
            |bound: &dyn Fn(&[f64]) -> f64| (0..geometry.groups).map(|index| bound(group(index))).fold(0.0, f64::max);
        let rows = map.weight.chunks_exact(terms).flat_map(|row| {
            (0..taps).map(move |tap| row.iter().skip(tap).step_by(taps).map(|w| w * w).sum::<f64>().sqrt() * OUTWARD)
        });
        Self {
            taps: (0..taps).map(|tap| most(&|matrix| spectral_bound(&at(matrix, tap), outputs, inputs))).collect(),
            whole: most(&|matrix| spectral_bound(matrix, outputs, terms)),
            rows: rows.collect(),
        }
    }
}

/// More than the rounding of a sum of squares in `f64`, and of its root.
pub(super) const OUTWARD: f64 = 1.0 + 1e-9;

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::linear_map::Geometry;
    use super::*;

    #[test]
    fn known_norms_are_bounded_from_above_and_closely() {
        // diag(3, 2, 1), twice the identity, and the all-ones matrix of 4 x 6 with norm sqrt(24).
        let diagonal = [3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0];
        let identity: Vec<f64> = (0..64).map(|index| if index % 9 == 0 { 2.0 } else { 0.0 }).collect();
        for (matrix, rows, columns, norm) in [
            (&diagonal[..], 3, 3, 3.0),
            (&identity[..], 8, 8, 2.0),
            (&[1.0; 24][..], 4, 6, 24f64.sqrt()),
            (&[1.0; 24][..], 6, 4, 24f64.sqrt()),
            (&[0.0; 6][..], 2, 3, 0.0),
        ] {
            let bound = spectral_bound(matrix, rows, columns);
            assert!(bound >= norm && bound <= norm * 1.001, "{rows} x {columns}: {bound} {norm}");
        }
    }

    #[test]
    fn no_vector_is_stretched_by_more() {
        let mut random = blindfold_zoo::stream(1, "matrices");
        for (rows, columns) in [(5, 9), (9, 5), (16, 16), (140, 150)] {
            let matrix: Vec<f64> = (0..rows * columns).map(|_| random.random::<f64>() - 0.5).collect();
            let bound = spectral_bound(&matrix, rows, columns);
            let mut x: Vec<f64> = (0..columns).map(|_| random.random::<f64>()).collect();
            let mut stretch = 0.0;
            for _ in 0..200 {
                let y: Vec<f64> = matrix.chunks_exact(columns).map(|row| dot(row, &x)).collect();
                stretch = dot(&y, &y).sqrt() / dot(&x, &x).sqrt();
                x = (0..columns).map(|c| (0..rows).map(|r| matrix[r * columns + c] * y[r]).sum()).collect();
                let size = dot(&x, &x).sqrt();
                x.iter_mut().for_each(|x| *x /= size);
            }
            assert!(bound >= stretch && bound < 1.25 * stretch, "{rows} x {columns}: {bound} {stretch}");
        }
    }

    #[test]
    fn norms_of_a_grouped_convolution_are_by_place_and_row() {
        let geometry = Geometry { out: 2, group_in: 2, groups: 2, kernel: [1, 2], stride: [1, 1], padding: [0, 0] };
        // Two groups with one output each: rows (3, 0 | 4, 1) and (0, 2 | 0, 0), inputs by kernel place.
        let map = LinearMap::new(geometry, vec![3.0, 0.0, 4.0, 1.0, 0.0, 2.0, 0.0, 0.0], vec![0.0; 2]);
        let norms = Norms::of(&map);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(close(norms.taps[0], 5.0) && close(norms.taps[1], 2.0), "{:?}", norms.taps);
        assert!(close(norms.whole, 26f64.sqrt()));
        for (found, expected) in norms.rows.iter().zip([5.0, 1.0, 0.0, 2.0]) {
            assert!(close(*found, expected), "{:?}", norms.rows);
        }
    }
}
