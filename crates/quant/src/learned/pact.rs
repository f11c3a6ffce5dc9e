//! A learned clip of activations.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::size::{size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, not_negative, steps, unsigned};
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// Table of [`Pact`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PactConfig {
    /// `alpha` at the start; 0: the largest value of the calibration.
    pub alpha: f64,
    /// `d` of the penalty on `alpha`.
    pub alpha_decay: f64,
}

impl Default for PactConfig {
    fn default() -> Self {
        Self { alpha: 8.0, alpha_decay: 2e-4 }
    }
}

/// Parameterized clipping activation.
///
/// ```text
/// y           = clip(x, 0, alpha),   x^ = round(y * n / alpha) * alpha / n,   n = 2^b - 1
/// dx^/dx      = 1 where 0 <= x < alpha, else 0
/// dx^/dalpha  = 1 where x >= alpha, else 0
/// added to the loss: d / 2 * alpha^2
/// ```
/// For activations alone; the paper quantizes weights by DoReFa (`weight.learned = "dorefa"`).
///
/// # Shapes
/// `alpha`: one value a group.
///
/// # Range
/// `[0, alpha]`. `alpha` counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Choi et al., PACT: Parameterized Clipping Activation for Quantized Neural Networks, 2018, equations 1 to 3. The start
/// of 8 and the penalty of 2e-4 are recalled, not read: the usual codes start between 6 and 10.
///
/// # Differences from the source
/// None.
#[derive(Debug, Clone)]
pub struct Pact {
    config: PactConfig,
}

impl Pact {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for negative numbers.
    pub fn new(config: PactConfig) -> Result<Self, ConfigError> {
        not_negative("alpha", config.alpha)?;
        not_negative("alpha_decay", config.alpha_decay)?;
        Ok(Self { config })
    }
}

impl LearnedQuantizer for Pact {
    fn widths(&self, role: Role) -> Option<RangeInclusive<u8>> {
        (role == Role::Activation).then_some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        vec![("alpha", site.groups)]
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        unsigned(site, "pact")?;
        let alpha = self.config.alpha as f32;
        Ok(vec![statistics.iter().map(|group| if alpha > 0.0 { alpha } else { group.max }).collect()])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        steps::codec(parameters[0].iter().map(|&alpha| size(alpha) / site.steps()), site)
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        _value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let alpha = size_of(site.spread(&parameters[0]));
        let plain = x.clone().inner();
        let above = plain.clone().greater_equal(alpha.clone().inner().expand(plain.dims())).float();
        let inside = plain.greater_equal_scalar(0.0).float() * (above.ones_like() - above.clone());
        Ok(x * inside + alpha.autodiff() * above)
    }

    fn decay(&self, _parameter: &str, _site: &LearnedSite) -> f64 {
        self.config.alpha_decay
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "pact",
    summary: "activations clipped at a learned value, which a penalty keeps small",
    source: "Choi et al., PACT: Parameterized Clipping Activation for Quantized Neural Networks, 2018",
    defaults: defaults_of::<PactConfig>,
    build: |table| Ok(Box::new(Pact::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_the_key_or_at_the_calibration_and_not_where_values_are_negative() {
        let statistics = GroupStatistics::of(&Samples::new(vec![0.0, 1.0, 5.5], 1).unwrap());
        let site = LearnedSite { role: Role::Activation, bits: 4, axis: None, groups: 1, signed: false };
        let pact = |alpha: f64| Pact::new(PactConfig { alpha, ..Default::default() }).unwrap();
        assert_eq!(pact(8.0).start(&statistics, None, &site).unwrap(), [vec![8.0f32]]);
        assert_eq!(pact(0.0).start(&statistics, None, &site).unwrap(), [vec![5.5f32]]);
        let signed = LearnedSite { signed: true, ..site };
        let error = pact(8.0).start(&statistics, None, &signed).unwrap_err().to_string();
        assert!(error.contains("`pact` where values are negative") && error.contains("lsq"), "{error}");
        assert!(pact(8.0).widths(Role::Weight).is_none());
    }
}
