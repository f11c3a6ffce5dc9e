//! What several recipes say about images and about the teacher's answers.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::geometry::gaussian_blur;
use super::labels::one_hot;

/// Lengths below this have the gradient 0.
const SHORTEST: f64 = 1e-12;

/// The Euclidean length, whose gradient is 0 where it is 0.
fn length(squares: Tensor<1>) -> Tensor<1> {
    squares.clamp_min(SHORTEST * SHORTEST).sqrt()
}

/// The differences of neighbours: to the right, below, below to the left, below to the right.
fn differences(images: &Tensor<4>) -> [Tensor<4>; 4] {
    let [_, _, height, width] = images.dims();
    let part = |top: usize, left: usize, rows: usize, columns: usize| {
        images.clone().narrow(2, top, rows).narrow(3, left, columns)
    };
    let (rows, columns) = (height - 1, width - 1);
    [
        part(0, 0, height, columns) - part(0, 1, height, columns),
        part(0, 0, rows, width) - part(1, 0, rows, width),
        part(1, 0, rows, columns) - part(0, 1, rows, columns),
        part(0, 0, rows, columns) - part(1, 1, rows, columns),
    ]
}

/// Roughness, by length: `sum_k |d_k|` over the differences `d_k` of all pixels to their neighbours in four directions.
///
/// # Shapes
/// - images: `[batch, channel, height, width]`, sides of at least 2; output: `[1]`. Each length is that of the whole
///   batch.
///
/// # Source
/// Yin et al., DeepInversion, CVPR 2020, `R_TV`.
pub(crate) fn total_variation_l2(images: Tensor<4>) -> Tensor<1> {
    let lengths: Vec<Tensor<1>> = differences(&images).into_iter().map(|d| length(d.square().sum())).collect();
    Tensor::cat(lengths, 0).sum()
}

/// Roughness, by absolute value: `sum_k mean |d_k|` over the same differences as [`total_variation_l2`].
pub(crate) fn total_variation_l1(images: Tensor<4>) -> Tensor<1> {
    let means: Vec<Tensor<1>> = differences(&images).into_iter().map(|d| d.abs().mean()).collect();
    Tensor::cat(means, 0).sum()
}

/// The mean length of the images: `(1/N) sum_n |x_n|`.
///
/// # Source
/// Yin et al., DeepInversion, CVPR 2020, `R_l2`.
pub(crate) fn image_norm(images: Tensor<4>) -> Tensor<1> {
    let [batch, channels, height, width] = images.dims();
    let squares = images.square().reshape([batch, channels * height * width]).sum_dim(1).reshape([batch]);
    length(squares).mean()
}

/// Distance of the images to their blurred selves: mean over all values of `(x - G x)^2`, see [`gaussian_blur`].
///
/// # Source
/// Haroush et al., The Knowledge Within, CVPR 2020 (recalled, not read).
pub(crate) fn smoothness(images: Tensor<4>, kernel: usize, sigma: f64) -> Tensor<1> {
    (images.clone() - gaussian_blur(images, kernel, sigma)).square().mean()
}

/// `ln softmax(z_n)[y_n]` for each image: `[batch]`.
///
/// # Shapes
/// - logits: `[batch, classes]`, labels: one an image
pub(crate) fn log_probability_of(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let chosen = one_hot(labels, classes, &logits.device());
    (log_softmax(logits, 1) * chosen).sum_dim(1).reshape([batch])
}

/// `softmax(z_n)[y_n]` for each image: `[batch]`; shapes as [`log_probability_of`].
pub(crate) fn probability_of(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    log_probability_of(logits, labels).exp()
}

/// `-(1/N) sum_n ln softmax(z_n)[y_n]`: `[1]`; shapes as [`log_probability_of`].
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    log_probability_of(logits, labels).mean().neg()
}

/// `-(1/N) sum_n sum_c t_nc ln softmax(z_n)[c]` for targets `[batch, classes]`: `[1]`.
pub(crate) fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = logits.dims();
    (log_softmax(logits, 1) * targets).sum() * (-1.0 / batch as f64)
}

#[cfg(test)]
mod tests;
