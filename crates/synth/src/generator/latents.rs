//! What the images of a batch are to show, and the noise that makes each of them another one.

use blindfold_zoo::Stream;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// The latent codes of a batch: how the classes and the noise `z ~ N(0, I)` of its images are put together.
#[derive(Debug, Clone, PartialEq)]
pub enum Latents {
    /// `h = z`: no class.
    Noise {
        /// Number of images.
        count: usize,
    },
    /// One class an image: `h = Emb(y) * z` element by element, or `h = z` where the generator has no embedding.
    Labelled {
        /// The class of each image.
        labels: Vec<u32>,
    },
    /// Several classes an image: `h = sum_k share_k * BN(Emb(y_k) + z_k)`, with BN over all codes of the batch,
    /// dimension by dimension, without parameters.
    Superposed {
        /// The classes, `parts` of them side by side for each image.
        labels: Vec<u32>,
        /// Their shares, in the same order; those of an image sum to 1.
        shares: Vec<f32>,
        /// Classes an image.
        parts: usize,
        /// Added to the variance in BN.
        epsilon: f64,
        /// Class-conditional batch norms take the mean of their weighted scales and shifts over the parts instead of
        /// the sum.
        average_norms: bool,
    },
}

impl Latents {
    /// One class for each of `count` images, drawn evenly from `classes`.
    pub fn labelled(classes: usize, count: usize, random: &mut Stream) -> Self {
        Self::Labelled { labels: draw_labels(classes, count, random) }
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        match self {
            Self::Noise { count } => *count,
            Self::Labelled { labels } => labels.len(),
            Self::Superposed { labels, parts, .. } => labels.len() / (*parts).max(1),
        }
    }

    /// Number of noise vectors: one for each class of each image.
    pub(super) fn codes(&self) -> usize {
        match self {
            Self::Superposed { labels, .. } => labels.len(),
            other => other.count(),
        }
    }

    /// The class of each image, where each has one.
    pub fn labels(&self) -> Option<Vec<u32>> {
        match self {
            Self::Labelled { labels } | Self::Superposed { labels, parts: 1, .. } => Some(labels.clone()),
            _ => None,
        }
    }

    /// The shares of all `classes` in each image, `[count, classes]` row by row; each row sums to 1. None without
    /// classes.
    pub fn targets(&self, classes: usize) -> Option<Vec<f32>> {
        let mut targets = vec![0f32; self.count() * classes];
        match self {
            Self::Noise { .. } => return None,
            Self::Labelled { labels } => {
                for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
                    row[label as usize] = 1.0;
                }
            }
            Self::Superposed { labels, shares, parts, .. } => {
                let parts = (*parts).max(1);
                let images = labels.chunks_exact(parts).zip(shares.chunks_exact(parts));
                for (row, (labels, shares)) in targets.chunks_exact_mut(classes).zip(images) {
                    labels.iter().zip(shares).for_each(|(&label, share)| row[label as usize] += share);
                }
            }
        }
        Some(targets)
    }

    /// The noise, `length` values a code.
    pub(super) fn noise(&self, length: usize, random: &mut Stream) -> Vec<f32> {
        (0..self.codes() * length).map(|_| StandardNormal.sample(random)).collect()
    }
}

/// `count` classes, each drawn evenly.
pub(super) fn draw_labels(classes: usize, count: usize, random: &mut Stream) -> Vec<u32> {
    (0..count).map(|_| random.random_range(0..classes as u32)).collect()
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;

    #[test]
    fn one_class_has_the_whole_share() {
        let latents = Latents::Labelled { labels: vec![2, 0] };
        assert_eq!(latents.targets(3).unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(latents.labels(), Some(vec![2, 0]));
        assert_eq!((latents.count(), latents.codes()), (2, 2));
    }

    #[test]
    fn a_class_that_is_drawn_twice_has_both_shares() {
        let latents = Latents::Superposed {
            labels: vec![1, 1, 0, 2],
            shares: vec![0.25, 0.75, 0.5, 0.5],
            parts: 2,
            epsilon: 1e-5,
            average_norms: true,
        };
        assert_eq!(latents.targets(3).unwrap(), [0.0, 1.0, 0.0, 0.5, 0.0, 0.5]);
        assert_eq!(latents.labels(), None);
        assert_eq!((latents.count(), latents.codes()), (2, 4));
    }

    #[test]
    fn labels_are_even_and_noise_is_standard() {
        let mut random = stream(3, "latents");
        let Latents::Labelled { labels } = Latents::labelled(4, 4000, &mut random) else {
            panic!("one class an image")
        };
        for class in 0..4 {
            let share = labels.iter().filter(|&&label| label == class).count() as f64 / 4000.0;
            // Five deviations of a share of 4000 draws.
            assert!((share - 0.25).abs() < 5.0 * (0.1875f64 / 4000.0).sqrt(), "{share}");
        }
        let latents = Latents::Noise { count: 100 };
        let noise = latents.noise(40, &mut random);
        assert_eq!((noise.len(), latents.targets(4), latents.labels()), (4000, None, None));
        let mean = noise.iter().sum::<f32>() / 4000.0;
        let square = noise.iter().map(|value| value * value).sum::<f32>() / 4000.0;
        assert!(mean.abs() < 0.08 && (square - 1.0).abs() < 0.12, "{mean} {square}");
    }
}
