//! One tensor of the plan.

use std::sync::Arc;

use blindfold_zoo::ConfigError;

use super::config::FormatConfig;
use crate::families::Families;
use crate::granularity::Granularity;
use crate::precision::Precision;
use crate::quantizer::Quantizer;
use crate::range::RangeEstimator;

/// What is to be done with the weight or the output of one node.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node's name.
    pub name: String,
    /// Its number format.
    pub precision: Precision,
    /// Which values share a range.
    pub granularity: Granularity,
    /// The quantizer's name.
    pub quantizer_name: String,
    /// Makes the grid.
    pub quantizer: Arc<dyn Quantizer>,
    /// The range estimator's name.
    pub range_name: String,
    /// Chooses the ranges.
    pub range: Arc<dyn RangeEstimator>,
}

impl Target {
    pub(crate) fn new(
        name: &str,
        precision: Precision,
        format: &FormatConfig,
        families: &Families,
    ) -> Result<Self, ConfigError> {
        let missing = |key: &str| ConfigError::invalid(key, "nothing", "name a plugin");
        let quantizer = format.quantizer.as_ref().ok_or_else(|| missing("quantizer"))?;
        let range = format.range.as_ref().ok_or_else(|| missing("range"))?;
        let build_quantizer = families.quantizers.build(&quantizer.kind, quantizer.options.clone());
        let build_range = families.ranges.build(&range.kind, range.options.clone());
        Ok(Self {
            name: name.to_owned(),
            precision,
            granularity: format.granularity.unwrap_or(Granularity::PerTensor),
            quantizer_name: quantizer.kind.clone(),
            quantizer: Arc::from(build_quantizer.map_err(|error| error.within("quantizer"))?),
            range_name: range.kind.clone(),
            range: Arc::from(build_range.map_err(|error| error.within("range"))?),
        })
    }

    /// Whether the tensor is quantized at all.
    pub fn is_quantized(&self) -> bool {
        self.precision != Precision::Float
    }
}
