//! What changes over the iterations of a unit.

use std::f64::consts::PI;

/// How sharp the rounding regulariser is, from blunt to sharp.
///
/// ```text
/// none during the first  warmup * iterations;   then  beta = start + (end - start) * (share of the rest that is done)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Annealing {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) warmup: f64,
}

impl Annealing {
    /// The exponent at an iteration counted from 0; none while there is no regulariser yet.
    pub(super) fn beta(&self, iteration: usize, iterations: usize) -> Option<f64> {
        let (now, total) = (iteration as f64, iterations as f64);
        let first = self.warmup * total;
        (now >= first).then(|| self.start + (self.end - self.start) * (now - first) / (total - first))
    }
}

/// The share of a learning rate that falls from 1 to 0 as a half cosine: `(1 + cos(pi * iteration / iterations)) / 2`.
pub(super) fn cosine(iteration: usize, iterations: usize) -> f64 {
    (1.0 + (PI * iteration as f64 / iterations as f64).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_falls_from_20_to_2_after_a_fifth_without_regulariser() {
        let annealing = Annealing { start: 20.0, end: 2.0, warmup: 0.2 };
        let beta = |iteration| annealing.beta(iteration, 1000);
        assert_eq!((beta(0), beta(199)), (None, None));
        assert_eq!((beta(200), beta(600), beta(400)), (Some(20.0), Some(11.0), Some(15.5)));
        assert!((beta(999).unwrap() - (2.0 + 18.0 / 800.0)).abs() < 1e-12);
        assert_eq!(Annealing { warmup: 0.0, ..annealing }.beta(0, 10), Some(20.0));
    }

    #[test]
    fn the_cosine_is_1_at_the_start_half_in_the_middle_and_0_at_the_end() {
        for (iteration, expected) in [(0, 1.0), (25, 0.853_553_390_593), (50, 0.5), (100, 0.0)] {
            assert!((cosine(iteration, 100) - expected).abs() < 1e-12, "{iteration}");
        }
    }
}
