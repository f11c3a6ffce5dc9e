//! A scale and a shift for each channel.

use burn::tensor::Tensor;

/// `y[n,c] = scale[c] * x[n,c] + shift[c]`: batch normalization in evaluation mode.
///
/// # Shapes
/// - x and output: `[batch, channel, height, width]`; scale, shift: `[channel]`
pub fn channel_affine(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if super::flex::handles(&x) {
        return super::flex::channel_affine(x, scale, shift);
    }
    let [channels] = scale.dims();
    x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
}
