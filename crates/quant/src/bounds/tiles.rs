//! What the rounding of a convolution by tiles is relative to.

use super::enclosure::Enclosure;
use super::linear_map::{FLOOR, Geometry, LinearMap};

/// Output rows of a tile, and products for each column of it.
const TILE: usize = 4;
const POINTS: usize = 6;

/// `|A^T|`, `|B^T|` and `|G|` of Winograd's `F(4, 3)`.
const A: [[f64; POINTS]; TILE] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, 1.0, 2.0, 2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, 1.0, 8.0, 8.0, 1.0],
];
const B: [[f64; POINTS]; POINTS] = [
    [4.0, 0.0, 5.0, 0.0, 1.0, 0.0],
    [0.0, 4.0, 4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, 4.0, 1.0, 1.0, 0.0],
    [0.0, 2.0, 1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, 1.0, 2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, 5.0, 0.0, 1.0],
];
const G: [[f64; 3]; POINTS] = [
    [1.0 / 4.0, 0.0, 0.0],
    [1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0],
    [1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// More than the roundings of the three transforms that one output value goes through.
const TRANSFORMS: usize = 24;

/// For each output of a 3 x 3 convolution of stride 1, what the rounding of Winograd's filtering along the columns is relative to,
/// the biases included, and the number of roundings; none for other maps.
///
/// A tile of four output rows is `y = A^T sum ((G w) * (B^T x))`, over channels and kernel columns. Each of the three transforms and
/// the sum of `n` products is a chain of roundings, so that
///
/// ```text
/// |computed y - y| <= (n + 24) u / (1 - (n + 24) u)  |A^T| sum ((|G| |w|) * (|B^T| |x|))
/// ```
/// The right-hand side has all six input rows of the tile, those that `y` does not depend on among them. Transformed values have
/// [`FLOOR`] added.
///
/// # Source
/// Higham: Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, 3.5; Barabasz et al.: Error Analysis and Improving the
/// Accuracy of Winograd Convolution for Deep Neural Networks, ACM TOMS 2020.
pub(super) fn tiled_sums(map: &LinearMap, x: &Enclosure) -> Option<(Vec<f64>, usize)> {
    let geometry = map.geometry;
    if geometry.kernel != [3, 3] || geometry.stride != [1, 1] {
        return None;
    }
    let [channels, height, width] = x.shape;
    let [out, rows, columns] = geometry.output(x.shape);
    let tiles = rows.div_ceil(TILE);
    let magnitudes = x.magnitudes();
    let line = Geometry { kernel: [1, 3], padding: [0, geometry.padding[1]], ..geometry };
    let area = rows * columns;
    let mut sums: Vec<f64> = map.bias_terms.iter().flat_map(|bias| std::iter::repeat_n(*bias, area)).collect();
    for point in 0..POINTS {
        let weight: Vec<f64> = map
            .weight
            .chunks_exact(9)
            .flat_map(|kernel| {
                (0..3).map(move |v| (0..3).map(|u| G[point][u] * kernel[3 * u + v].abs()).sum::<f64>() + FLOOR)
            })
            .collect();
        let mut planes = vec![FLOOR; channels * tiles * width];
        for (index, plane) in planes.chunks_exact_mut(width.max(1)).enumerate() {
            let (channel, tile) = (index / tiles, index % tiles);
            for (place, factor) in B[point].into_iter().enumerate() {
                let row = (tile * TILE + place).wrapping_sub(geometry.padding[0]);
                if row < height {
                    let from = &magnitudes[(channel * height + row) * width..][..width];
                    plane.iter_mut().zip(from).for_each(|(sum, x)| *sum += factor * x);
                }
            }
        }
        let products = line.correlate(&weight, &planes, [channels, tiles, width]);
        for (index, row) in sums.chunks_exact_mut(columns.max(1)).enumerate() {
            let (channel, place) = (index / rows, index % rows);
            let factor = A[place % TILE][point];
            let from = &products[(channel * tiles + place / TILE) * columns..][..columns];
            row.iter_mut().zip(from).for_each(|(sum, product)| *sum += factor * product);
        }
    }
    debug_assert_eq!(sums.len(), out * area);
    Some((sums, 3 * geometry.group_in + TRANSFORMS))
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::ops::conv2d;
    use burn::tensor::{Device, Tensor, TensorData};

    use super::super::rounding::UNIT;
    use super::*;

    /// Every fourth row of the image is a million times as large, so that its error is seen in the other rows of its tile.
    #[test]
    fn the_error_of_the_devices_convolution_is_within_it_and_beyond_that_of_a_plain_sum() {
        let (channels, out, size) = (16, 8, 11);
        let geometry = Geometry { out, group_in: channels, groups: 1, kernel: [3, 3], stride: [1, 1], padding: [1, 1] };
        let weight: Vec<f32> = (0..out * channels * 9).map(|index| (index as f32 * 0.731).sin()).collect();
        let bias: Vec<f32> = (0..out).map(|index| index as f32 * 0.1).collect();
        let image: Vec<f32> = (0..channels * size * size)
            .map(|index| (index as f32 * 1.37).cos() * if index / size % size % 4 == 3 { 1e6 } else { 1.0 })
            .collect();
        let device = Device::flex();
        let computed = conv2d(
            Tensor::<4>::from_data(TensorData::new(image.clone(), [1, channels, size, size]), &device),
            Tensor::<4>::from_data(TensorData::new(weight.clone(), [out, channels, 3, 3]), &device),
            Some(Tensor::<1>::from_data(TensorData::new(bias.clone(), [out]), &device)),
            [1, 1],
            [1, 1],
            1,
        );
        let computed = computed.into_data().try_to_vec::<f32>().unwrap();
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let map = LinearMap::new(geometry, wide(&weight), wide(&bias));
        let shape = [channels, size, size];
        let x = Enclosure::between(shape, wide(&image), wide(&image));
        let exact = geometry.correlate(&map.weight, &wide(&image), shape);
        let absolute: Vec<f64> = map.weight.iter().map(|w| w.abs()).collect();
        let plain = geometry.correlate(&absolute, &x.magnitudes(), shape);
        let (tiled, roundings) = tiled_sums(&map, &x).unwrap();
        let mut beyond = 0;
        for (index, computed) in computed.iter().enumerate() {
            let bias = map.bias[index / (size * size)];
            let error = (f64::from(*computed) - exact[index] - bias).abs();
            let limit = roundings as f64 * UNIT * tiled[index];
            assert!(error <= limit, "output {index}: {error}, {limit}");
            beyond += usize::from(error > (geometry.terms() + 8) as f64 * UNIT * (plain[index] + bias));
        }
        assert!(beyond > 0, "no output errs more than a plain sum could: is the convolution by tiles?");
    }

    #[test]
    fn it_is_the_formula_for_one_value_and_none_for_other_kernels() {
        let geometry = Geometry { out: 1, group_in: 1, groups: 1, kernel: [3, 3], stride: [1, 1], padding: [1, 1] };
        let mut weight = vec![0.0; 9];
        weight[4] = -2.0;
        let map = LinearMap::new(geometry, weight, vec![0.5]);
        let mut image = vec![0.0; 25];
        // Row 3 of 5, which is place 4 of the six rows of the first tile and place 0 of the second's.
        image[3 * 5 + 2] = 3.0;
        let x = Enclosure::between([1, 5, 5], image.clone(), image);
        let (sums, roundings) = tiled_sums(&map, &x).unwrap();
        assert_eq!(roundings, 3 + TRANSFORMS);
        let place = |row: usize| {
            let (tile, own) = (row / 4, row % 4);
            let from = if tile == 0 { 4 } else { 0 };
            (0..6).map(|point| A[own][point] * 2.0 * G[point][1] * 3.0 * B[point][from]).sum::<f64>()
        };
        for row in 0..5 {
            for column in 0..5 {
                let expected = 0.5 + if column == 2 { place(row) } else { 0.0 };
                assert!((sums[row * 5 + column] - expected).abs() < 1e-12, "{row} {column}: {sums:?}");
            }
        }
        let strided = Geometry { stride: [2, 2], ..geometry };
        assert!(tiled_sums(&LinearMap::new(strided, vec![1.0; 9], vec![0.0]), &x).is_none());
    }
}
