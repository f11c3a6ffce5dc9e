//! What a teacher says of images, to compare students with.

use burn::tensor::Tensor;

/// Logarithms of the teacher's probabilities, image by image.
#[derive(Debug)]
pub(super) struct Answers {
    classes: usize,
    logs: Vec<f64>,
}

impl Answers {
    /// Those of logits of so many classes an image.
    pub(super) fn new(logits: &[f32], classes: usize) -> Self {
        Self { classes, logs: logits.chunks(classes.max(1)).flat_map(log_softmax).collect() }
    }

    /// Mean over images of `KL(softmax(teacher) || softmax(student))` in nats, at temperature 1.
    ///
    /// Infinite for logits that are no numbers.
    pub(super) fn divergence(&self, logits: &[f32]) -> f64 {
        let classes = self.classes.max(1);
        let rows = self.logs.chunks(classes).zip(logits.chunks(classes).map(log_softmax));
        let sum: f64 = rows
            .map(|(teacher, student)| teacher.iter().zip(&student).map(|(t, s)| t.exp() * (t - s)).sum::<f64>())
            .sum();
        let mean = sum / (self.logs.len() / classes).max(1) as f64;
        if mean.is_nan() { f64::INFINITY } else { mean }
    }
}

/// The logits `[batch, classes]` of a network for images `[image, channel, height, width]`, some at a time, on the host.
pub(super) fn logits(network: impl Fn(Tensor<4>) -> Tensor<2>, images: &Tensor<4>, batch: usize) -> Vec<f32> {
    let count = images.dims()[0];
    let firsts = (0..count).step_by(batch.max(1));
    let parts = firsts.map(|first| network(images.clone().narrow(0, first, batch.min(count - first))));
    parts.flat_map(|logits| logits.inner().into_data().iter::<f32>().collect::<Vec<f32>>()).collect()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)));
    let log_sum = row.iter().map(|&value| (f64::from(value) - most).exp()).sum::<f64>().ln();
    row.iter().map(|&value| f64::from(value) - most - log_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{images, plain};

    #[test]
    fn two_classes_have_their_closed_form() {
        // p = 0.8, q = 0.5 and p = q, averaged over two images.
        let teacher = [4.0f32.ln(), 0.0, 1.0, 3.0];
        let answers = Answers::new(&teacher, 2);
        let expected = 0.5 * (0.8 * (0.8f64 / 0.5).ln() + 0.2 * (0.2f64 / 0.5).ln());
        assert!((answers.divergence(&[7.0, 7.0, -5.0, -3.0]) - expected).abs() < 1e-6);
        assert!(answers.divergence(&teacher).abs() < 1e-12);
        assert_eq!(answers.divergence(&[f32::NAN, 0.0, 0.0, 0.0]), f64::INFINITY);
    }

    #[test]
    fn batches_are_put_together_in_order() {
        let network = plain(1);
        let images = images(&network, 5, 2);
        let whole = logits(|images| network.forward(images), &images, 5);
        assert_eq!(whole.len(), 5 * 5);
        let parts = logits(|images| network.forward(images), &images, 2);
        assert!(parts.iter().zip(&whole).all(|(part, whole)| (part - whole).abs() < 1e-5));
        assert_eq!(parts.len(), whole.len());
    }
}
