//! The range whose grid errs least.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Groups, Kept, RangeEstimator, RangeObserver, at_least};
use crate::deviation::Counted;
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`Mse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MseConfig {
    /// Exponent of the error.
    pub p: f64,
    /// How many ranges are tried.
    pub candidates: usize,
    /// By how much of the full range each is smaller than the one before.
    pub step: f64,
    /// Beyond so many values of a group a uniform sample of them stands for all.
    pub max_samples: usize,
}

impl Default for MseConfig {
    fn default() -> Self {
        Self { p: 2.4, candidates: 80, step: 0.01, max_samples: 1 << 20 }
    }
}

/// The shrunk min-max range with the smallest mean error of its grid.
///
/// ```text
/// i = 0 .. candidates - 1:   range_i = (min, max) * (1 - step * i);   argmin_i  mean |x - x^_i|^p
/// ```
/// `x^_i`: the values on the grid that the tensor's own quantizer makes of `range_i`; the first of equal candidates wins.
/// The search is run for each group apart, over all batches seen.
///
/// # Range
/// Within the values seen, extended by zero; never worse than min-max by its own measure.
///
/// # Source
/// Li et al., BRECQ, ICLR 2021 (`p = 2.4`, 80 candidates), after Nahshan et al., Loss Aware Post-training Quantization, 2019.
///
/// # Differences from the source
/// Groups of more than `max_samples` values are represented by a uniform sample of them.
#[derive(Debug, Clone)]
pub struct Mse {
    config: MseConfig,
}

impl Mse {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an exponent outside `(0, 16]`, no candidates, steps that reach zero, or no samples.
    pub fn new(config: MseConfig) -> Result<Self, ConfigError> {
        if !(config.p > 0.0 && config.p <= 16.0) {
            return Err(ConfigError::invalid("p", config.p, "write a number above 0 and up to 16, such as 2.4"));
        }
        at_least("candidates", config.candidates, 1)?;
        at_least("max_samples", config.max_samples, 1)?;
        if !(config.step > 0.0 && config.step * ((config.candidates - 1) as f64) < 1.0) {
            let fix =
                format!("write a positive number below 1 / {}, so that no candidate is empty", config.candidates - 1);
            return Err(ConfigError::invalid("step", config.step, fix));
        }
        Ok(Self { config })
    }
}

impl RangeEstimator for Mse {
    fn observer(&self, quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { config: self.config.clone(), quantizer, bits, groups: Groups::new() })
    }
}

/// One value in so many is looked at first.
const GUESS: usize = 32;

fn first_least(errors: &[f64]) -> usize {
    errors.iter().enumerate().fold(0, |best, (index, error)| if *error < errors[best] { index } else { best })
}

struct Observer {
    config: MseConfig,
    quantizer: Arc<dyn Quantizer>,
    bits: u8,
    groups: Groups<Kept>,
}

impl Observer {
    fn search(&self, kept: &Kept) -> Result<Range, QuantError> {
        let factor = |index: usize| (1.0 - self.config.step * index as f64) as f32;
        let p = self.config.p as f32;
        let values = Counted::new(kept.sample.values());
        let errors = |values: &Counted, limit: f64| -> Result<Vec<f64>, QuantError> {
            (0..self.config.candidates)
                .into_par_iter()
                .map(|index| {
                    let map = self.quantizer.map(kept.range.scaled(factor(index)), self.bits)?;
                    Ok(values.deviation(&map, p, limit))
                })
                .collect()
        };
        // The best for a few values bounds what the best for all can have, so that most are left early.
        let guess = first_least(&errors(&values.thinned(GUESS), f64::INFINITY)?);
        let limit =
            values.deviation(&self.quantizer.map(kept.range.scaled(factor(guess)), self.bits)?, p, f64::INFINITY);
        let best = first_least(&errors(&values, limit)?);
        Ok(kept.range.scaled(factor(best)))
    }
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        Kept::observe(&mut self.groups, samples, self.config.max_samples)
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        self.groups.seen()?.par_iter().map(|kept| self.search(kept)).collect()
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "mse",
    summary: "the shrunk min-max range whose grid has the smallest mean |x - x^|^p",
    source: "Li et al., BRECQ, ICLR 2021; exponent of Nahshan et al., Loss Aware Post-training Quantization, 2019",
    defaults: defaults_of::<MseConfig>,
    build: |table| Ok(Box::new(Mse::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::families::Families;

    fn normal(count: usize) -> Vec<f32> {
        let mut random = stream(1, "test");
        (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
    }

    fn quantizer(name: &str) -> Arc<dyn Quantizer> {
        Arc::from(Families::builtin().quantizers.build(name, toml::Table::new()).unwrap())
    }

    fn search(config: MseConfig, quantizer: Arc<dyn Quantizer>, bits: u8, values: Vec<f32>) -> Range {
        let mut observer = Mse::new(config).unwrap().observer(quantizer, bits);
        observer.observe(&Samples::new(values, 1).unwrap()).unwrap();
        observer.ranges().unwrap()[0]
    }

    #[test]
    fn it_is_never_worse_than_min_max_and_equals_the_search_by_definition() {
        let mut values = normal(9000);
        values[17] = 9.0;
        let rectified = values.iter().map(|value| value.max(0.0)).collect();
        let cases = [("zeroq-affine", &values), ("brecq-affine", &values), ("symmetric", &values)];
        for (name, values) in cases.into_iter().chain([("zeroq-affine", &rectified)]) {
            let quantizer = quantizer(name);
            for bits in [2, 4, 8] {
                let found = search(MseConfig::default(), quantizer.clone(), bits, values.clone());
                let error = |range: Range| {
                    let map = quantizer.map(range, bits).unwrap();
                    values.iter().map(|&x| f64::from((x - map.value(map.code(x))).abs()).powf(2.4)).sum::<f64>()
                };
                let full = Range::of(values).unwrap();
                let best = (0..80)
                    .map(|index| error(full.scaled((1.0 - 0.01 * f64::from(index)) as f32)))
                    .fold(f64::INFINITY, f64::min);
                assert!(error(found) <= error(full), "{name} {bits}");
                assert!(error(found) <= best * (1.0 + 1e-5), "{name} {bits}");
            }
        }
    }

    #[test]
    fn of_a_gaussian_it_finds_the_known_optimum() {
        for (bits, half_range) in [(3u8, 2.3441f32), (4, 2.6816)] {
            let config = MseConfig { p: 2.0, candidates: 900, step: 0.001, ..Default::default() };
            let mut values = normal(200_000);
            values.extend([-4.5, 4.5]);
            let quantizer = quantizer("brecq-affine");
            let found = search(config, quantizer.clone(), bits, values);
            let step = quantizer.map(found, bits).unwrap().step();
            let expected = 2.0 * half_range / f32::from(1u16 << bits);
            assert!((step / expected - 1.0).abs() < 0.06, "{bits} bits: step {step}, {expected} at the optimum");
        }
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [
            MseConfig { p: 0.0, ..Default::default() },
            MseConfig { candidates: 0, ..Default::default() },
            MseConfig { step: 0.02, ..Default::default() },
            MseConfig { max_samples: 0, ..Default::default() },
        ] {
            assert!(Mse::new(config.clone()).is_err(), "{config:?}");
        }
    }
}
