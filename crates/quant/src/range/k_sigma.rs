//! A range of so many standard deviations.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Groups, RangeEstimator, RangeObserver};
use crate::distribution::Moments;
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`KSigma`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KSigmaConfig {
    /// Number of standard deviations. SQuant has 12 at 4 bits, 14 at 6 and 25 at 8.
    pub k: f64,
    /// Which standard deviation, and from where.
    pub rule: KSigmaRule,
    /// Rule `squant`: by how much the range of signed values is narrower on each side.
    pub signed_divisor: f64,
    /// Rule `squant`: for fewer bits than this the range ends where the values end; from here on it may pass them.
    pub clip_below_bits: u8,
}

impl Default for KSigmaConfig {
    fn default() -> Self {
        Self { k: 3.0, rule: KSigmaRule::Mean, signed_divisor: 1.25, clip_below_bits: 6 }
    }
}

/// Which standard deviation, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KSigmaRule {
    /// That of all values, about their mean.
    Mean,
    /// That of the values above zero, about zero.
    Squant,
}

/// A range of `k` standard deviations.
///
/// ```text
/// mean, signed:            [mu - k sigma, mu + k sigma] within the values     sigma: of all values
/// mean, never negative:    [0, mu + k sigma] within the values
/// squant, signed:          [-r, r], r = k sigma+ / signed_divisor             sigma+: of the values above 0, about their mean
/// squant, never negative:  [0, k sigma+]
/// squant, b < clip_below_bits:  r at most max |x|
/// ```
/// Standard deviations have n in the denominator; all are of all values seen, in `f64`.
///
/// # Range
/// `mean`: within the values, from zero where none is negative. `squant`: holds zero. Equal values, and for `squant` values
/// whose positive ones are equal or none, have the range from the least to the largest.
///
/// # Source
/// `squant`: Guo et al., SQuant, ICLR 2022, its repository. `mean`: the usual rule.
///
/// # Differences from the source
/// SQuant measures on one batch of uniform noise and has n - 1 in the denominator.
#[derive(Debug, Clone)]
pub struct KSigma {
    config: KSigmaConfig,
}

impl KSigma {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `k` or a `signed_divisor` that is not positive, or above 1000.
    pub fn new(config: KSigmaConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("k", config.k), ("signed_divisor", config.signed_divisor)] {
            if !(value > 0.0 && value <= 1000.0) {
                return Err(ConfigError::invalid(key, value, "write a number above 0 and up to 1000"));
            }
        }
        Ok(Self { config })
    }
}

impl RangeEstimator for KSigma {
    fn observer(&self, _quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { config: self.config.clone(), bits, groups: Groups::new() })
    }
}

struct Observer {
    config: KSigmaConfig,
    bits: u8,
    groups: Groups<Spread>,
}

/// Range and moments of what a group has seen.
struct Spread {
    range: Range,
    moments: Moments,
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        let moments_of = |values: &[f32]| match self.config.rule {
            KSigmaRule::Mean => Moments::of(values.iter().copied()),
            KSigmaRule::Squant => Moments::of(values.iter().copied().filter(|x| *x > 0.0)),
        };
        self.groups.update(
            samples,
            |values| Ok(Spread { range: Range::of(values)?, moments: moments_of(values) }),
            |spread, values| {
                spread.range = spread.range.union(Range::of(values)?)?;
                spread.moments.merge(&moments_of(values));
                Ok(())
            },
        )
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        self.groups.seen()?.iter().map(|spread| self.range(spread)).collect()
    }
}

