//! The range whose grid loses the least information.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Groups, Kept, RangeEstimator, RangeObserver, at_least};
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`Kl`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlConfig {
    /// Bins of the histogram over all values.
    pub bins: usize,
    /// By how many bins each range tried is smaller than the one before.
    pub stride: usize,
    /// Beyond so many values of a group a uniform sample of them stands for all.
    pub max_samples: usize,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { bins: 2048, stride: 8, max_samples: 1 << 20 }
    }
}

/// The clipped range at which quantizing changes the distribution of the values least (entropy calibration).
///
/// ```text
/// h: histogram of the non-zero values over [min, max];  window w of h: m bins
/// P = h within w, with all that lies outside added to the window's end bins
/// Q = h within w, merged into 2^k levels of m / 2^k bins each; each level spread evenly over its bins that are not empty
/// argmin_w  KL(P || Q) = sum_i p_i ln(p_i / q_i),   P and Q normalised
/// ```
/// Windows keep the proportion of the range's parts below and above zero, and shrink to the `2^k` bins at which `Q = P`.
///
/// # Range
/// Within the values seen, extended by zero.
///
/// # Source
/// Migacz, 8-bit Inference with TensorRT, GTC 2017.
///
/// # Differences from the source
/// Any number of bits and two-sided ranges (the source has 128 levels of absolute values); values of exactly zero are left
/// out, since every grid here that holds zero keeps it (the source alters the first bin for the same reason); bins of `P`
/// that `Q` does not cover count in it as `1e-4` of one value; `stride` may exceed 1.
#[derive(Debug, Clone)]
pub struct Kl {
    config: KlConfig,
}

impl Kl {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for fewer than 512 bins, a stride of 0, or no samples.
    pub fn new(config: KlConfig) -> Result<Self, ConfigError> {
        at_least("bins", config.bins, 512)?;
        at_least("stride", config.stride, 1)?;
        at_least("max_samples", config.max_samples, 1)?;
        Ok(Self { config })
    }
}

impl RangeEstimator for Kl {
    fn observer(&self, _quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { config: self.config.clone(), levels: 1 << bits, groups: Groups::new() })
    }
}

struct Observer {
    config: KlConfig,
    levels: usize,
    groups: Groups<Kept>,
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        Kept::observe(&mut self.groups, samples, self.config.max_samples)
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        self.groups.seen()?.par_iter().map(|kept| self.search(kept)).collect()
    }
}

impl Observer {
    fn search(&self, kept: &Kept) -> Result<Range, QuantError> {
        if kept.range.width() == 0.0 {
            return Ok(kept.range);
        }
        let full = kept.range.with_zero();
        let bins = self.config.bins;
        let histogram = histogram(kept.sample.values(), full, bins);
        let (below, width) = (f64::from(-full.min()), f64::from(full.width()));
        let window = |size: usize| {
            let start = (below / width * (bins - size) as f64).round() as usize;
            start..start + size
        };
        let sizes: Vec<usize> = (0..)
            .map(|step| bins.saturating_sub(step * self.config.stride))
            .take_while(|size| *size >= self.levels)
            .collect();
        let losses: Vec<f64> =
            sizes.par_iter().map(|size| divergence(&histogram, window(*size), self.levels)).collect();
        let best =
            losses.iter().enumerate().fold(0, |best, (index, loss)| if *loss < losses[best] { index } else { best });
        let window = window(sizes[best]);
        let edge = |bin: usize| (f64::from(full.min()) + width * bin as f64 / bins as f64) as f32;
        let min = if window.start == 0 { full.min() } else { edge(window.start).min(0.0) };
        let max = if window.end == bins { full.max() } else { edge(window.end).max(0.0) };
        Range::new(min, max)
    }
}

fn histogram(values: &[f32], range: Range, bins: usize) -> Vec<f64> {
    let mut histogram = vec![0.0; bins];
    let scale = bins as f64 / f64::from(range.width());
    for &value in values.iter().filter(|value| **value != 0.0) {
        let bin = (f64::from(value) - f64::from(range.min())) * scale;
        histogram[(bin as usize).min(bins - 1)] += 1.0;
    }
    histogram
}

