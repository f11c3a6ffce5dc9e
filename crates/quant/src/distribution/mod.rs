//! The densities that values are fitted by, and what is optimal for them.

mod clipping;
mod empirical;
mod gaussian;
mod kolmogorov_smirnov;
mod laplace;
mod lloyd_max;
mod moments;

use serde::{Deserialize, Serialize};

pub(crate) use clipping::golden_section;
pub use clipping::{
    aciq_clip, aciq_error, exact_clip, integer_error, integer_step, mid_rise_error, unsigned_error, unsigned_step,
};
pub(crate) use empirical::Empirical;
pub use gaussian::Gaussian;
pub use kolmogorov_smirnov::{KolmogorovSmirnov, ks_distance};
pub use laplace::Laplace;
pub use lloyd_max::UnitCodebook;
pub(crate) use moments::Moments;

/// A density `f` with location 0 and scale 1 that is symmetric and falls away from 0.
///
/// Integrals are made of upper tails, which keep their relative accuracy where `1 - F` has lost it.
pub trait Density: Sync {
    /// `f(x)`.
    fn density(&self, x: f64) -> f64;

    /// The integral of `f` from `x >= 0` to infinity.
    fn tail(&self, x: f64) -> f64;

    /// The integral of `t f(t)` from `x >= 0` to infinity.
    fn tail_mean(&self, x: f64) -> f64;

    /// The integral of `t^2 f(t)` from `x >= 0` to infinity.
    fn tail_square(&self, x: f64) -> f64;

    /// The place up to which a `share` (0 to 1, without 1) of the integral of `f^(1/3)` from 0 to `limit` lies.
    ///
    /// Many levels are best placed with a density of `f^(1/3)` (Panter and Dite 1951).
    fn companding(&self, share: f64, limit: f64) -> f64;

    /// Location and scale under which values (at least one) are most likely; a scale of 0 where all are equal.
    fn fit(&self, values: &[f32]) -> (f64, f64);

    /// The integral of `f` from minus infinity to `x`.
    fn cumulative(&self, x: f64) -> f64 {
        if x >= 0.0 { 1.0 - self.tail(x) } else { self.tail(-x) }
    }

    /// The integral of `f` from `a` to `b >= a`.
    fn mass(&self, a: f64, b: f64) -> f64 {
        even(a, b, |x| self.tail(x))
    }

    /// The integral of `t f(t)` from `a` to `b >= a`.
    fn mean_over(&self, a: f64, b: f64) -> f64 {
        self.tail_mean(a.abs()) - self.tail_mean(b.abs())
    }

    /// The integral of `t^2 f(t)` from `a` to `b >= a`.
    fn square_over(&self, a: f64, b: f64) -> f64 {
        even(a, b, |x| self.tail_square(x))
    }

    /// The integral of `(t - level)^2 f(t)` from `a` to `b >= a`.
    fn error_over(&self, level: f64, a: f64, b: f64) -> f64 {
        self.square_over(a, b) - 2.0 * level * self.mean_over(a, b) + level * level * self.mass(a, b)
    }
}

/// The integral from `a` to `b` of an even function whose upper tails are given.
fn even(a: f64, b: f64, tail: impl Fn(f64) -> f64) -> f64 {
    if a >= 0.0 {
        tail(a) - tail(b)
    } else if b <= 0.0 {
        tail(-b) - tail(-a)
    } else {
        2.0 * tail(0.0) - tail(-a) - tail(b)
    }
}

/// A family of densities `f((x - location) / scale) / scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DensityFamily {
    /// Normal densities: mean and standard deviation.
    Gaussian,
    /// Laplace densities: median and mean absolute deviation from it.
    Laplace,
}

impl DensityFamily {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gaussian, Self::Laplace];

    /// Its density with location 0 and scale 1.
    pub fn unit(self) -> &'static dyn Density {
        match self {
            Self::Gaussian => &Gaussian,
            Self::Laplace => &Laplace,
        }
    }

    /// As TOML and tables say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Laplace => "laplace",
        }
    }

    /// The member under which these finite values are most likely; none where all are equal, or there are none.
    pub fn fit(self, values: &[f32]) -> Option<Fitted> {
        if values.is_empty() {
            return None;
        }
        let (location, scale) = self.unit().fit(values);
        (scale > 0.0).then_some(Fitted { family: self, location, scale })
    }
}

/// One density of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Its family.
    pub family: DensityFamily,
    /// Mean of a Gaussian, median of a Laplace density, in units of the values.
    pub location: f64,
    /// Standard deviation of a Gaussian, `E|x - location|` of a Laplace density, in units of the values; above 0.
    pub scale: f64,
}

impl Fitted {
    /// The share of the density below `x`.
    pub fn cumulative(&self, x: f64) -> f64 {
        self.family.unit().cumulative((x - self.location) / self.scale)
    }