impl Observer {
    fn range(&self, spread: &Spread) -> Result<Range, QuantError> {
        let (seen, reach) = (spread.range, self.config.k * spread.moments.deviation());
        if reach == 0.0 {
            return Ok(seen);
        }
        let (min, max) = (f64::from(seen.min()), f64::from(seen.max()));
        match self.config.rule {
            KSigmaRule::Mean => {
                let mean = spread.moments.mean();
                let low = if min >= 0.0 { 0.0 } else { (mean - reach).clamp(min, max) };
                Range::new(low as f32, (mean + reach).clamp(low, max) as f32)
            }
            KSigmaRule::Squant => {
                let is_signed = min < 0.0;
                let reach = if is_signed { reach / self.config.signed_divisor } else { reach };
                let limit =
                    if self.bits < self.config.clip_below_bits { max.max(-min) } else { f64::from(f32::MAX) / 2.0 };
                let high = reach.min(limit) as f32;
                Range::new(if is_signed { -high } else { 0.0 }, high)
            }
        }
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "k-sigma",
    summary: "k standard deviations about the mean, or SQuant's k of the positive values' from zero",
    source: "Guo et al., SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation, ICLR 2022",
    defaults: defaults_of::<KSigmaConfig>,
    build: |table| Ok(Box::new(KSigma::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::{ZeroqAffine, ZeroqAffineConfig};

    fn ends(config: KSigmaConfig, bits: u8, batches: &[&[f32]]) -> (f32, f32) {
        let quantizer = Arc::new(ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap());
        let mut observer = KSigma::new(config).unwrap().observer(quantizer, bits);
        for batch in batches {
            observer.observe(&Samples::new(batch.to_vec(), 1).unwrap()).unwrap();
        }
        let range = observer.ranges().unwrap()[0];
        (range.min(), range.max())
    }

    fn config(k: f64, rule: KSigmaRule) -> KSigmaConfig {
        KSigmaConfig { k, rule, ..KSigmaConfig::default() }
    }

    #[test]
    fn about_the_mean_it_is_that_of_a_calculation_by_hand() {
        // The mean is 1 in both; the variance 4 of (-1, 3), and (4 + 4 + 25 + 25) / 4 with -4 and 6.
        assert_eq!(ends(config(0.5, KSigmaRule::Mean), 4, &[&[-1.0, 3.0]]), (0.0, 2.0));
        let (low, high) = ends(config(1.0, KSigmaRule::Mean), 4, &[&[-1.0, 3.0], &[-4.0, 6.0]]);
        let sigma = 14.5f32.sqrt();
        assert!((low - (1.0 - sigma)).abs() < 1e-6 && (high - (1.0 + sigma)).abs() < 1e-6, "{low} {high}");
        assert_eq!(ends(config(9.0, KSigmaRule::Mean), 4, &[&[-1.0, 3.0]]), (-1.0, 3.0));
    }

    #[test]
    fn values_that_are_never_negative_begin_at_zero() {
        assert_eq!(ends(config(0.5, KSigmaRule::Mean), 4, &[&[1.0, 5.0]]), (0.0, 4.0));
        assert_eq!(ends(config(2.0, KSigmaRule::Mean), 4, &[&[1.0, 5.0]]), (0.0, 5.0));
        assert_eq!(ends(config(0.5, KSigmaRule::Squant), 4, &[&[0.0, 0.0, 1.0, 5.0]]), (0.0, 1.0));
    }

    #[test]
    fn the_rule_of_squant_is_that_of_the_positive_values() {
        // The values above zero are 1 and 5: deviation 2.
        let signed: &[f32] = &[-6.0, -2.0, 0.0, 1.0, 5.0];
        assert_eq!(ends(config(2.5, KSigmaRule::Squant), 8, &[signed]), (-4.0, 4.0));
        assert_eq!(ends(config(25.0, KSigmaRule::Squant), 8, &[signed]), (-40.0, 40.0));
        assert_eq!(ends(config(25.0, KSigmaRule::Squant), 6, &[signed]), (-40.0, 40.0));
        assert_eq!(ends(config(25.0, KSigmaRule::Squant), 5, &[signed]), (-6.0, 6.0));
        let wide = KSigmaConfig { signed_divisor: 1.0, clip_below_bits: 0, ..config(25.0, KSigmaRule::Squant) };
        assert_eq!(ends(wide, 2, &[&signed[..2], &signed[2..]]), (-50.0, 50.0));
        assert_eq!(ends(config(3.0, KSigmaRule::Squant), 4, &[&[-2.0, -1.0]]), (-2.0, -1.0));
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for (k, signed_divisor) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (3.0, 0.0), (2000.0, 1.0)] {
            let config = KSigmaConfig { k, signed_divisor, ..Default::default() };
            assert!(KSigma::new(config.clone()).is_err(), "{config:?}");
        }
    }
}
