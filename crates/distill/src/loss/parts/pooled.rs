//! Vectors of features, and their directions.

use burn::tensor::Tensor;

/// Added to a squared norm, so that a vector of zeros has norm `1e-12`, as in `torch.nn.functional.normalize`.
const SQUARED_NORM_GUARD: f64 = 1e-24;

/// The mean over positions of an output `[batch, channel, height, width]`: `[batch, channel]`.
pub(crate) fn pooled(output: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = output.dims();
    output.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// Each vector along `dim` divided by its Euclidean norm. A vector of zeros stays, with a gradient of 0: fake quantization makes such
/// vectors out of small ones, and passes gradients on.
pub(crate) fn unit_along<const D: usize>(vectors: Tensor<D>, dim: usize) -> Tensor<D> {
    let squared = vectors.clone().square().sum_dim(dim);
    let alive = squared.clone().greater_scalar(0.0).float();
    vectors / squared.add_scalar(SQUARED_NORM_GUARD).sqrt() * alive
}

/// [`unit_along`] for the rows of a matrix.
pub(crate) fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    unit_along(rows, 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn directions_have_norm_1_and_zeros_stay_without_a_gradient() {
        let device = Device::default().autodiff();
        let rows = Tensor::<2>::from_floats([[3.0, -4.0], [0.0, 0.0]], &device).require_grad();
        let units = unit_rows(rows.clone());
        let expected = [0.6, -0.8, 0.0, 0.0];
        for (found, expected) in floats(units.clone().inner()).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        // d/dx of x/r + y/r at (3, -4), r = 5: (y^2 - x y) / r^3 and (x^2 - x y) / r^3.
        let gradient = floats(rows.grad(&units.sum().backward()).unwrap());
        for (found, expected) in gradient.iter().zip([28.0 / 125.0, 21.0 / 125.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn positions_are_averaged() {
        let output =
            Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -2.0]]]], &Device::default());
        assert_eq!(floats(pooled(output)), [3.0, -0.5]);
    }
}
