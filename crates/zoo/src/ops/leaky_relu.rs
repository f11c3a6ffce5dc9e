//! The leaky rectifier.

use burn::tensor::Tensor;

use super::{Pointwise, pointwise};
use crate::{choose, vectorized};

/// `y = x` where `x >= 0`, else `slope * x`, for each value.
///
/// # Shapes
/// - x and output: the same
pub fn leaky_relu(x: Tensor<4>, slope: f64) -> Tensor<4> {
    let s = Tensor::full([1; 4], slope, &x.device().inner());
    pointwise(&x, &s, Leaky).unwrap_or_else(|_| burn::tensor::activation::leaky_relu(x, slope))
}

#[derive(Debug)]
struct Leaky;

impl Pointwise for Leaky {
    fn values(&self, _first: usize, x: &[f32], s: f32, y: &mut [f32]) {
        vectorized(
            #[inline(always)]
            move || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = choose(x < 0.0, s * x, x);
                }
            },
        );
    }

    fn gradients(&self, _first: usize, x: &[f32], s: f32, g: &[f32], dx: &mut [f32]) -> f64 {
        vectorized(
            #[inline(always)]
            move || {
                for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g) {
                    *dx = choose(x < 0.0, s * g, g);
                }
            },
        );
        // The slope is a constant here, which nobody asks the gradient of.
        0.0
    }
}
