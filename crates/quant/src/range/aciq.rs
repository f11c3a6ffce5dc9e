//! The range that is best for a fitted density.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Groups, Kept, RangeEstimator, RangeObserver, at_least};
use crate::deviation::deviation;
use crate::distribution::{DensityFamily, Moments, aciq_clip, integer_step, unsigned_step};
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`Aciq`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AciqConfig {
    /// The density that the values are taken to have.
    pub family: AciqFamily,
    /// Where the thresholds come from.
    pub formula: AciqFormula,
    /// Beyond so many values of a group a uniform sample of them stands for all, in the mean absolute deviation and in the
    /// errors that `mixed` compares; all else is of all values.
    pub max_samples: usize,
}

impl Default for AciqConfig {
    fn default() -> Self {
        Self { family: AciqFamily::Laplace, formula: AciqFormula::Published, max_samples: 1 << 20 }
    }
}

/// The density that the values are taken to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AciqFamily {
    /// Gaussian.
    #[serde(alias = "gauss")]
    Gaussian,
    /// Laplace.
    Laplace,
    /// Whichever of the ranges of both and min-max has the smallest mean squared error on the values.
    Mixed,
}

/// Where the thresholds come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AciqFormula {
    /// The source's approximation of the error.
    Published,
    /// The exact optimum of an integer grid, zero among its levels.
    Exact,
}

/// Analytical clipping: the range that a fitted Gaussian or Laplace density asks for.
///
/// ```text
/// s = sqrt(E (x - mu)^2) (Gaussian) or E|x - mu| (Laplace),   mu = E x
/// published, signed:          [max(min, mu - a_b s), that + 2 a_b s]            a_b: aciq_clip at b bits
/// published, never negative:  [0, max(mu, 0) + a_(b+1) s]
/// exact, signed:              [mu - 2^(b-1) d s, mu + (2^(b-1) - 1) d s]        d: integer_step at b bits
/// exact, never negative:      [0, (2^b - 1) d' r]                               d': unsigned_step at b bits
///                             r = sqrt(E x^2) (Gaussian) or E x (Laplace) over the values above 0
/// ```
/// All ranges end where the values end. A quantizer whose levels begin and end with its range has the step `d s` then.
///
/// # Range
/// Within the values seen; from zero where none is negative. Equal values have the range of that value.
///
/// # Source
/// Banner et al., Post Training 4-bit Quantization of Convolutional Networks for Rapid-Deployment, NeurIPS 2019, and its
/// repository (placement of the range, half-range rule, `mixed`).
///
/// # Differences from the source
/// The upper end is that of the values where the rule passes it. `exact` is ours: the source's error is below what is possible
/// at 2 and 3 bits, and its half-range rule measures the spread of what ReLU has left about its mean, not the density's scale.
#[derive(Debug, Clone)]
pub struct Aciq {
    config: AciqConfig,
}

impl Aciq {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for no samples.
    pub fn new(config: AciqConfig) -> Result<Self, ConfigError> {
        at_least("max_samples", config.max_samples, 1)?;
        Ok(Self { config })
    }
}

impl RangeEstimator for Aciq {
    fn observer(&self, quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver> {
        let config = self.config.clone();
        Box::new(Observer { config, quantizer, bits, moments: Groups::new(), kept: Groups::new() })
    }
}

struct Observer {
    config: AciqConfig,
    quantizer: Arc<dyn Quantizer>,
    bits: u8,
    moments: Groups<Spread>,
    kept: Groups<Kept>,
}

/// Moments of all values, and of those above zero.
struct Spread {
    all: Moments,
    positive: Moments,
}

impl Spread {
    fn of(values: &[f32]) -> Self {
        let values = values.iter().copied();
        Self { all: Moments::of(values.clone()), positive: Moments::of(values.filter(|x| *x > 0.0)) }
    }
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        self.moments.update(
            samples,
            |values| Ok(Spread::of(values)),
            |spread, values| {
                let next = Spread::of(values);
                spread.all.merge(&next.all);
                spread.positive.merge(&next.positive);
                Ok(())
            },
        )?;
        Kept::observe(&mut self.kept, samples, self.config.max_samples)
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        let groups = self.moments.seen()?.par_iter().zip(self.kept.seen()?.par_iter());
        groups.map(|(spread, kept)| self.range(spread, kept)).collect()
    }
}

