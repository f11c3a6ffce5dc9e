//! The values that a pixel can have after normalisation.

use blindfold_zoo::Normalization;
use burn::tensor::Tensor;

use crate::error::SynthError;

/// For each channel the normalised values of the pixels 0 and 255.
#[derive(Debug, Clone)]
pub(crate) struct PixelRange(Vec<(f32, f32)>);

impl PixelRange {
    /// `low = (0 - mean) / std`, `high = (1 - mean) / std` for each channel of images `[channel, height, width]`.
    ///
    /// # Errors
    /// [`SynthError::Shape`] when the normalisation has fewer channels than the images.
    pub(crate) fn new(normalization: &Normalization, shape: [usize; 3]) -> Result<Self, SynthError> {
        let [channels, height, width] = shape;
        let known = normalization.mean.len().min(normalization.std.len());
        if known < channels {
            let found = [known, height, width];
            return Err(SynthError::Shape { what: "the normalisation".to_owned(), found, expected: shape });
        }
        let bounds = normalization.mean.iter().zip(&normalization.std).take(channels);
        Ok(Self(bounds.map(|(mean, std)| (-mean / std, (1.0 - mean) / std)).collect()))
    }

    /// Images of pixels from 0 to 255 as the teacher reads them; gradients flow through.
    pub(crate) fn normalise(&self, pixels: Tensor<4>) -> Tensor<4> {
        let channels = self.0.iter().enumerate().map(|(channel, &(low, high))| {
            pixels.clone().narrow(1, channel, 1) * (f64::from(high - low) / 255.0) + f64::from(low)
        });
        Tensor::cat(channels.collect(), 1)
    }

    /// The pixel, from 0 to 255 and beyond, of a normalised value of a channel.
    pub(crate) fn pixel(&self, channel: usize, value: f32) -> f32 {
        let (low, high) = self.0[channel];
        (value - low) / (high - low) * 255.0
    }

    /// The images with every value moved to the nearest one that a pixel can have.
    pub(crate) fn clamp(&self, images: Tensor<4>) -> Tensor<4> {
        let channels = self.0.iter().enumerate();
        let clamped = channels.map(|(channel, &(low, high))| images.clone().narrow(1, channel, 1).clamp(low, high));
        Tensor::cat(clamped.collect(), 1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::sample::{images, normalization};

    #[test]
    fn values_stay_between_black_and_white() {
        let range = PixelRange::new(&normalization(), [3, 8, 8]).unwrap();
        let before = images(2, 3) * 3.0;
        let after: Vec<f32> = range.clamp(before.clone()).into_data().iter().collect();
        for (index, (before, after)) in before.into_data().iter::<f32>().zip(after).enumerate() {
            let channel = index / 64 % 3;
            let (mean, std) = ([0.4, 0.5, 0.6][channel], [0.2, 0.25, 0.3][channel]);
            let expected = (before * std + mean).clamp(0.0, 1.0);
            assert!((after * std + mean - expected).abs() < 1e-6, "{before} became {after}");
        }
    }

    #[test]
    fn pixels_and_normalised_values_are_taken_into_each_other() {
        let range = PixelRange::new(&normalization(), [3, 8, 8]).unwrap();
        for (channel, (mean, std)) in [(0.4, 0.2), (0.5, 0.25), (0.6, 0.3)].into_iter().enumerate() {
            assert!((range.pixel(channel, 1.5) - 255.0 * (1.5 * std + mean)).abs() < 1e-3);
        }
        let before: Vec<f32> = images(1, 3).into_data().iter().collect();
        let pixels: Vec<f32> = before.iter().enumerate().map(|(index, &x)| range.pixel(index / 64, x)).collect();
        let pixels = Tensor::from_data(TensorData::new(pixels, [1, 3, 8, 8]), &Device::flex());
        let after: Vec<f32> = range.normalise(pixels).into_data().iter().collect();
        assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-5));
    }

    #[test]
    fn a_normalisation_of_too_few_channels_is_an_error() {
        assert!(matches!(PixelRange::new(&normalization(), [4, 8, 8]), Err(SynthError::Shape { .. })));
    }
}