    /// Levels of the unit density in units of the values; what is beyond `f32` becomes its largest value.
    pub fn levels(&self, unit: &[f64]) -> Vec<f32> {
        let value = |level: &f64| self.location + self.scale * level;
        unit.iter().map(|level| value(level).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32).collect()
    }
}

/// Samples of unit densities for tests.
#[cfg(test)]
pub(crate) fn draw(family: DensityFamily, count: usize, seed: u64) -> Vec<f32> {
    use rand_distr::{Distribution, Exp1, StandardNormal};

    let mut random = blindfold_zoo::stream(seed, family.name());
    (0..count)
        .map(|_| match family {
            DensityFamily::Gaussian => StandardNormal.sample(&mut random),
            DensityFamily::Laplace => {
                let (a, b): (f32, f32) = (Exp1.sample(&mut random), Exp1.sample(&mut random));
                a - b
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_are_those_of_numerical_integration() {
        const STEPS: usize = 40_000;
        for family in DensityFamily::ALL {
            let unit = family.unit();
            for (a, b) in [(-1.5, 0.5), (0.25, 3.0), (-4.0, -1.0), (0.0, 0.01)] {
                let width = (b - a) / STEPS as f64;
                let sum = |term: &dyn Fn(f64) -> f64| {
                    (0..STEPS).map(|step| term(a + (step as f64 + 0.5) * width) * width).sum::<f64>()
                };
                let f = |t: f64| unit.density(t);
                assert!((unit.mass(a, b) - sum(&f)).abs() < 1e-8, "{family:?} {a} {b}");
                assert!((unit.mean_over(a, b) - sum(&|t| t * f(t))).abs() < 1e-8, "{family:?} {a} {b}");
                assert!((unit.square_over(a, b) - sum(&|t| t * t * f(t))).abs() < 1e-8, "{family:?} {a} {b}");
                let error = sum(&|t| (t - 0.3).powi(2) * f(t));
                assert!((unit.error_over(0.3, a, b) - error).abs() < 1e-8, "{family:?} {a} {b}");
                assert!((unit.cumulative(b) - unit.cumulative(a) - unit.mass(a, b)).abs() < 1e-14);
            }
            assert!((unit.mass(f64::NEG_INFINITY, f64::INFINITY) - 1.0).abs() < 1e-15);
            assert_eq!(unit.mean_over(f64::NEG_INFINITY, f64::INFINITY), 0.0);
        }
        let variances = DensityFamily::ALL.map(|family| family.unit().square_over(f64::NEG_INFINITY, f64::INFINITY));
        assert!((variances[0] - 1.0).abs() < 1e-15 && (variances[1] - 2.0).abs() < 1e-15, "{variances:?}");
    }

    #[test]
    fn companding_shares_are_those_of_the_cube_root() {
        const STEPS: usize = 100_000;
        for family in DensityFamily::ALL {
            for (share, limit) in [(0.1, 2.0), (0.5, 5.0), (0.9, 3.0)] {
                let width = limit / STEPS as f64;
                let root = |step: usize| family.unit().density((step as f64 + 0.5) * width).cbrt();
                let whole: f64 = (0..STEPS).map(root).sum();
                let place = family.unit().companding(share, limit);
                let part: f64 = (0..(place / width).round() as usize).map(root).sum();
                assert!((part / whole - share).abs() < 1e-4, "{family:?} {share} {limit}: {}", part / whole);
            }
            assert!(family.unit().companding(0.999, f64::INFINITY).is_finite());
        }
    }

    #[test]
    fn fits_are_the_closed_forms_of_maximum_likelihood() {
        // numpy: mean, std and median of these values, and the mean absolute deviation from the median.
        let values = [-2.0, -1.25, -1.25, -0.5, 0.0, 0.0, 0.0, 0.75, 1.5, 3.0];
        let gaussian = DensityFamily::Gaussian.fit(&values).unwrap();
        assert!((gaussian.location - 0.025).abs() < 1e-15 && (gaussian.scale - 1.3849638984464543).abs() < 1e-14);
        let laplace = DensityFamily::Laplace.fit(&values).unwrap();
        assert_eq!((laplace.location, laplace.scale), (0.0, 1.025));
        let even = DensityFamily::Laplace.fit(&[4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((even.location, even.scale), (3.0, 2.5));
        for family in DensityFamily::ALL {
            assert!(family.fit(&[0.1; 7]).is_none() && family.fit(&[]).is_none());
        }
    }

    #[test]
    fn levels_beyond_f32_become_its_largest_value() {
        let fitted = Fitted { family: DensityFamily::Gaussian, location: 3e38, scale: 2e38 };
        assert_eq!(fitted.levels(&[-1.0, 2.0]), [1e38, f32::MAX]);
    }
}