impl Observer {
    fn range(&self, spread: &Spread, kept: &Kept) -> Result<Range, QuantError> {
        if kept.range.width() == 0.0 {
            return Ok(kept.range);
        }
        let of = |family: DensityFamily| match self.config.formula {
            AciqFormula::Published => self.published(family, spread, kept),
            AciqFormula::Exact => self.exact(family, spread, kept),
        };
        match self.config.family {
            AciqFamily::Gaussian => of(DensityFamily::Gaussian),
            AciqFamily::Laplace => of(DensityFamily::Laplace),
            AciqFamily::Mixed => {
                let candidates = [kept.range, of(DensityFamily::Laplace)?, of(DensityFamily::Gaussian)?];
                let mut best = (kept.range, f64::INFINITY);
                for range in candidates {
                    let map = self.quantizer.map(range, self.bits)?;
                    let error = deviation(kept.sample.values(), &map, 2.0);
                    if error < best.1 {
                        best = (range, error);
                    }
                }
                Ok(best.0)
            }
        }
    }

    fn published(&self, family: DensityFamily, spread: &Spread, kept: &Kept) -> Result<Range, QuantError> {
        let (mean, scale) = (spread.all.mean(), scale(family, spread, kept));
        if kept.range.min() >= 0.0 {
            let clip = aciq_clip(family, self.bits.saturating_add(1)) * scale;
            return within(kept.range, 0.0, mean.max(0.0) + clip);
        }
        let clip = aciq_clip(family, self.bits) * scale;
        let low = (mean - clip).max(f64::from(kept.range.min()));
        within(kept.range, low, low + 2.0 * clip)
    }

    fn exact(&self, family: DensityFamily, spread: &Spread, kept: &Kept) -> Result<Range, QuantError> {
        let codes = 2f64.powi(i32::from(self.bits));
        if kept.range.min() >= 0.0 {
            let scale = match family {
                DensityFamily::Gaussian => spread.positive.root_mean_square(),
                DensityFamily::Laplace => spread.positive.mean(),
            };
            return within(kept.range, 0.0, (codes - 1.0) * unsigned_step(family, self.bits) * scale);
        }
        let step = integer_step(family, self.bits) * scale(family, spread, kept);
        let mean = spread.all.mean();
        within(kept.range, mean - codes / 2.0 * step, mean + (codes / 2.0 - 1.0) * step)
    }
}

/// The spread about the mean as the family measures it; where the sample is too small to tell, by the standard deviation.
fn scale(family: DensityFamily, spread: &Spread, kept: &Kept) -> f64 {
    let deviation = spread.all.deviation();
    if family == DensityFamily::Gaussian {
        return deviation;
    }
    let (mean, values) = (spread.all.mean(), kept.sample.values());
    let sum: f64 = values.iter().map(|&x| (f64::from(x) - mean).abs()).sum();
    if sum > 0.0 { sum / values.len() as f64 } else { deviation / 2f64.sqrt() }
}

