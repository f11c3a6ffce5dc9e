//! Real images, for the controls `real` and `out-of-domain` and for evaluation.

use std::ops::Range;

use blindfold_zoo::Normalization;
use burn::tensor::{Device, Tensor, TensorData};

use crate::error::SynthError;

/// Images of a data set as bytes. Nothing accepts them but the image sources `real` and `out-of-domain`, and evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealImages {
    /// Shape of one image: `[channel, height, width]`.
    pub shape: [usize; 3],
    /// All values, image by image, planes first.
    pub pixels: Vec<u8>,
    /// The class of each image; empty where none are known.
    pub labels: Vec<u16>,
    /// Number of classes.
    pub classes: usize,
    /// The data set's name, for messages and tables.
    pub name: String,
}

impl RealImages {
    /// Images of a data set.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when the number of values or labels does not fit, or a label has no class.
    pub fn new(
        name: &str,
        shape: [usize; 3],
        pixels: Vec<u8>,
        labels: Vec<u16>,
        classes: usize,
    ) -> Result<Self, SynthError> {
        let size: usize = shape.iter().product();
        if size == 0 || !pixels.len().is_multiple_of(size) {
            let found = format!("{} bytes are not a whole number of images of shape {shape:?}", pixels.len());
            return Err(SynthError::malformed(name, found));
        }
        if !labels.is_empty() && labels.len() * size != pixels.len() {
            let found = format!("{} labels for {} images", labels.len(), pixels.len() / size);
            return Err(SynthError::malformed(name, found));
        }
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= classes) {
            return Err(SynthError::malformed(name, format!("label {label} where there are {classes} classes")));
        }
        Ok(Self { shape, pixels, labels, classes, name: name.to_owned() })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_size().max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// One image as the teacher reads it: `(pixel / 255 - mean) / std` by channel.
    ///
    /// # Panics
    /// When there is no such image, or the normalisation has fewer channels.
    pub fn normalized(&self, index: usize, normalization: &Normalization) -> Vec<f32> {
        let size = self.image_size();
        let area = self.shape[1] * self.shape[2];
        self.pixels[index * size..(index + 1) * size]
            .iter()
            .enumerate()
            .map(|(place, &value)| {
                let channel = place / area;
                (f32::from(value) / 255.0 - normalization.mean[channel]) / normalization.std[channel]
            })
            .collect()
    }

    /// The images of that range as the teacher reads them, `[image, channel, height, width]`.
    ///
    /// # Panics
    /// As [`Self::normalized`].
    pub fn tensor(&self, range: Range<usize>, normalization: &Normalization, device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.shape;
        let count = range.len();
        let values: Vec<f32> = range.flat_map(|index| self.normalized(index, normalization)).collect();
        Tensor::from_data(TensorData::new(values, [count, channels, height, width]), device)
    }

    fn image_size(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_normalised_channel_by_channel() {
        let images = RealImages::new("two", [2, 1, 2], vec![0, 255, 51, 102, 255, 0, 0, 0], vec![0, 1], 2).unwrap();
        let normalization = Normalization { mean: vec![0.5, 0.25], std: vec![0.5, 0.1] };
        let expected = [-1.0, 1.0, -0.5, 1.5];
        for (value, expected) in images.normalized(0, &normalization).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6);
        }
        let both: Vec<f32> = images.tensor(0..2, &normalization, &Device::flex()).into_data().iter::<f32>().collect();
        assert_eq!(both[..4], images.normalized(0, &normalization));
        assert_eq!(both[4..], images.normalized(1, &normalization));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(RealImages::new("bad", [1, 2, 2], vec![0; 7], vec![], 2).is_err());
        assert!(RealImages::new("bad", [1, 2, 2], vec![0; 8], vec![1], 2).is_err());
        let error = RealImages::new("bad", [1, 2, 2], vec![0; 8], vec![1, 2], 2).unwrap_err();
        assert_eq!(error.to_string(), "bad: label 2 where there are 2 classes");
    }
}
