//! Which class each image is made for.

use blindfold_zoo::{ConfigError, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// How the classes of the images are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelRule {
    /// The images have no class.
    None,
    /// Each image draws its class, all equally likely.
    Random,
    /// As many images of each class as possible, in an order that the seed decides.
    Balanced,
}

impl LabelRule {
    /// The class of each of `count` images; empty for [`Self::None`].
    pub(crate) fn draw(self, count: usize, classes: usize, seed: u64) -> Vec<u32> {
        let classes = classes.max(1) as u32;
        let mut random = stream(seed, "optimised labels");
        match self {
            Self::None => Vec::new(),
            Self::Random => (0..count).map(|_| random.random_range(0..classes)).collect(),
            Self::Balanced => {
                let mut labels: Vec<u32> = (0..count).map(|index| (index % classes as usize) as u32).collect();
                labels.shuffle(&mut random);
                labels
            }
        }
    }

    /// Refuses [`Self::None`] for a source with a loss that asks for a class.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the key `labels`.
    pub(crate) fn with_classes(self) -> Result<Self, ConfigError> {
        match self {
            Self::None => {
                let fix = "write \"random\" or \"balanced\": a loss of this source asks for a class";
                Err(ConfigError::invalid("labels", "\"none\"", fix))
            }
            rule => Ok(rule),
        }
    }
}

/// `y[n, c] = 1` where `c` is the label of image `n`, else 0: `[label, classes]`, on the plain device.
pub(crate) fn one_hot(labels: &[u32], classes: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0f32; labels.len() * classes];
    for (row, &label) in values.chunks_mut(classes.max(1)).zip(labels) {
        if let Some(value) = row.get_mut(label as usize) {
            *value = 1.0;
        }
    }
    Tensor::from_data(TensorData::new(values, [labels.len(), classes]), &device.clone().without_autodiff())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(labels: &[u32], classes: usize) -> Vec<usize> {
        (0..classes).map(|class| labels.iter().filter(|&&label| label as usize == class).count()).collect()
    }

    #[test]
    fn balanced_classes_differ_by_at_most_one() {
        let labels = LabelRule::Balanced.draw(23, 5, 7);
        let counts = counts(&labels, 5);
        assert_eq!(counts.iter().sum::<usize>(), 23);
        assert!(counts.iter().all(|&count| count == 4 || count == 5), "{counts:?}");
        assert_ne!(labels, (0..23).map(|index| index % 5).collect::<Vec<u32>>(), "the order is shuffled");
        assert_eq!(labels, LabelRule::Balanced.draw(23, 5, 7));
        assert_ne!(labels, LabelRule::Balanced.draw(23, 5, 8));
    }

    #[test]
    fn random_classes_are_uniform() {
        let labels = LabelRule::Random.draw(5000, 5, 7);
        for count in counts(&labels, 5) {
            assert!((count as f64 - 1000.0).abs() < 5.0 * (5000.0 * 0.2 * 0.8f64).sqrt(), "{count}");
        }
        assert_eq!(labels, LabelRule::Random.draw(5000, 5, 7));
    }

    #[test]
    fn none_gives_none_and_is_refused_where_classes_are_needed() {
        assert!(LabelRule::None.draw(5, 5, 7).is_empty());
        let error = LabelRule::None.with_classes().unwrap_err().to_string();
        assert!(error.starts_with("`labels`: \"none\" is not valid"), "{error}");
        assert_eq!(LabelRule::Random.with_classes(), Ok(LabelRule::Random));
    }

    #[test]
    fn one_hot_rows_have_their_one_at_the_label() {
        let rows: Vec<f32> = one_hot(&[2, 0], 3, &Device::flex().autodiff()).into_data().iter::<f32>().collect();
        assert_eq!(rows, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
