//! The standard normal density.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::{erf, erf_inv, erfc};

use super::{Density, Moments};

/// `f(x) = phi(x) = e^(-x^2 / 2) / sqrt(2 pi)`.
///
/// ```text
/// tail = erfc(x / sqrt 2) / 2 = Q(x),   tail_mean = phi(x),   tail_square = x phi(x) + Q(x)
/// fit: mean, and standard deviation with n in the denominator
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gaussian;

/// From here on `phi` is 0 in `f64`.
const END: f64 = 39.0;

impl Density for Gaussian {
    fn density(&self, x: f64) -> f64 {
        (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
    }

    fn tail(&self, x: f64) -> f64 {
        erfc(x / SQRT_2) / 2.0
    }

    fn tail_mean(&self, x: f64) -> f64 {
        self.density(x)
    }

    fn tail_square(&self, x: f64) -> f64 {
        if x > END { 0.0 } else { x * self.density(x) + self.tail(x) }
    }

    fn companding(&self, share: f64, limit: f64) -> f64 {
        let width = 6f64.sqrt();
        width * erf_inv(share * erf(limit / width))
    }

    fn fit(&self, values: &[f32]) -> (f64, f64) {
        let moments = Moments::of(values.iter().copied());
        (moments.mean(), moments.deviation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_tables() {
        // scipy.stats.norm: sf(1), sf(6), pdf(1). The erfc of statrs is good to 1e-11 or so.
        assert!((Gaussian.tail(1.0) - 0.158_655_253_931_457_07).abs() < 1e-10);
        assert!((Gaussian.tail(6.0) / 9.865_876_450_376_946e-10 - 1.0).abs() < 1e-9);
        assert!((Gaussian.tail_mean(1.0) - 0.241_970_724_519_143_37).abs() < 1e-10);
        assert!((Gaussian.tail_square(1.0) - 0.400_625_978_450_600_44).abs() < 1e-10);
        assert_eq!(Gaussian.tail_square(f64::INFINITY), 0.0);
    }
}
