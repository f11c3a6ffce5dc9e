//! Moves of images through which gradients flow.

use blindfold_zoo::Stream;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

/// `y[n, c, i, j] = x[n, c, (i - down) mod height, (j - right) mod width]`.
pub(crate) fn roll(images: Tensor<4>, down: isize, right: isize) -> Tensor<4> {
    images.roll_dim(down, 2).roll_dim(right, 3)
}

/// `y[n, c, i, j] = x[n, c, i, width - 1 - j]` for the images that are chosen; the others as they are.
pub(crate) fn mirror(images: Tensor<4>, chosen: &[bool]) -> Tensor<4> {
    if !chosen.contains(&true) {
        return images;
    }
    let mirrored = images.clone().flip([3]);
    if !chosen.contains(&false) {
        return mirrored;
    }
    let mask: Vec<f32> = chosen.iter().map(|&chosen| f32::from(u8::from(chosen))).collect();
    let mask = TensorData::new(mask, [chosen.len(), 1, 1, 1]);
    let mask = Tensor::from_data(mask, &images.device().without_autodiff());
    blend(images, mirrored, mask)
}

/// `(1 - m) x + m y` for a mask `m` of zeros and ones whose shape broadcasts to that of the images.
pub(crate) fn blend(x: Tensor<4>, y: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
    x * (mask.clone().neg() + 1.0) + y * mask
}

/// A rectangle of pixels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CropBox {
    /// First row.
    pub(crate) top: usize,
    /// First column.
    pub(crate) left: usize,
    /// Rows; at least 1 where it is stretched.
    pub(crate) height: usize,
    /// Columns; at least 1 where it is stretched.
    pub(crate) width: usize,
}

/// How often [`CropBox::random`] draws before it takes the whole image.
const ATTEMPTS: usize = 10;

impl CropBox {
    /// A box of random size and place in an image of `[height, width]`.
    ///
    /// ```text
    /// a ~ U(scale) * height * width,  ln r ~ U(ln ratio):  box width = round(sqrt(a r)), height = round(sqrt(a / r))
    /// ```
    /// until it fits, then anywhere; the whole image after ten failures.
    ///
    /// # Source
    /// `RandomResizedCrop` of torchvision, which takes a central box instead of the whole image where the image's own
    /// ratio lies outside `ratio`.
    pub(crate) fn random(size: [usize; 2], scale: [f64; 2], ratio: [f64; 2], random: &mut Stream) -> Self {
        let [height, width] = size;
        for _ in 0..ATTEMPTS {
            let area = uniform(scale, random) * (height * width) as f64;
            let aspect = uniform(ratio.map(f64::ln), random).exp();
            let (wide, high) = ((area * aspect).sqrt().round() as usize, (area / aspect).sqrt().round() as usize);
            if (1..=width).contains(&wide) && (1..=height).contains(&high) {
                let top = random.random_range(0..=height - high);
                let left = random.random_range(0..=width - wide);
                return Self { top, left, height: high, width: wide };
            }
        }
        Self { top: 0, left: 0, height, width }
    }

    /// A box of `[rows, columns]`, each at least 1 and at most the image's, anywhere in an image of `[height, width]`.
    pub(crate) fn anywhere(size: [usize; 2], extent: [usize; 2], random: &mut Stream) -> Self {
        let [height, width] = [0, 1].map(|side| extent[side].clamp(1, size[side]));
        let top = random.random_range(0..=size[0] - height);
        let left = random.random_range(0..=size[1] - width);
        Self { top, left, height, width }
    }
}

/// 1 for the pixels of each box, 0 for those around it: `[box, 1, height, width]`, on the plain device.
pub(crate) fn inside(boxes: &[CropBox], size: [usize; 2], device: &Device) -> Tensor<4> {
    let [height, width] = size;
    let mut values = vec![0.0f32; boxes.len() * height * width];
    for (plane, cut) in values.chunks_mut(height * width).zip(boxes) {
        for row in plane.chunks_mut(width).skip(cut.top).take(cut.height) {
            row[cut.left..cut.left + cut.width].fill(1.0);
        }
    }
    Tensor::from_data(TensorData::new(values, [boxes.len(), 1, height, width]), &device.clone().without_autodiff())
}

/// A number from `low` to `high`.
pub(crate) fn uniform([low, high]: [f64; 2], random: &mut Stream) -> f64 {
    low + (high - low) * random.random::<f64>()
}

