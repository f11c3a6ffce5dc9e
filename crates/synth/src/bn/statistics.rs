//! Statistics of images beside those that a network remembers.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::pooled::pool;
use blindfold_zoo::ops::channel_moments;

/// Over what a mean and a variance are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Over the positions of each image apart (`true`), or over all positions of all images of the batch.
    pub per_image: bool,
    /// Variance divided by the number of values less one (`true`), or by their number.
    pub unbiased: bool,
}

/// What the statistics should be. All channels of all layers stand side by side.
#[derive(Debug, Clone)]
pub struct Target {
    /// `[1, channels of all layers]`.
    pub mean: Tensor<2>,
    /// `[1, channels of all layers]`.
    pub var: Tensor<2>,
    /// The channels of each layer, in the order in which the network runs them.
    pub layers: Vec<Range<usize>>,
    /// The variance stands for itself, and is not the running variance of a batch norm that a method adds its epsilon to.
    pub exact: bool,
}

impl Target {
    /// Mean 0 and variance 1 for the channels of an image.
    pub fn standard(channels: usize, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        Self {
            mean: Tensor::zeros([1, channels], &device),
            var: Tensor::ones([1, channels], &device),
            layers: std::iter::once(0..channels).collect(),
            exact: true,
        }
    }

    /// `sqrt(var + epsilon)`, without the epsilon where the target is exact.
    pub fn std(&self, epsilon: f64) -> Tensor<2> {
        if self.exact { self.var.clone().sqrt() } else { (self.var.clone() + epsilon).sqrt() }
    }
}

/// Means and variances of images, and what they should be.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// `[images, channels of all layers]`, or `[1, ...]` where they are taken over the batch.
    pub mean: Tensor<2>,
    /// As [`Self::mean`].
    pub var: Tensor<2>,
    /// What both should be.
    pub target: Target,
}

impl Statistics {
    /// The statistics of the images themselves, `[image, channel, height, width]`, with target mean 0 and variance 1.
    pub fn of_images(images: Tensor<4>, sampling: Sampling) -> Self {
        let [count, channels, height, width] = images.dims();
        let target = Target::standard(channels, &images.device());
        let moments = channel_moments(images, sampling.per_image && sampling.unbiased);
        let (mean, var) = if sampling.per_image {
            (moments.mean, moments.var)
        } else {
            let correction = vec![unbiased_factor(sampling, count * height * width); channels];
            pool(moments.mean, moments.var, &correction)
        };
        Self { mean, var, target }
    }

    /// One constant for each channel, given by layer and its number of channels: `[1, channels of all layers]`.
    pub fn by_layer(&self, value: impl Fn(usize, usize) -> f64) -> Tensor<2> {
        let values: Vec<f32> = self
            .target
            .layers
            .iter()
            .enumerate()
            .flat_map(|(layer, channels)| vec![value(layer, channels.len()) as f32; channels.len()])
            .collect();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [1, count]), &self.target.mean.device())
    }
}

/// What a biased variance over `count` values is multiplied by.
pub(super) fn unbiased_factor(sampling: Sampling, count: usize) -> f32 {
    if sampling.unbiased && count > 1 { (count as f64 / (count - 1) as f64) as f32 } else { 1.0 }
}
