//! Logits of a network on many images, and what is measured on them.

use std::ops::Range;

use blindfold_synth::{ImageSet, RealImages, is_flex};
use blindfold_zoo::{Network, Normalization};
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

/// Images that a network is measured on.
pub(crate) enum Probe<'a> {
    /// A test set, of which the first so many are taken.
    Test(&'a RealImages, &'a Normalization, usize),
    /// Synthetic images.
    Synthetic(&'a ImageSet),
}

impl Probe<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Test(_, _, count) => *count,
            Self::Synthetic(images) => images.len(),
        }
    }

    fn tensor(&self, range: Range<usize>, device: &Device) -> Tensor<4> {
        match self {
            Self::Test(images, normalization, _) => images.tensor(range, normalization, device),
            Self::Synthetic(images) => images.tensor(range, device),
        }
    }
}

/// Logits of all images of a probe, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Logits {
    classes: usize,
    values: Vec<f32>,
}

/// Runs `forward` on the probe in batches of `batch`; on flex several batches at once, since each works on one core for
/// most of its time. The result does not depend on how many.
pub(crate) fn logits(
    forward: impl Fn(Tensor<4>) -> Tensor<2> + Sync,
    probe: &Probe<'_>,
    batch: usize,
    device: &Device,
) -> Logits {
    let count = probe.len();
    let ranges: Vec<Range<usize>> =
        (0..count).step_by(batch.max(1)).map(|from| from..(from + batch).min(count)).collect();
    let run = |range: Range<usize>| -> Vec<f32> {
        let data = forward(probe.tensor(range, device)).into_data();
        data.iter::<f32>().collect()
    };
    let parts: Vec<Vec<f32>> =
        if is_flex(device) { ranges.into_par_iter().map(run).collect() } else { ranges.into_iter().map(run).collect() };
    let values = parts.concat();
    let classes = values.len().checked_div(count).unwrap_or(0);
    Logits { classes, values }
}

/// Share of labelled images, in percent, that the network takes for the class of their label; none without labels.
pub(crate) fn label_accuracy(network: &Network, images: &ImageSet, batch: usize, device: &Device) -> Option<f64> {
    let labels: Vec<u16> = images.labels.as_ref()?.iter().map(|&label| label as u16).collect();
    let own = logits(|images| network.forward(images), &Probe::Synthetic(images), batch, device);
    Some(own.accuracy(&labels)[0])
}

impl Logits {
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes.max(1))
    }

    /// Top-1 and top-5 accuracy in percent. A label counts as in the top k when fewer than k classes score higher, or as
    /// high and earlier.
    pub(crate) fn accuracy(&self, labels: &[u16]) -> [f64; 2] {
        let mut hits = [0usize; 2];
        for (row, &label) in self.rows().zip(labels) {
            let label = usize::from(label);
            let own = row[label];
            let before = row
                .iter()
                .enumerate()
                .filter(|&(class, &score)| score > own || (score == own && class < label))
                .count();
            hits[0] += usize::from(before < 1 && own.is_finite());
            hits[1] += usize::from(before < 5 && own.is_finite());
        }
        let count = labels.len().min(self.values.len() / self.classes.max(1)).max(1);
        hits.map(|hits| 100.0 * hits as f64 / count as f64)
    }

    /// Share of images, in percent, for which both choose one class.
    pub(crate) fn agreement(&self, other: &Self) -> f64 {
        let count = self.rows().count().max(1);
        let same = self.rows().zip(other.rows()).filter(|(a, b)| argmax(a) == argmax(b)).count();
        100.0 * same as f64 / count as f64
    }

    /// Mean squared difference over all logits.
    pub(crate) fn mse(&self, other: &Self) -> f64 {
        let sum: f64 = self.values.iter().zip(&other.values).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        sum / self.values.len().max(1) as f64
    }

    /// Mean over images of `KL(softmax(teacher) || softmax(self))`, in nats, at temperature 1.
    pub(crate) fn kl_from(&self, teacher: &Self) -> f64 {
        let sum: f64 = self
            .rows()
            .zip(teacher.rows())
            .map(|(own, teacher)| {
                let (own, teacher) = (log_softmax(own), log_softmax(teacher));
                teacher.iter().zip(&own).map(|(t, s)| t.exp() * (t - s)).sum::<f64>()
            })
            .sum();
        sum / self.rows().count().max(1) as f64
    }

    /// Whether all are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)));
    let log_sum = row.iter().map(|&value| (f64::from(value) - most).exp()).sum::<f64>().ln();
    row.iter().map(|&value| f64::from(value) - most - log_sum).collect()
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, score) in row.iter().enumerate() {
        if *score > row[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(classes: usize, values: &[f32]) -> Logits {
        Logits { classes, values: values.to_vec() }
    }

    #[test]
    fn accuracy_agreement_and_error_are_those_of_a_hand_calculation() {
        let a = of(3, &[3.0, 1.0, 2.0, 0.0, 5.0, 1.0]);
        let b = of(3, &[2.0, 1.0, 3.0, 0.0, 5.0, 1.0]);
        assert_eq!(a.accuracy(&[0, 2]), [50.0, 100.0]);
        assert_eq!(a.agreement(&b), 50.0);
        assert!((a.mse(&b) - 2.0 / 6.0).abs() < 1e-12);
        assert_eq!(a.kl_from(&a), 0.0);
        // Two classes: p = sigmoid(ln 3) = 3/4 against 1/2.
        let (even, odds) = (of(2, &[0.0, 0.0]), of(2, &[3f32.ln(), 0.0]));
        assert!((even.kl_from(&odds) - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-7);
    }

    #[test]
    fn equal_scores_count_for_the_first_class_alone() {
        let flat = of(10, &[0.5; 20]);
        assert_eq!(flat.accuracy(&[0, 9]), [50.0, 50.0]);
    }

    #[test]
    fn nan_is_never_a_hit() {
        let broken = of(2, &[f32::NAN, f32::NAN]);
        assert_eq!(broken.accuracy(&[0]), [0.0, 0.0]);
        assert!(!broken.is_finite());
    }
}