/// `[low, high]` as far as there are values; it may begin at a zero below them.
fn within(seen: Range, low: f64, high: f64) -> Result<Range, QuantError> {
    let (least, most) = (f64::from(seen.min().min(0.0)), f64::from(seen.max()));
    let low = low.clamp(least, most);
    Range::new(low as f32, high.clamp(low, most) as f32)
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "aciq",
    summary: "the clipped range that is best for a Gaussian or Laplace density of the same spread",
    source: "Banner et al., Post Training 4-bit Quantization of Convolutional Networks, NeurIPS 2019",
    defaults: defaults_of::<AciqConfig>,
    build: |table| Ok(Box::new(Aciq::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::draw;
    use crate::quantizer::{BrecqAffine, BrecqAffineConfig};

    fn quantizer() -> Arc<dyn Quantizer> {
        Arc::new(BrecqAffine::new(&BrecqAffineConfig::default()).unwrap())
    }

    fn range(family: AciqFamily, formula: AciqFormula, bits: u8, values: &[f32]) -> Range {
        let config = AciqConfig { family, formula, ..AciqConfig::default() };
        let mut observer = Aciq::new(config).unwrap().observer(quantizer(), bits);
        for part in values.chunks(values.len().div_ceil(3)) {
            observer.observe(&Samples::new(part.to_vec(), 1).unwrap()).unwrap();
        }
        observer.ranges().unwrap()[0]
    }

    fn error(range: Range, bits: u8, values: &[f32]) -> f64 {
        deviation(values, &quantizer().map(range, bits).unwrap(), 2.0)
    }

    const FAMILIES: [(AciqFamily, DensityFamily); 2] =
        [(AciqFamily::Gaussian, DensityFamily::Gaussian), (AciqFamily::Laplace, DensityFamily::Laplace)];

    #[test]
    fn published_thresholds_stand_about_the_mean() {
        // The closed forms at 4 bits; 0.9 of the values' scale and a mean of 3, clipped below neither end.
        for ((rule, family), threshold) in FAMILIES.into_iter().zip([2.5591f32, 5.0286]) {
            let values: Vec<f32> = draw(family, 300_000, 1).iter().map(|x| 0.9 * x - 3.0).collect();
            let found = range(rule, AciqFormula::Published, 4, &values);
            assert!((found.max() - found.min() - 1.8 * threshold).abs() < 0.08, "{family:?} {found:?}");
            assert!((found.max() + found.min() + 6.0).abs() < 0.03, "{family:?} {found:?}");
        }
    }

    #[test]
    fn the_range_ends_where_the_values_end() {
        let short: Vec<f32> = (0..1000).map(|index| (index as f32 * 0.7).sin()).collect();
        for (rule, _) in FAMILIES {
            for formula in [AciqFormula::Published, AciqFormula::Exact] {
                assert_eq!(range(rule, formula, 8, &short), Range::of(&short).unwrap());
            }
        }
        // From the least value, which is above the mean less the threshold, the range is twice the threshold wide.
        let mut skewed: Vec<f32> = draw(DensityFamily::Laplace, 30_000, 2).iter().map(|x| x.abs() - 0.1).collect();
        skewed.push(1000.0);
        let found = range(AciqFamily::Gaussian, AciqFormula::Published, 4, &skewed);
        let all = Moments::of(skewed.iter().copied());
        assert_eq!(found.min(), Range::of(&skewed).unwrap().min());
        assert!((f64::from(found.width()) / (2.0 * 2.559_136 * all.deviation()) - 1.0).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn values_that_are_never_negative_have_half_a_range() {
        // The closed forms at 5 bits for a format of 4, of the mean and the spread of what ReLU leaves.
        for ((rule, family), threshold) in FAMILIES.into_iter().zip([2.9362, 6.2048]) {
            let values: Vec<f32> = draw(family, 300_000, 3).iter().map(|x| x.max(0.0)).collect();
            let count = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let spread = match family {
                DensityFamily::Gaussian => {
                    (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt()
                }
                DensityFamily::Laplace => values.iter().map(|&x| (f64::from(x) - mean).abs()).sum::<f64>() / count,
            };
            let found = range(rule, AciqFormula::Published, 4, &values);
            assert_eq!(found.min(), 0.0);
            assert!((f64::from(found.max()) - (mean + threshold * spread)).abs() < 1e-3, "{family:?} {found:?}");
        }
    }

    #[test]
    fn exact_ranges_are_as_good_as_the_best_of_a_search() {
        for (rule, family) in FAMILIES {
            let signed = draw(family, 200_000, 4);
            let positive: Vec<f32> = signed.iter().map(|x| x.max(0.0)).collect();
            for bits in [2, 3, 4] {
                let codes = f32::from(1u16 << bits);
                for values in [&signed, &positive] {
                    let below = if values.iter().any(|x| *x < 0.0) { codes / 2.0 } else { 0.0 };
                    let of_step = |step: f32| Range::new(-below * step, (codes - 1.0 - below) * step).unwrap();
                    let guess = integer_step(family, bits) as f32;
                    let steps = (30..130).map(|percent| percent as f32 / 100.0 * guess);
                    let best = steps.map(|step| error(of_step(step), bits, values)).fold(f64::INFINITY, f64::min);
                    let found = error(range(rule, AciqFormula::Exact, bits, values), bits, values);
                    assert!(found <= best * 1.02, "{family:?} {bits}: {found}, best {best}");
                }
            }
        }
    }

    #[test]
    fn mixed_is_never_worse_than_any_of_its_candidates() {
        let cases = [
            draw(DensityFamily::Gaussian, 5000, 5),
            draw(DensityFamily::Laplace, 5000, 5),
            (0..5000).map(|index| index as f32 / 5000.0 - 0.5).collect(),
            draw(DensityFamily::Laplace, 5000, 6).iter().map(|x| x.max(0.0)).collect(),
        ];
        for values in &cases {
            for bits in [2, 4, 8] {
                for formula in [AciqFormula::Published, AciqFormula::Exact] {
                    let of = |family| error(range(family, formula, bits, values), bits, values);
                    let mixed = of(AciqFamily::Mixed);
                    assert!(mixed <= of(AciqFamily::Gaussian) && mixed <= of(AciqFamily::Laplace));
                    assert!(mixed <= error(Range::of(values).unwrap(), bits, values));
                }
            }
        }
    }

    #[test]
    fn tables_are_read_and_those_without_meaning_refused() {
        let config: AciqConfig = toml::from_str("family = \"gauss\"\nformula = \"exact\"").unwrap();
        assert_eq!((config.family, config.formula), (AciqFamily::Gaussian, AciqFormula::Exact));
        assert!(toml::from_str::<AciqConfig>("family = \"cauchy\"").is_err());
        assert!(Aciq::new(AciqConfig { max_samples: 0, ..Default::default() }).is_err());
    }
}
