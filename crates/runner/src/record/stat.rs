//! Mean and spread over seeds.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Share of the values below which their spread is rounding.
pub(super) const ROUNDING: f64 = 1e-12;

/// Mean and sample standard deviation of some runs.
///
/// ```text
/// mean = sum(x) / n      std = sqrt( sum((x - mean)^2) / (n - 1) )
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stat {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation with n - 1; none for a single value.
    pub std: Option<f64>,
}

impl Stat {
    /// Of these values; none of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let size = values.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        // The mean of equal values need not be that value.
        let std = |std: f64| if std <= ROUNDING * size { 0.0 } else { std };
        Some(Self { n, mean, std: (n > 1).then(|| std((squares / (n - 1) as f64).sqrt())) })
    }

    /// The 95 % interval of the mean by Student's t; none for a single value.
    ///
    /// ```text
    /// mean ± t(0.975; n - 1) std / sqrt(n)
    /// ```
    pub fn interval(&self) -> Option<[f64; 2]> {
        let std = self.std?;
        let student = StudentsT::new(0.0, 1.0, self.n.saturating_sub(1) as f64).ok()?;
        let half = student.inverse_cdf(0.975) * std / (self.n as f64).sqrt();
        Some([self.mean - half, self.mean + half])
    }

    /// `91.20 ± 0.31`, or `91.20` for a single value.
    pub fn text(&self, digits: usize) -> String {
        match self.std {
            Some(std) => format!("{:.digits$} ± {std:.digits$}", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_computed_by_hand() {
        let stat = Stat::of([90.0, 91.0, 93.5]).unwrap();
        assert!((stat.mean - 91.5).abs() < 1e-12);
        assert!((stat.std.unwrap() - 3.25_f64.sqrt()).abs() < 1e-12);
        assert_eq!(stat.text(2), "91.50 ± 1.80");
        assert_eq!(Stat::of([4.0]).unwrap().text(1), "4.0");
        assert_eq!(Stat::of([]), None);
        assert_eq!(Stat::of([0.1, 0.1, 0.1]).unwrap().std, Some(0.0));
    }

    /// scripts/reference/t_tests.py, from scipy.
    #[test]
    fn intervals_equal_those_of_scipy() {
        let reference: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/t-tests.json")).unwrap();
        let cases = reference["intervals"].as_array().unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let values = case["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
            let [low, high] = Stat::of(values).unwrap().interval().unwrap();
            let expected = [case["low"].as_f64().unwrap(), case["high"].as_f64().unwrap()];
            assert!((low - expected[0]).abs() < 1e-8 && (high - expected[1]).abs() < 1e-8, "{case}: {low} {high}");
        }
        assert_eq!(Stat::of([4.0]).unwrap().interval(), None);
    }
}
