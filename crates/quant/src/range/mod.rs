//! Plugin family: from observed values to the range that is quantized.

mod aciq;
mod k_sigma;
mod kl;
mod min_max;
mod moving_average;
mod mse;
mod percentile;

use std::fmt::Debug;
use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry};

use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::reservoir::Reservoir;
use crate::samples::Samples;

pub use aciq::{Aciq, AciqConfig, AciqFamily, AciqFormula};
pub use k_sigma::{KSigma, KSigmaConfig, KSigmaRule};
pub use kl::{Kl, KlConfig};
pub use min_max::{MinMax, MinMaxConfig};
pub use moving_average::{MovingAverage, MovingAverageConfig};
pub use mse::{Mse, MseConfig};
pub use percentile::{Percentile, PercentileConfig};

/// Chooses, from the values that pass, the range that is quantized.
pub trait RangeEstimator: Debug + Send + Sync {
    /// An observer of one tensor, which will be quantized by `quantizer` to `bits` bits.
    fn observer(&self, quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver>;

    /// Whether the ranges of weights are taken anew from the current weights in every forward pass (ZeroQ and the GDFQ
    /// family, in their code), as against frozen when the network is calibrated.
    fn follows_weights(&self) -> bool {
        false
    }
}

/// What an estimator has seen of one tensor.
pub trait RangeObserver: Send {
    /// Sees one batch of values, grouped.
    ///
    /// # Errors
    /// [`QuantError::Groups`] when the number of groups is not that of the batches before.
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError>;

    /// The range of each group, from all that was seen.
    ///
    /// # Errors
    /// [`QuantError::Empty`] before the first batch.
    fn ranges(&self) -> Result<Vec<Range>, QuantError>;
}

/// All range estimators of this crate.
pub const BUILTIN: &[Entry<dyn RangeEstimator>] =
    &[min_max::ENTRY, moving_average::ENTRY, percentile::ENTRY, mse::ENTRY, kl::ENTRY, aciq::ENTRY, k_sigma::ENTRY];

/// One thing kept for each group; begun by the first batch, which decides how many groups there are.
#[derive(Debug)]
struct Groups<T>(Vec<T>);

impl<T> Groups<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn update(
        &mut self,
        samples: &Samples,
        first: impl Fn(&[f32]) -> Result<T, QuantError>,
        next: impl Fn(&mut T, &[f32]) -> Result<(), QuantError>,
    ) -> Result<(), QuantError> {
        if self.0.is_empty() {
            self.0 = samples.iter().map(first).collect::<Result<_, _>>()?;
            return Ok(());
        }
        if self.0.len() != samples.groups() {
            return Err(QuantError::Groups { expected: self.0.len(), found: samples.groups() });
        }
        self.0.iter_mut().zip(samples.iter()).try_for_each(|(group, values)| next(group, values))
    }

    fn seen(&self) -> Result<&[T], QuantError> {
        if self.0.is_empty() { Err(QuantError::Empty) } else { Ok(&self.0) }
    }
}

/// Exact range and a bounded sample of what a group has seen.
#[derive(Debug)]
struct Kept {
    range: Range,
    sample: Reservoir,
}

impl Kept {
    fn observe(groups: &mut Groups<Self>, samples: &Samples, max_samples: usize) -> Result<(), QuantError> {
        let first = |values: &[f32]| {
            let mut sample = Reservoir::new(max_samples);
            sample.extend(values);
            Ok(Self { range: Range::of(values)?, sample })
        };
        groups.update(samples, first, |kept, values| {
            kept.range = kept.range.union(Range::of(values)?)?;
            kept.sample.extend(values);
            Ok(())
        })
    }
}

fn at_least(key: &str, value: usize, least: usize) -> Result<usize, ConfigError> {
    if value >= least { Ok(value) } else { Err(ConfigError::invalid(key, value, format!("write at least {least}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;

    fn observer(entry: &Entry<dyn RangeEstimator>) -> Box<dyn RangeObserver> {
        let quantizer: Arc<dyn Quantizer> =
            Arc::from(Families::builtin().quantizers.build("zeroq-affine", toml::Table::new()).unwrap());
        (entry.build)(toml::Table::new()).unwrap().observer(quantizer, 4)
    }

    #[test]
    fn every_estimator_keeps_groups_apart_and_within_what_was_seen() {
        for entry in BUILTIN {
            let mut observer = observer(entry);
            let values: Vec<f32> =
                (0..8000).map(|index| (index as f32 * 0.7).sin() * if index < 4000 { 1.0 } else { 10.0 }).collect();
            let samples = Samples::new(values, 2).unwrap();
            observer.observe(&samples).unwrap();
            observer.observe(&samples).unwrap();
            let ranges = observer.ranges().unwrap();
            assert_eq!(ranges.len(), 2, "{}", entry.name);
            assert!(ranges[0].max() <= 1.0001 && ranges[0].max() > 0.3, "{}: {:?}", entry.name, ranges[0]);
            assert!(ranges[1].max() <= 10.001 && ranges[1].max() > 3.0, "{}: {:?}", entry.name, ranges[1]);
            assert!(ranges[1].min() >= -10.001 && ranges[1].min() < -3.0, "{}: {:?}", entry.name, ranges[1]);
        }
    }

    #[test]
    fn every_estimator_gives_a_constant_a_range_that_keeps_it() {
        let quantizer = Families::builtin().quantizers.build("zeroq-affine", toml::Table::new()).unwrap();
        for entry in BUILTIN {
            for constant in [0.0f32, 2.0, -3.0] {
                let mut observer = observer(entry);
                observer.observe(&Samples::new(vec![constant; 500], 1).unwrap()).unwrap();
                let map = quantizer.map(observer.ranges().unwrap()[0], 4).unwrap();
                let error = (map.value(map.code(constant)) - constant).abs();
                assert!(error <= 1e-6 * constant.abs(), "{} {constant}: {error}", entry.name);
            }
        }
    }

    #[test]
    fn misuse_is_an_error() {
        for entry in BUILTIN {
            let mut observer = observer(entry);
            assert!(matches!(observer.ranges(), Err(QuantError::Empty)), "{}", entry.name);
            observer.observe(&Samples::new(vec![1.0; 6], 2).unwrap()).unwrap();
            let other = observer.observe(&Samples::new(vec![1.0; 6], 3).unwrap());
            assert!(matches!(other, Err(QuantError::Groups { expected: 2, found: 3 })), "{}", entry.name);
        }
    }
}
