//! What the start of a learned quantizer is computed from.

use serde::{Deserialize, Serialize};

use crate::error::QuantError;
use crate::samples::Samples;

/// Statistics of the values of one group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupStatistics {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Mean.
    pub mean: f32,
    /// Mean of the magnitudes.
    pub magnitude: f32,
    /// Standard deviation, the sum of squares divided by one fewer than there are values.
    pub deviation: f32,
}

impl GroupStatistics {
    /// Those of each group.
    pub fn of(samples: &Samples) -> Vec<Self> {
        samples.iter().map(|values| Sums::of(values).statistics()).collect()
    }
}

/// The statistics of each group over many batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatisticsObserver(Vec<Sums>);

/// Sums of one group, in double precision.
#[derive(Debug, Clone, Copy)]
struct Sums {
    count: f64,
    min: f32,
    max: f32,
    mean: f64,
    magnitude: f64,
    squares: f64,
}

impl StatisticsObserver {
    /// Sees one more batch.
    ///
    /// # Errors
    /// [`QuantError::Groups`] for another number of groups than before.
    pub(crate) fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        let batch = samples.iter().map(Sums::of);
        if self.0.is_empty() {
            self.0 = batch.collect();
            return Ok(());
        }
        if self.0.len() != samples.groups() {
            return Err(QuantError::Groups { expected: self.0.len(), found: samples.groups() });
        }
        self.0.iter_mut().zip(batch).for_each(|(sums, more)| *sums = sums.with(more));
        Ok(())
    }

    /// The statistics of all that was seen.
    pub(crate) fn statistics(&self) -> Vec<GroupStatistics> {
        self.0.iter().map(Sums::statistics).collect()
    }
}

impl Sums {
    fn of(values: &[f32]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let magnitude = values.iter().map(|&x| f64::from(x).abs()).sum::<f64>() / count;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self { count, min, max, mean, magnitude, squares }
    }

    fn with(self, more: Self) -> Self {
        let count = self.count + more.count;
        let share = more.count / count;
        let step = more.mean - self.mean;
        Self {
            count,
            min: self.min.min(more.min),
            max: self.max.max(more.max),
            mean: self.mean + step * share,
            magnitude: self.magnitude + (more.magnitude - self.magnitude) * share,
            squares: self.squares + more.squares + step * step * self.count * share,
        }
    }

    fn statistics(&self) -> GroupStatistics {
        GroupStatistics {
            min: self.min,
            max: self.max,
            mean: self.mean as f32,
            magnitude: self.magnitude as f32,
            deviation: (self.squares / (self.count - 1.0).max(1.0)).sqrt() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_definition_over_all_batches() {
        let batches = [[1.0f32, -3.0, 0.5, 9.0, 9.0, 9.0], [2.0, 2.0, -1.5, -4.0, 0.0, 1.0]];
        let mut observer = StatisticsObserver::default();
        for batch in batches {
            observer.observe(&Samples::new(batch.to_vec(), 2).unwrap()).unwrap();
        }
        let all = [[1.0f64, -3.0, 0.5, 2.0, 2.0, -1.5], [9.0, 9.0, 9.0, -4.0, 0.0, 1.0]];
        for (found, values) in observer.statistics().into_iter().zip(all) {
            let mean = values.iter().sum::<f64>() / 6.0;
            let magnitude = values.iter().map(|x| x.abs()).sum::<f64>() / 6.0;
            let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
            for (found, expected) in [(found.mean, mean), (found.magnitude, magnitude), (found.deviation, deviation)] {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
            }
            let ends = values.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
            assert_eq!((f64::from(found.min), f64::from(found.max)), ends);
        }
        assert_eq!(GroupStatistics::of(&Samples::new(vec![2.0], 1).unwrap())[0].deviation, 0.0);
        let other = Samples::new(vec![0.0; 3], 3).unwrap();
        assert!(matches!(observer.observe(&other), Err(QuantError::Groups { expected: 2, found: 3 })));
    }
}
