//! Whether two methods differ, by their runs of equal seeds.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::stat::{ROUNDING, Stat};

/// Below this p-value, and with at least [`LEAST_PAIRS`] pairs, a difference is called significant.
pub const SIGNIFICANT: f64 = 0.05;
/// Fewest pairs of runs that a difference is called significant with.
pub const LEAST_PAIRS: usize = 3;

/// A paired t-test, two-sided.
///
/// ```text
/// d = a - b over equal seeds      t = mean(d) sqrt(n) / std(d)      p = P(|T| >= |t|), T Student's with n - 1
/// ```
/// Differences that are all the same give p = 0, and p = 1 where they are 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// How many pairs.
    pub n: usize,
    /// Mean of `a - b`.
    pub difference: f64,
    /// Probability of so large a difference between methods that do not differ.
    pub p: f64,
}

impl Paired {
    /// Of the values of two methods by seed; none where fewer than two seeds are common to both.
    pub fn of(a: &BTreeMap<u64, f64>, b: &BTreeMap<u64, f64>) -> Option<Self> {
        let pairs: Vec<(f64, f64)> = a.iter().filter_map(|(seed, a)| Some((*a, *b.get(seed)?))).collect();
        let stat = Stat::of(pairs.iter().map(|(a, b)| a - b))?;
        let std = stat.std?;
        let size = pairs.iter().fold(0.0_f64, |size, (a, b)| size.max(a.abs()).max(b.abs()));
        let p = match (stat.mean.abs() <= ROUNDING * size, std <= ROUNDING * size) {
            (true, true) => 1.0,
            (false, true) => 0.0,
            (_, false) => {
                let student = StudentsT::new(0.0, 1.0, (stat.n - 1) as f64).ok()?;
                2.0 * student.sf((stat.mean * (stat.n as f64).sqrt() / std).abs())
            }
        };
        Some(Self { n: stat.n, difference: stat.mean, p })
    }

    /// Whether there are pairs enough, and so large a difference is too unlikely for chance.
    pub fn is_significant(&self) -> bool {
        self.n >= LEAST_PAIRS && self.p < SIGNIFICANT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(values: &[f64]) -> BTreeMap<u64, f64> {
        (1..).zip(values.iter().copied()).collect()
    }

    /// scripts/reference/t_tests.py, from scipy.
    #[test]
    fn tests_equal_those_of_scipy() {
        let reference: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/t-tests.json")).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let cases = reference["paired"].as_array().unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let found = Paired::of(&seeds(&numbers(&case["a"])), &seeds(&numbers(&case["b"]))).unwrap();
            assert!((found.p - case["p"].as_f64().unwrap()).abs() < 1e-9, "{case}: {found:?}");
        }
    }

    #[test]
    fn only_equal_seeds_are_paired() {
        let a = BTreeMap::from([(1, 5.0), (2, 6.0), (4, 100.0)]);
        let b = BTreeMap::from([(1, 4.0), (2, 4.0), (3, -100.0)]);
        let found = Paired::of(&a, &b).unwrap();
        assert_eq!((found.n, found.difference), (2, 1.5));
        assert_eq!(Paired::of(&a, &BTreeMap::from([(4, 1.0)])), None);
        assert_eq!(Paired::of(&a, &BTreeMap::new()), None);
    }

    #[test]
    fn two_pairs_are_too_few_and_equal_runs_do_not_differ() {
        let far = |n: usize| Paired::of(&seeds(&[90.0, 90.1, 90.2][..n]), &seeds(&[10.0, 10.3, 10.1][..n])).unwrap();
        assert!(far(2).p < SIGNIFICANT && !far(2).is_significant() && far(3).is_significant());
        let same = Paired::of(&seeds(&[1.0, 2.0, 3.0]), &seeds(&[1.0, 2.0, 3.0])).unwrap();
        assert!(same.p == 1.0 && !same.is_significant());
        assert_eq!(Paired::of(&seeds(&[1.5, 2.5, 3.5]), &seeds(&[1.0, 2.0, 3.0])).unwrap().p, 0.0);
    }
}
