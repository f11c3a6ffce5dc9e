//! Mean and variance of channels over many batches.

use burn::tensor::Tensor;

use crate::samples::host_values;

/// Mean and variance of each channel over all images and positions that were seen, in double precision.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelStatistics {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl ChannelStatistics {
    /// Sees the values `[batch, channel, height, width]`, of as many channels as before.
    pub(crate) fn see(&mut self, values: &Tensor<4>) {
        let [_, channels, height, width] = values.dims();
        let area = height * width;
        if self.mean.is_empty() {
            (self.mean, self.squares) = (vec![0.0; channels], vec![0.0; channels]);
        }
        if area == 0 {
            return;
        }
        let values = host_values(values.clone());
        let size = area as f64;
        for image in values.chunks_exact((channels * area).max(1)) {
            let (before, share) = (self.count, size / (self.count + size));
            let sums = self.mean.iter_mut().zip(&mut self.squares);
            for ((mean, squares), plane) in sums.zip(image.chunks_exact(area)) {
                let own = plane.iter().copied().map(f64::from).sum::<f64>() / size;
                let spread: f64 = plane.iter().map(|&value| (f64::from(value) - own).powi(2)).sum();
                let step = own - *mean;
                *mean += step * share;
                *squares += spread + step * step * before * share;
            }
            self.count += size;
        }
    }

    /// The mean of each channel; none before the first values.
    pub(crate) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The biased variance of each channel.
    pub(crate) fn variance(&self) -> Vec<f64> {
        self.squares.iter().map(|squares| squares / self.count.max(1.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn batches_add_up_to_the_statistics_of_all_values() {
        let value = |index: usize| (index as f32 * 0.37).sin() * 3.0 + 100.0;
        let all: Vec<f32> = (0..5 * 3 * 4).map(value).collect();
        let tensor = |values: &[f32]| {
            let images = values.len() / 12;
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [images, 3, 2, 2]), &Device::flex())
        };
        let mut statistics = ChannelStatistics::default();
        statistics.see(&tensor(&all[..24]));
        statistics.see(&tensor(&all[24..]));
        for channel in 0..3 {
            let places = (0..5).flat_map(|image| (0..4).map(move |pixel| (image * 3 + channel) * 4 + pixel));
            let values: Vec<f64> = places.map(|place| f64::from(all[place])).collect();
            let mean = values.iter().sum::<f64>() / 20.0;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 20.0;
            assert!((statistics.mean()[channel] - mean).abs() < 1e-10);
            assert!((statistics.variance()[channel] - variance).abs() < 1e-10);
        }
    }
}
