//! The exponential moving average of the batches' ranges.

use std::sync::Arc;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Groups, RangeEstimator, RangeObserver};
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`MovingAverage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MovingAverageConfig {
    /// Share of the past, from 0 (the latest batch alone) to below 1.
    pub beta: f64,
    /// Divide by the bias correction again at every step, as the published code does.
    pub published_bias_fault: bool,
    /// The range always holds zero.
    pub include_zero: bool,
}

impl Default for MovingAverageConfig {
    fn default() -> Self {
        Self { beta: 0.9, published_bias_fault: false, include_zero: false }
    }
}

/// Average of the minima and maxima of batches, recent ones counting more.
///
/// ```text
/// m_t = beta * m_{t-1} + (1 - beta) * x_t,   m_0 = 0;   estimate: m_t / (1 - beta^t)
/// published_bias_fault:  m_t = (beta * m_{t-1} + (1 - beta) * x_t) / (1 - beta^t);   estimate: m_t
/// ```
/// `x_t`: minimum (maximum) of batch `t`. Kept in `f64`.
///
/// # Range
/// Corrected, between the smallest and the largest batch value. With the fault, far outside in the first 150 steps: for a
/// constant 1 it is 5.3 at `t = 2` and 3,945 at `t = 21`, and 1.000 only at `t = 800`.
///
/// # Source
/// Xu et al., GDFQ, ECCV 2020 (beta 0.9); correction: Kingma and Ba, Adam, ICLR 2015, section 3.
///
/// # Differences from the source
/// The correction is right unless `published_bias_fault` is set.
#[derive(Debug, Clone)]
pub struct MovingAverage {
    config: MovingAverageConfig,
}

impl MovingAverage {
    /// The estimator of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `beta` outside `[0, 1)`.
    pub fn new(config: MovingAverageConfig) -> Result<Self, ConfigError> {
        if (0.0..1.0).contains(&config.beta) {
            Ok(Self { config })
        } else {
            Err(ConfigError::invalid("beta", config.beta, "write a number from 0 to below 1, such as 0.9"))
        }
    }
}

impl RangeEstimator for MovingAverage {
    fn observer(&self, _quantizer: Arc<dyn Quantizer>, _bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { config: self.config.clone(), steps: 0, groups: Groups::new() })
    }
}

struct Observer {
    config: MovingAverageConfig,
    steps: i32,
    groups: Groups<[f64; 2]>,
}

impl Observer {
    fn correction(&self) -> f64 {
        1.0 - self.config.beta.powi(self.steps)
    }
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        self.steps = self.steps.saturating_add(1);
        let beta = self.config.beta;
        let divisor = if self.config.published_bias_fault { self.correction() } else { 1.0 };
        let step = |past: [f64; 2], values: &[f32]| {
            let range = Range::of(values)?;
            let now = [range.min(), range.max()].map(f64::from);
            Ok::<_, QuantError>([0, 1].map(|bound| (beta * past[bound] + (1.0 - beta) * now[bound]) / divisor))
        };
        self.groups.update(
            samples,
            |values| step([0.0; 2], values),
            |past, values| {
                *past = step(*past, values)?;
                Ok(())
            },
        )
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        let divisor = if self.config.published_bias_fault { 1.0 } else { self.correction() };
        let include_zero = self.config.include_zero;
        self.groups
            .seen()?
            .iter()
            .map(|bounds| {
                let [min, max] = bounds.map(|bound| (bound / divisor) as f32);
                let range = Range::new(min, max)?;
                Ok(if include_zero { range.with_zero() } else { range })
            })
            .collect()
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "moving-average",
    summary: "exponential moving average of the batches' minima and maxima, bias-corrected",
    source: "Xu et al., Generative Low-bitwidth Data Free Quantization, ECCV 2020",
    defaults: defaults_of::<MovingAverageConfig>,
    build: |table| Ok(Box::new(MovingAverage::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::{ZeroqAffine, ZeroqAffineConfig};

    fn observer(config: MovingAverageConfig) -> Box<dyn RangeObserver> {
        let quantizer = Arc::new(ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap());
        MovingAverage::new(config).unwrap().observer(quantizer, 8)
    }

    #[test]
    fn the_average_of_a_constant_is_the_constant() {
        let mut observer = observer(MovingAverageConfig::default());
        for _ in 0..300 {
            observer.observe(&Samples::new(vec![-2.0, 1.0], 1).unwrap()).unwrap();
            let range = observer.ranges().unwrap()[0];
            assert!((range.min() + 2.0).abs() < 1e-6 && (range.max() - 1.0).abs() < 1e-6, "{range:?}");
        }
    }

    #[test]
    fn two_steps_by_hand() {
        let mut observer = observer(MovingAverageConfig { beta: 0.75, ..Default::default() });
        observer.observe(&Samples::new(vec![0.0, 4.0], 1).unwrap()).unwrap();
        observer.observe(&Samples::new(vec![0.0, 8.0], 1).unwrap()).unwrap();
        let expected = (0.75 * 1.0 + 0.25 * 8.0) / (1.0 - 0.75 * 0.75);
        assert!((f64::from(observer.ranges().unwrap()[0].max()) - expected).abs() < 1e-6);
    }

    #[test]
    fn the_published_fault_is_the_published_one() {
        let mut observer = observer(MovingAverageConfig { published_bias_fault: true, ..Default::default() });
        let mut maxima = Vec::new();
        for _ in 0..800 {
            observer.observe(&Samples::new(vec![0.0, 1.0], 1).unwrap()).unwrap();
            maxima.push(observer.ranges().unwrap()[0].max());
        }
        let at = |step: usize| maxima[step - 1];
        let close = |found: f32, expected: f32, tolerance: f32| (found - expected).abs() <= tolerance;
        assert!(
            close(at(1), 1.0, 1e-6) && close(at(2), 5.3, 0.05) && close(at(21), 3945.0, 0.5),
            "{} {}",
            at(2),
            at(21)
        );
        assert!(close(at(50), 489.0, 0.5) && close(at(100), 3.6, 0.05) && close(at(150), 1.014, 5e-4));
        assert!(close(at(800), 1.0, 5e-4));
        assert_eq!(maxima.iter().copied().fold(0.0, f32::max), at(21));
    }

    #[test]
    fn a_beta_of_one_is_refused() {
        assert!(MovingAverage::new(MovingAverageConfig { beta: 1.0, ..Default::default() }).is_err());
    }
}
