//! The range of everything seen.

use std::sync::Arc;

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Groups, RangeEstimator, RangeObserver};
use crate::error::QuantError;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::samples::Samples;

/// Table of [`MinMax`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinMaxConfig {
    /// The range always holds zero, as where a running minimum and maximum start from zero.
    pub include_zero: bool,
}

/// Smallest and largest value seen.
///
/// ```text
/// min_t = min(min_{t-1}, min x),  max_t = max(max_{t-1}, max x);   include_zero: min_0 = max_0 = 0
/// ```
/// For weights it is taken from the current weights in every forward pass.
///
/// # Range
/// Holds every value seen.
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020: weights without, activations with `include_zero`.
///
/// # Differences from the source
/// None.
#[derive(Debug, Clone)]
pub struct MinMax {
    config: MinMaxConfig,
}

impl MinMax {
    /// The estimator of a table.
    pub fn new(config: MinMaxConfig) -> Self {
        Self { config }
    }
}

impl RangeEstimator for MinMax {
    fn observer(&self, _quantizer: Arc<dyn Quantizer>, _bits: u8) -> Box<dyn RangeObserver> {
        Box::new(Observer { include_zero: self.config.include_zero, groups: Groups::new() })
    }

    fn follows_weights(&self) -> bool {
        true
    }
}

struct Observer {
    include_zero: bool,
    groups: Groups<Range>,
}

impl RangeObserver for Observer {
    fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        self.groups.update(samples, Range::of, |range, values| {
            *range = range.union(Range::of(values)?)?;
            Ok(())
        })
    }

    fn ranges(&self) -> Result<Vec<Range>, QuantError> {
        let seen = self.groups.seen()?.iter();
        Ok(seen.map(|range| if self.include_zero { range.with_zero() } else { *range }).collect())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn RangeEstimator> = Entry {
    name: "min-max",
    summary: "smallest and largest value seen; optionally starting from zero",
    source: "Cai et al., ZeroQ: A Novel Zero Shot Quantization Framework, CVPR 2020",
    defaults: defaults_of::<MinMaxConfig>,
    build: |table| Ok(Box::new(MinMax::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::{ZeroqAffine, ZeroqAffineConfig};

    #[test]
    fn it_runs_over_batches_and_may_start_from_zero() {
        for (include_zero, expected) in [(false, (1.0, 5.0)), (true, (0.0, 5.0))] {
            let quantizer = Arc::new(ZeroqAffine::new(&ZeroqAffineConfig::default()).unwrap());
            let mut observer = MinMax::new(MinMaxConfig { include_zero }).observer(quantizer, 8);
            observer.observe(&Samples::new(vec![2.0, 5.0], 1).unwrap()).unwrap();
            observer.observe(&Samples::new(vec![3.0, 1.0], 1).unwrap()).unwrap();
            let range = observer.ranges().unwrap()[0];
            assert_eq!((range.min(), range.max()), expected);
        }
    }
}
