//! Mean and variance over the positions of each channel of each image.

use burn::tensor::Tensor;

/// Mean and variance for each image and channel.
#[derive(Debug, Clone)]
pub struct Moments {
    /// `[batch, channel]`.
    pub mean: Tensor<2>,
    /// `[batch, channel]`; unbiased (divided by `height * width - 1`) or biased as asked.
    pub var: Tensor<2>,
}

/// `mean = (1/K) sum_k x_k`, `var = (1/(K - d)) sum_k (x_k - mean)^2` over the `K = height * width` positions of each
/// channel of each image; `d` is 1 for the unbiased variance and 0 for the biased one.
///
/// # Shapes
/// - x: `[batch, channel, height, width]`; mean, var: `[batch, channel]`. With one position the unbiased variance is 0.
pub fn channel_moments(x: Tensor<4>, unbiased: bool) -> Moments {
    let [batch, channels, height, width] = x.dims();
    let count = height * width;
    let divisor = if unbiased { count.saturating_sub(1).max(1) } else { count };
    #[cfg(feature = "flex")]
    if super::flex::handles(&x) {
        return super::flex::channel_moments(x, divisor);
    }
    let x = x.reshape([batch, channels, count]);
    let mean = x.clone().mean_dim(2);
    let centred = x - mean.clone();
    let var = (centred.clone() * centred).sum_dim(2) / divisor as f64;
    Moments { mean: mean.reshape([batch, channels]), var: var.reshape([batch, channels]) }
}
