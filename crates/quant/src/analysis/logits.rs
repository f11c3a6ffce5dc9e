//! How far two networks' answers are apart.

use serde::Serialize;

use crate::error::QuantError;

/// The distance of a network's logits `s` from the teacher's `t`, over `n` images and `c` classes.
///
/// ```text
/// mse       = (1 / n c) sum (s - t)^2
/// kl        = (1 / n) sum KL(softmax(t) || softmax(s))
/// agreement = 100 / n * #{images: argmax s = argmax t}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogitError {
    /// Mean squared error, in logits squared.
    pub mse: f64,
    /// Kullback-Leibler divergence of the class probabilities, in nats.
    pub kl: f64,
    /// Share of images to which both give one class, in percent.
    pub agreement: f64,
}

/// The logits of all images, row by row; all finite.
#[derive(Debug, Clone)]
pub(super) struct Logits {
    classes: usize,
    values: Vec<f32>,
}

impl Logits {
    /// `count` rows.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`].
    pub(super) fn new(values: Vec<f32>, count: usize) -> Result<Self, QuantError> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let error = QuantError::NotFinite { index, count: values.len(), value: values[index] };
            return Err(error.at("logits"));
        }
        Ok(Self { classes: (values.len() / count.max(1)).max(1), values })
    }

    /// The distance of `student` from these.
    pub(super) fn distance(&self, student: &Self) -> LogitError {
        let rows = || self.values.chunks_exact(self.classes).zip(student.values.chunks_exact(self.classes));
        let count = rows().count().max(1) as f64;
        let squares: f64 = rows().flat_map(|(t, s)| t.iter().zip(s)).map(|(&t, &s)| squared_distance(t, s)).sum();
        let agreeing = rows().filter(|(t, s)| largest(t) == largest(s)).count();
        LogitError {
            mse: squares / self.values.len().max(1) as f64,
            kl: rows().map(|(t, s)| divergence(t, s)).sum::<f64>() / count,
            agreement: 100.0 * agreeing as f64 / count,
        }
    }
}

fn squared_distance(a: f32, b: f32) -> f64 {
    (f64::from(a) - f64::from(b)).powi(2)
}

/// `KL(softmax(teacher) || softmax(student))`.
fn divergence(teacher: &[f32], student: &[f32]) -> f64 {
    let (teacher, student) = (log_softmax(teacher), log_softmax(student));
    teacher.iter().zip(&student).map(|(t, s)| t.exp() * (t - s)).sum()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)));
    let log_sum = row.iter().map(|&value| (f64::from(value) - most).exp()).sum::<f64>().ln();
    row.iter().map(|&value| f64::from(value) - most - log_sum).collect()
}

/// The class of the largest logit, the first of equal ones.
fn largest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_hand_calculation() {
        // Two classes: 3/4 against 1/2 at the first image; equal rows at the second.
        let teacher = Logits::new(vec![3f32.ln(), 0.0, 1.0, 2.0], 2).unwrap();
        let student = Logits::new(vec![0.0, 0.1, 1.0, 2.0], 2).unwrap();
        let error = teacher.distance(&student);
        assert!((error.mse - (3f64.ln().powi(2) + 0.01) / 4.0).abs() < 1e-6);
        let q = 1.0 / (1.0 + 0.1f64.exp());
        let expected = (0.75 * (0.75 / q).ln() + 0.25 * (0.25 / (1.0 - q)).ln()) / 2.0;
        assert!((error.kl - expected).abs() < 1e-6, "{} {expected}", error.kl);
        assert_eq!(error.agreement, 50.0);
        assert_eq!(teacher.distance(&teacher), LogitError { mse: 0.0, kl: 0.0, agreement: 100.0 });
    }

    #[test]
    fn a_common_shift_costs_no_divergence() {
        let teacher = Logits::new(vec![1.0, 2.0, 3.0], 1).unwrap();
        let student = Logits::new(vec![3.0, 4.0, 5.0], 1).unwrap();
        let error = teacher.distance(&student);
        assert!(error.mse == 4.0 && error.kl.abs() < 1e-12 && error.agreement == 100.0);
    }

    #[test]
    fn what_is_not_finite_is_an_error() {
        let error = Logits::new(vec![0.0, f32::NAN], 1).unwrap_err().to_string();
        assert!(error.starts_with("`logits`: value 1 of 2 is NaN"), "{error}");
    }
}