/// One box of each image, stretched to `[height, width]`.
///
/// ```text
/// y[n, c, i, j] = sum_{u, v} R_n[i, u] C_n[j, v] x[n, c, u, v]
/// R[i, u]: weight of row u at  max((i + 1/2) box_height / height - 1/2, 0)  of the box, linear between rows
/// ```
///
/// # Shapes
/// - images: `[batch, channel, h, w]`, boxes: one an image; output: `[batch, channel, height, width]`
///
/// # Source
/// `torch.nn.functional.interpolate(mode = "bilinear", align_corners = False)` of the cut-out box.
pub(crate) fn resized_crop(images: Tensor<4>, boxes: &[CropBox], size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let stack = |length: usize, target: usize, side: fn(&CropBox) -> (usize, usize)| {
        let values = boxes.iter().flat_map(|cut| linear(side(cut), length, target)).collect();
        matrices(&images, values, [boxes.len(), target, length])
    };
    let rows = stack(height, size[0], |cut| (cut.top, cut.height));
    let columns = stack(width, size[1], |cut| (cut.left, cut.width));
    resample(images, rows, columns)
}

/// The weights `[target, length]` of linear interpolation of `count` pixels from `first` on.
fn linear((first, count): (usize, usize), length: usize, target: usize) -> Vec<f32> {
    let mut weights = vec![0.0f32; target * length];
    for (place, row) in weights.chunks_mut(length).enumerate() {
        let coordinate = ((place as f64 + 0.5) * count as f64 / target as f64 - 0.5).max(0.0);
        let low = (coordinate.floor() as usize).min(count - 1);
        let high = (low + 1).min(count - 1);
        let share = coordinate - low as f64;
        row[first + low] += (1.0 - share) as f32;
        row[first + high] += share as f32;
    }
    weights
}

/// Each image convolved with a Gaussian, edges mirrored.
///
/// ```text
/// y[n, c, i, j] = sum_{|u|, |v| <= kernel / 2} g_u g_v x[n, c, i + u, j + v]      g_u ~ exp(-u^2 / (2 sigma^2)), sum 1
/// ```
/// `kernel`: the width of the window in pixels, an odd number.
///
/// # Source
/// `torchvision.transforms.functional.gaussian_blur`, padding mode `reflect`.
pub(crate) fn gaussian_blur(images: Tensor<4>, kernel: usize, sigma: f64) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let side = |length: usize| matrices(&images, smoothing(length, kernel, sigma), [1, length, length]);
    let (rows, columns) = (side(height), side(width));
    resample(images, rows, columns)
}

/// The weights `[length, length]` of the Gaussian along one side.
fn smoothing(length: usize, kernel: usize, sigma: f64) -> Vec<f32> {
    let radius = (kernel / 2) as isize;
    let bell: Vec<f64> = (-radius..=radius).map(|place| (-0.5 * (place as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = bell.iter().sum();
    let mut weights = vec![0.0f32; length * length];
    for (place, row) in weights.chunks_mut(length).enumerate() {
        for (offset, value) in (-radius..=radius).zip(&bell) {
            row[reflect(place as isize + offset, length)] += (value / total) as f32;
        }
    }
    weights
}

/// The pixel that stands at a place outside the image when it is mirrored at its outermost pixels.
fn reflect(place: isize, length: usize) -> usize {
    let period = 2 * (length as isize - 1);
    if period == 0 {
        return 0;
    }
    let within = place.rem_euclid(period);
    within.min(period - within) as usize
}

/// Matrices for [`resample`], `[group, out, in]`, where the images are.
pub(crate) fn matrices(images: &Tensor<4>, values: Vec<f32>, shape: [usize; 3]) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values, shape), &images.device().without_autodiff())
}

/// `y[n, c] = R_n x[n, c] C_n^T` with `[group, out, in]` matrices, one group an image or one for all.
pub(crate) fn resample(images: Tensor<4>, rows: Tensor<3>, columns: Tensor<3>) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    let ([groups, high, _], [_, wide, _]) = (rows.dims(), columns.dims());
    let planes = batch * channels / groups;
    let across = images.reshape([groups, planes * height, width]).matmul(columns.transpose());
    let turned = across.reshape([groups, planes, height, wide]).swap_dims(2, 3);
    let down = turned.reshape([groups, planes * wide, height]).matmul(rows.transpose());
    down.reshape([groups, planes, wide, high]).swap_dims(2, 3).reshape([batch, channels, high, wide])
}

#[cfg(test)]
mod tests;
