//! The range without its tails.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Groups, Kept, RangeEstimator, RangeObserver, at_least};
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`Percentile`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PercentileConfig {
    /// Upper percentile, above 50 to 100; the lower one is 100 minus it.
    pub percentile: f64,
    /// The range always holds zero.
    pub include_zero: bool,
    /// Beyond so many values of a group a uniform sample of them stands for all.
    pub max_samples: usize,
}

impl Default for PercentileConfig {
    fn default() -> Self {
        Self { percentile: 99.9, include_zero: false, max_samples: 1 << 20 }
    }
}

/// From the `(100 - p)`-th to the `p`-th percentile of all values seen.
///
/// ```text
/// x_(0) <= ... <= x_(n-1);   h = (n - 1) p / 100;   Q(p) = x_(floor h) + (h - floor h) (x_(floor h + 1) - x_(floor h))
/// min = Q(100 - p),  max = Q(p)
/// ```
/// # Range
/// Within the values seen; all of them at `p = 100`.
///
/// # Source
/// McKinstry et al., Discovering Low-Precision Networks Close to Full-Precision Networks, 2018; quantile type 7 of Hyndman and Fan 1996.
///
/// # Differences from the source
/// Both tails are cut, not that of the absolute values.
#[derive(Debug, Clone)]
pub struct Percentile {
    config: PercentileConfig,
}

impl Percentile {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `percentile` outside `(50, 100]` and a `max_samples` below 2.
    pub fn new(config: PercentileConfig) -> Result<Self, ConfigError> {
        if !(config.percentile > 50.0 && config.percentile <= 100.0) {
            return Err(ConfigError::invalid(
                "percentile",
                config.percentile,
                "write a number above 50 and up to 100, such as 99.9",
            ));
        }
        at_least("max_samples", config.max_samples, 2)?;
        Ok(Self { config })
    }
}

impl RangeEstimator for Percentile {
    fn observer(&self, _quantizer: Arc<dyn Quantizer>, _bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { config: self.config.clone(), groups: Groups::new() })
    }
}

struct Observer {
    config: PercentileConfig,
    groups: Groups<Kept>,
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        Kept::observe(&mut self.groups, samples, self.config.max_samples)
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        let PercentileConfig { percentile, include_zero, .. } = self.config;
        let seen = self.groups.seen()?;
        seen.par_iter()
            .map(|kept| {
                let mut values = kept.sample.values().to_vec();
                let range = if percentile == 100.0 || values.is_empty() {
                    kept.range
                } else {
                    let min = quantile(&mut values, 1.0 - percentile / 100.0);
                    let max = quantile(&mut values, percentile / 100.0);
                    Range::new(min, max.max(min))?
                };
                Ok(if include_zero { range.with_zero() } else { range })
            })
            .collect()
    }
}

fn quantile(values: &mut [f32], share: f64) -> f32 {
    let position = (values.len() - 1) as f64 * share;
    let (whole, part) = (position.floor() as usize, position.fract());
    let (_, &mut below, above) = values.select_nth_unstable_by(whole, f32::total_cmp);
    let next = above.iter().copied().min_by(f32::total_cmp).unwrap_or(below);
    (f64::from(below) + part * (f64::from(next) - f64::from(below))) as f32
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "percentile",
    summary: "from the (100 - p)-th to the p-th percentile of all values",
    source: "McKinstry et al., Discovering Low-Precision Networks Close to Full-Precision Networks, 2018",
    defaults: defaults_of::<PercentileConfig>,
    build: |table| Ok(Box::new(Percentile::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::{ZeroqAffine, ZeroqAffineConfig};

    fn range(config: PercentileConfig, values: Vec<f32>) -> Range {
        let quantizer = Arc::new(ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap());
        let mut observer = Percentile::new(config).unwrap().observer(quantizer, 8);
        observer.observe(&Samples::new(values, 1).unwrap()).unwrap();
        observer.ranges().unwrap()[0]
    }

    #[test]
    fn percentiles_interpolate_between_ranks() {
        let values: Vec<f32> = (0..=1000).rev().map(|value| value as f32).collect();
        let found = range(PercentileConfig { percentile: 99.0, ..Default::default() }, values.clone());
        assert_eq!((found.min(), found.max()), (10.0, 990.0));
        let found = range(PercentileConfig { percentile: 99.95, ..Default::default() }, values.clone());
        assert!((found.min() - 0.5).abs() < 1e-3 && (found.max() - 999.5).abs() < 1e-3, "{found:?}");
        let found = range(PercentileConfig { percentile: 100.0, ..Default::default() }, values);
        assert_eq!((found.min(), found.max()), (0.0, 1000.0));
    }

    #[test]
    fn zero_is_included_when_asked() {
        let found = range(PercentileConfig { include_zero: true, ..Default::default() }, vec![3.0, 4.0, 5.0]);
        assert_eq!(found.min(), 0.0);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for percentile in [50.0, 100.5, f64::NAN] {
            assert!(Percentile::new(PercentileConfig { percentile, ..Default::default() }).is_err());
        }
    }
}
