//! A set of images in the teacher's normalised space.

use std::collections::HashMap;
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::error::SynthError;

/// Whether images were made without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made from the teacher or from noise alone.
    Synthetic,
    /// Taken from a data set: the controls `real` and `out-of-domain`. Tables mark such rows.
    Real,
}

impl Origin {
    /// `synthetic` or `real`, as files and tables say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synthetic => "synthetic",
            Self::Real => "real",
        }
    }
}

/// Images as the teacher reads them: `(pixel / 255 - mean) / std`.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSet {
    /// Shape of one image: `[channel, height, width]`.
    pub shape: [usize; 3],
    /// All values, image by image, `len * channel * height * width` of them.
    pub pixels: Vec<f32>,
    /// The class of each image, where the source knows one.
    pub labels: Option<Vec<u32>>,
    /// Where they come from.
    pub origin: Origin,
}

const WHAT: &str = "image set";

impl ImageSet {
    /// A set of images.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when the number of values or labels does not fit the shape.
    pub fn new(
        shape: [usize; 3],
        pixels: Vec<f32>,
        labels: Option<Vec<u32>>,
        origin: Origin,
    ) -> Result<Self, SynthError> {
        let size: usize = shape.iter().product();
        if size == 0 || !pixels.len().is_multiple_of(size) {
            let found = format!("{} values are not a whole number of images of shape {shape:?}", pixels.len());
            return Err(SynthError::malformed(WHAT, found));
        }
        if let Some(labels) = &labels
            && labels.len() * size != pixels.len()
        {
            let found = format!("{} labels for {} images", labels.len(), pixels.len() / size);
            return Err(SynthError::malformed(WHAT, found));
        }
        Ok(Self { shape, pixels, labels, origin })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_size().max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// The values of one image.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn image(&self, index: usize) -> &[f32] {
        let size = self.image_size();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The images of that range, `[image, channel, height, width]`.
    ///
    /// # Panics
    /// When the range reaches past the last image.
    pub fn tensor(&self, range: Range<usize>, device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.shape;
        let size = self.image_size();
        let values = self.pixels[range.start * size..range.end * size].to_vec();
        Tensor::from_data(TensorData::new(values, [range.len(), channels, height, width]), device)
    }

    /// All images in order, `size` at a time; the last batch may be smaller.
    pub fn batches(&self, size: usize, device: &Device) -> impl Iterator<Item = Tensor<4>> + '_ {
        let (size, device) = (size.max(1), device.clone());
        (0..self.len()).step_by(size).map(move |first| self.tensor(first..(first + size).min(self.len()), &device))
    }

    /// The set as a safetensors file: `pixels` (`f32`), `labels` (`u32`, where there are any) and the origin as metadata.
    ///
    /// The same set always gives the same bytes.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when the fields contradict each other.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SynthError> {
        let malformed = |error: safetensors::SafeTensorError| SynthError::malformed(WHAT, error);
        let [channels, height, width] = self.shape;
        let pixels: Vec<u8> = self.pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
        let labels: Option<Vec<u8>> =
            self.labels.as_ref().map(|labels| labels.iter().flat_map(|label| label.to_le_bytes()).collect());
        let shape = vec![self.len(), channels, height, width];
        let mut tensors = vec![("pixels", TensorView::new(Dtype::F32, shape, &pixels).map_err(malformed)?)];
        if let Some(labels) = &labels {
            tensors.push(("labels", TensorView::new(Dtype::U32, vec![self.len()], labels).map_err(malformed)?));
        }
        let metadata = HashMap::from([("origin".to_owned(), self.origin.name().to_owned())]);
        serialize(tensors, Some(metadata)).map_err(malformed)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when the bytes are not such a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SynthError> {
        let malformed = |error: safetensors::SafeTensorError| SynthError::malformed(WHAT, error);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let origin = match metadata.metadata().as_ref().and_then(|entries| entries.get("origin")).map(String::as_str) {
            Some("synthetic") => Origin::Synthetic,
            Some("real") => Origin::Real,
            other => {
                let found = format!("the metadata key `origin` is {other:?} instead of `synthetic` or `real`");
                return Err(SynthError::malformed(WHAT, found));
            }
        };
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let pixels = file.tensor("pixels").map_err(malformed)?;
        let &[_, channels, height, width] = pixels.shape() else {
            return Err(SynthError::malformed(
                WHAT,
                format!("`pixels` has shape {:?} instead of four sizes", pixels.shape()),
            ));
        };
        let values = words(&pixels, Dtype::F32, "pixels")?.map(f32::from_le_bytes).collect();
        let labels = match file.tensor("labels") {
            Ok(labels) => Some(words(&labels, Dtype::U32, "labels")?.map(u32::from_le_bytes).collect()),
            Err(_) => None,
        };
        Self::new([channels, height, width], values, labels, origin)
    }

    fn image_size(&self) -> usize {
        self.shape.iter().product()
    }
}

fn words<'a>(
    view: &TensorView<'a>,
    dtype: Dtype,
    name: &str,
) -> Result<impl Iterator<Item = [u8; 4]> + 'a, SynthError> {
    if view.dtype() != dtype {
        return Err(SynthError::malformed(WHAT, format!("`{name}` holds {:?} instead of {dtype:?}", view.dtype())));
    }
    Ok(view.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: Option<Vec<u32>>) -> ImageSet {
        let pixels = (0..5 * 12).map(|value| value as f32 / 7.0 - 3.0).collect();
        ImageSet::new([3, 2, 2], pixels, labels, Origin::Synthetic).unwrap()
    }

    #[test]
    fn bytes_come_back_as_the_same_set() {
        let real = ImageSet { origin: Origin::Real, ..set(Some(vec![4, 0, 1, 70_000, 2])) };
        for images in [set(None), real] {
            let bytes = images.to_bytes().unwrap();
            assert_eq!(ImageSet::from_bytes(&bytes).unwrap(), images);
            assert_eq!(images.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn truncated_bytes_are_an_error() {
        let bytes = set(None).to_bytes().unwrap();
        for length in [0, 7, 40, bytes.len() - 1] {
            assert!(ImageSet::from_bytes(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn contradicting_fields_are_an_error() {
        assert!(ImageSet::new([3, 2, 2], vec![0.0; 13], None, Origin::Synthetic).is_err());
        assert!(ImageSet::new([3, 2, 2], vec![0.0; 24], Some(vec![1]), Origin::Synthetic).is_err());
    }

    #[test]
    fn batches_hold_every_image_once_and_in_order() {
        let images = set(None);
        let batches: Vec<Tensor<4>> = images.batches(2, &Device::flex()).collect();
        assert_eq!(batches.iter().map(|batch| batch.dims()[0]).collect::<Vec<_>>(), [2, 2, 1]);
        let all: Vec<f32> =
            batches.into_iter().flat_map(|batch| batch.into_data().iter::<f32>().collect::<Vec<_>>()).collect();
        assert_eq!(all, images.pixels);
    }
}
