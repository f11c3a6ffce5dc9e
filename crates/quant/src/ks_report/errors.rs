//! What the scheme and its competitors cost on the same values.

use std::sync::Arc;

use rayon::prelude::*;

use super::best_range::best_range;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::format::{KMeans, KMeansConfig, Ks, NumberFormat};
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::range::{Aciq, AciqConfig, AciqFamily, MinMax, MinMaxConfig, RangeEstimator};
use crate::samples::Samples;

/// Mean squared errors of the values of one tensor, in values squared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KsErrors {
    /// The scheme itself.
    pub ks: f64,
    /// The tensor's quantizer over the range from the least to the largest value.
    pub min_max: f64,
    /// The tensor's quantizer over the range of the smallest mean squared error that a search of both ends finds.
    pub mse_optimal: f64,
    /// The tensor's quantizer over the range of ACIQ: whichever is best of Gaussian, Laplace and min-max.
    pub aciq: f64,
    /// The best free levels.
    pub k_means: f64,
}

impl KsErrors {
    /// `(1/n) sum (x - x^)^2` of each way of quantizing these groups, fitted to them; the groups decide for themselves.
    pub(super) fn of(samples: &Samples, quantizer: &Arc<dyn Quantizer>, bits: u8, ks: &Ks) -> Result<Self, QuantError> {
        // Values lie group after group, whichever dimension of the tensor told the groups apart.
        let (values, axis) = (samples.values(), Some(0));
        let view = [samples.groups(), values.len() / samples.groups(), 1, 1];
        let error = |codec: Codec| -> Result<f64, QuantError> {
            let quantized = codec.fake_quantize_values(values, view)?;
            let squares = values.iter().zip(&quantized).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2));
            Ok(squares.sum::<f64>() / values.len() as f64)
        };
        let uniform = |estimator: &dyn RangeEstimator| -> Result<f64, QuantError> {
            let mut observer = estimator.observer(quantizer.clone(), bits);
            observer.observe(samples)?;
            error(quantizer.grid(&observer.ranges()?, bits, axis)?.into())
        };
        let groups: Vec<&[f32]> = samples.iter().collect();
        let ranges = groups.par_iter().map(|group| best_range(group, quantizer.as_ref(), bits));
        let ranges = ranges.collect::<Result<Vec<Range>, QuantError>>()?;
        Ok(Self {
            ks: error(ks.fit(samples, bits, axis)?)?,
            min_max: uniform(&MinMax::new(MinMaxConfig::default()))?,
            mse_optimal: error(quantizer.grid(&ranges, bits, axis)?.into())?,
            aciq: uniform(&Aciq::new(AciqConfig { family: AciqFamily::Mixed, ..AciqConfig::default() })?)?,
            k_means: error(KMeans::new(KMeansConfig::default())?.fit(samples, bits, axis)?)?,
        })
    }

    /// In the order of the table's columns.
    pub(super) fn all(&self) -> [f64; 5] {
        [self.ks, self.min_max, self.mse_optimal, self.aciq, self.k_means]
    }
}
