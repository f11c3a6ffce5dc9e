//! Mean and variance of a stream of values.

/// Number, mean and sum of squared deviations of the values seen, in `f64`; the same for any division into batches, up to
/// rounding.
///
/// # Source
/// Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979, eq. 2.1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Those of some values; all zero for none.
    pub(crate) fn of(values: impl Iterator<Item = f32> + Clone) -> Self {
        let (count, sum) = values.clone().fold((0.0, 0.0), |(count, sum), x| (count + 1.0, sum + f64::from(x)));
        if count == 0.0 {
            return Self::default();
        }
        let mean = sum / count;
        Self { count, mean, squares: values.map(|x| (f64::from(x) - mean).powi(2)).sum() }
    }

    /// Adds what others have seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let gap = other.mean - self.mean;
        self.mean += gap * other.count / count;
        self.squares += other.squares + gap * gap * self.count * other.count / count;
        self.count = count;
    }

    /// The mean; 0 without values.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation, with n in the denominator; 0 without values.
    pub(crate) fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }

    /// The root of the mean square; 0 without values.
    pub(crate) fn root_mean_square(&self) -> f64 {
        (self.squares / self.count.max(1.0) + self.mean * self.mean).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_merge_to_the_moments_of_all() {
        let values: Vec<f32> = (0..1000).map(|index| 1e4 + (index as f32 * 0.37).sin()).collect();
        let whole = Moments::of(values.iter().copied());
        let mut merged = Moments::default();
        for part in values.chunks(77) {
            merged.merge(&Moments::of(part.iter().copied()));
        }
        assert!((whole.mean() - merged.mean()).abs() < 1e-9);
        assert!((whole.deviation() / merged.deviation() - 1.0).abs() < 1e-9);
        let square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1000.0;
        assert!((whole.root_mean_square() / square.sqrt() - 1.0).abs() < 1e-12);
        let none = Moments::of(std::iter::empty());
        assert_eq!((none.mean(), none.deviation(), none.root_mean_square()), (0.0, 0.0, 0.0));
    }
}
