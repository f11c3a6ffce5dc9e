//! Two-dimensional convolution.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

/// `y[n,o] = sum_{i,u,v} weight[o,i,u,v] * x[n, i, s*h + u - p, s*w + v - p] + bias[o]`.
///
/// # Shapes
/// - x: `[batch, in, height, width]`, weight: `[out, in / groups, kernel_h, kernel_w]`, bias: `[out]`
/// - output: `[batch, out, (height + 2p - kernel_h) / s + 1, (width + 2p - kernel_w) / s + 1]`
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if super::flex::handles(&x) {
        return super::flex::conv2d(x, weight, bias, stride, padding, groups);
    }
    burn::tensor::module::conv2d(x, weight, bias, ConvOptions::new(stride, padding, [1, 1], groups))
}