fn divergence(histogram: &[f64], window: std::ops::Range<usize>, levels: usize) -> f64 {
    let inside = &histogram[window.clone()];
    let size = inside.len();
    let covered: f64 = inside.iter().sum();
    if covered == 0.0 {
        return f64::INFINITY;
    }
    let mut reference = inside.to_vec();
    reference[0] += histogram[..window.start].iter().sum::<f64>();
    reference[size - 1] += histogram[window.end..].iter().sum::<f64>();
    let total: f64 = reference.iter().sum();
    let mut loss = 0.0;
    for level in 0..levels {
        let bins = level * size / levels..(level + 1) * size / levels;
        let filled = inside[bins.clone()].iter().filter(|count| **count > 0.0).count();
        let share = inside[bins.clone()].iter().sum::<f64>() / filled.max(1) as f64;
        for bin in bins {
            let p = reference[bin] / total;
            if p > 0.0 {
                let q = if inside[bin] > 0.0 { share / covered } else { 1e-4 / covered };
                loss += p * (p / q).ln();
            }
        }
    }
    loss
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "kl",
    summary: "the clipped range at which quantizing changes the histogram least (entropy calibration)",
    source: "Migacz, 8-bit Inference with TensorRT, GTC 2017",
    defaults: defaults_of::<KlConfig>,
    build: |table| Ok(Box::new(Kl::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::{ZeroqAffine, ZeroqAffineConfig};

    fn range(values: Vec<f32>, bits: u8) -> Range {
        let quantizer = Arc::new(ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap());
        let mut observer = Kl::new(KlConfig::default()).unwrap().observer(quantizer, bits);
        observer.observe(&Samples::new(values, 1).unwrap()).unwrap();
        observer.ranges().unwrap()[0]
    }

    #[test]
    fn a_window_as_fine_as_the_grid_loses_nothing_but_what_it_clips() {
        let histogram = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        assert!(divergence(&histogram, 0..8, 8).abs() < 1e-12);
        let clipped = divergence(&histogram, 0..4, 4);
        let p: [f64; 4] = [3.0, 1.0, 4.0, 23.0].map(|count| count / 31.0);
        let q = [3.0, 1.0, 4.0, 1.0].map(|count| count / 9.0);
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((clipped - expected).abs() < 1e-12);
        let merged = divergence(&histogram, 0..8, 4);
        let q = [2.0, 2.0, 2.5, 2.5, 7.0, 7.0, 4.0, 4.0];
        let expected: f64 = histogram.iter().zip(q).map(|(h, q): (&f64, f64)| h / 31.0 * (h / q).ln()).sum();
        assert!((merged - expected).abs() < 1e-12);
    }

    #[test]
    fn a_far_outlier_is_clipped() {
        let mut values: Vec<f32> = (0..100_000).map(|index| ((index as f32 + 0.5) / 100_000.0).powi(2) * 2.0).collect();
        values.push(50.0);
        let found = range(values, 4);
        assert_eq!(found.min(), 0.0);
        assert!(found.max() < 5.0, "{found:?}");
    }

    #[test]
    fn uniform_values_are_not_clipped() {
        let values: Vec<f32> = (0..200_000).map(|index| (index as f32 + 0.5) / 100_000.0 - 1.0).collect();
        let found = range(values, 4);
        assert!(found.min() < -0.95 && found.max() > 0.95, "{found:?}");
    }

    #[test]
    fn both_sides_shrink_in_proportion() {
        let mut values: Vec<f32> = (0..100_000).map(|index| (index as f32 * 0.1).sin()).collect();
        values.extend([-60.0, 30.0]);
        let found = range(values, 4);
        assert!(found.min() > -20.0 && found.max() < 10.0, "{found:?}");
        assert!((found.min() / found.max() + 2.0).abs() < 0.2, "{found:?}");
    }
}
