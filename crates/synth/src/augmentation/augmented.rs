//! A batch on its way through augmentations.

use burn::tensor::{Int, Tensor, TensorData};

use crate::optimised::one_hot;

/// A batch of images, with what is known of their classes.
#[derive(Debug, Clone)]
pub struct Augmented {
    /// `[batch, channel, height, width]`, in the teacher's normalised space.
    pub images: Tensor<4>,
    /// The class of each image, where each has one; mixed images have none.
    pub labels: Option<Vec<u32>>,
    /// The share of each class in each image, `[batch, classes]`, each row of sum 1: of images that show several
    /// classes, and of mixed ones.
    pub shares: Option<Tensor<2>>,
    /// Number of classes.
    pub classes: usize,
}

impl Augmented {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.dims()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same classes with other images.
    pub fn with_images(self, images: Tensor<4>) -> Self {
        Self { images, ..self }
    }

    /// The images in another order: at place `n` image `order[n]`.
    pub fn images_in_order(&self, order: &[usize]) -> Tensor<4> {
        rows(self.images.clone(), order)
    }

    /// Mixed images: of image `n` the share `kept[n]` stands for its own classes, the rest for those of image
    /// `partners[n]`.
    ///
    /// ```text
    /// y'_n = kept_n y_n + (1 - kept_n) y_{partner_n}
    /// ```
    /// y: the shares of the classes, one-hot where each image has one class. Images of unknown classes stay so.
    pub fn mixed(self, images: Tensor<4>, partners: &[usize], kept: &[f32]) -> Self {
        let device = images.device();
        let shares = self.shares.or_else(|| self.labels.map(|labels| one_hot(&labels, self.classes, &device)));
        let shares = shares.map(|own| {
            let column = TensorData::new(kept.to_vec(), [kept.len(), 1]);
            let kept = Tensor::<2>::from_data(column, &own.device());
            let theirs = rows(own.clone(), partners);
            own * kept.clone() + theirs * (kept.neg() + 1.0)
        });
        Self { images, labels: None, shares, classes: self.classes }
    }
}

/// The rows of these numbers.
fn rows<const D: usize>(tensor: Tensor<D>, numbers: &[usize]) -> Tensor<D> {
    let places: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [numbers.len()]), &tensor.device());
    tensor.select(0, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{host, images};

    fn batch(labels: Option<Vec<u32>>) -> Augmented {
        Augmented { images: images(3, 1), labels, shares: None, classes: 2 }
    }

    #[test]
    fn labels_become_shares() {
        let mixed = batch(Some(vec![0, 1, 1])).mixed(images(3, 2), &[1, 2, 0], &[0.75, 0.25, 1.0]);
        assert_eq!(host(&mixed.shares.unwrap()), [0.75, 0.25, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!((mixed.labels, mixed.classes), (None, 2));
        assert_eq!(host(&mixed.images), host(&images(3, 2)));
    }

    #[test]
    fn shares_are_mixed_again_and_nothing_stays_nothing() {
        let once = batch(Some(vec![0, 1, 1])).mixed(images(3, 1), &[1, 2, 0], &[0.5; 3]);
        let twice = once.mixed(images(3, 1), &[2, 0, 1], &[0.5; 3]);
        // After the first: half and half, all of the second, half and half.
        assert_eq!(host(&twice.shares.unwrap()), [0.5, 0.5, 0.25, 0.75, 0.25, 0.75]);
        assert!(batch(None).mixed(images(3, 1), &[1, 2, 0], &[0.5; 3]).shares.is_none());
    }

    #[test]
    fn an_order_is_that_of_the_images() {
        let batch = batch(None);
        let turned = batch.images_in_order(&[2, 0, 0]);
        for (place, number) in [2, 0, 0].into_iter().enumerate() {
            assert_eq!(host(&turned.clone().narrow(0, place, 1)), host(&batch.images.clone().narrow(0, number, 1)));
        }
        assert_eq!((batch.len(), batch.is_empty()), (3, false));
    }
}
