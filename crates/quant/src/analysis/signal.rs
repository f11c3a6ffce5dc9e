//! How far what passes is from what should pass.

use serde::Serialize;

/// The distance of values `q` from the values `x` that they stand for.
///
/// ```text
/// mse         = (1/n) sum (x - q)^2
/// mean_square = (1/n) sum x^2
/// sqnr_db     = 10 log10(mean_square / mse)
/// cosine      = sum x q / sqrt(sum x^2 sum q^2)
/// ```
/// Sums are in `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SignalError {
    /// Mean squared error, in values squared.
    pub mse: f64,
    /// Mean square of the values stood for.
    pub mean_square: f64,
    /// Signal to quantization noise ratio in dB; none where it is infinite.
    pub sqnr_db: Option<f64>,
    /// Cosine of the angle between both; none where either is zero.
    pub cosine: Option<f64>,
}

impl SignalError {
    /// `mse / mean_square`: 0 is perfect, 1 is as bad as zeros in place of everything. None without a signal.
    pub fn relative(&self) -> Option<f64> {
        (self.mean_square > 0.0).then_some(self.mse / self.mean_square)
    }
}

/// The sums behind a [`SignalError`], batch by batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SignalSums {
    count: usize,
    noise: f64,
    signal: f64,
    found: f64,
    product: f64,
}

impl SignalSums {
    /// Sees more values and what stands for them; both of equal length.
    pub(super) fn add(&mut self, values: &[f32], found: &[f32]) {
        debug_assert_eq!(values.len(), found.len());
        self.count += values.len();
        for (&x, &y) in values.iter().zip(found) {
            let (x, y) = (f64::from(x), f64::from(y));
            self.noise += (x - y).powi(2);
            self.signal += x * x;
            self.found += y * y;
            self.product += x * y;
        }
    }

    /// The distance of all that was seen.
    pub(super) fn error(&self) -> SignalError {
        let count = self.count.max(1) as f64;
        let norms = (self.signal * self.found).sqrt();
        let ratio = 10.0 * (self.signal / self.noise).log10();
        SignalError {
            mse: self.noise / count,
            mean_square: self.signal / count,
            sqnr_db: Some(ratio).filter(|ratio| ratio.is_finite()),
            cosine: (norms > 0.0).then_some(self.product / norms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_hand_calculation() {
        let mut sums = SignalSums::default();
        sums.add(&[3.0], &[4.0]);
        sums.add(&[4.0], &[3.0]);
        let error = sums.error();
        assert_eq!((error.mse, error.mean_square), (1.0, 12.5));
        assert!((error.sqnr_db.unwrap() - 10.0 * 12.5f64.log10()).abs() < 1e-12);
        assert!((error.cosine.unwrap() - 24.0 / 25.0).abs() < 1e-12);
        assert!((error.relative().unwrap() - 0.08).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_noise_or_no_signal_has_no_ratio() {
        let of = |values: &[f32], found: &[f32]| {
            let mut sums = SignalSums::default();
            sums.add(values, found);
            sums.error()
        };
        let exact = of(&[1.0, -2.0], &[1.0, -2.0]);
        assert!(exact.sqnr_db.is_none() && (exact.cosine.unwrap() - 1.0).abs() < 1e-12);
        let silent = of(&[0.0, 0.0], &[1.0, 0.0]);
        assert!(silent.sqnr_db.is_none() && silent.cosine.is_none() && silent.relative().is_none());
    }
}
