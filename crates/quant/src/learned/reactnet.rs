//! The sign about a learned shift.

use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::size::{LEAST, size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`ReactNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReactNetConfig {
    /// `tau` at the start.
    pub shift: f64,
}

impl Default for ReactNetConfig {
    fn default() -> Self {
        Self { shift: 0.0 }
    }
}

/// RSign: the sign about a learned shift, with a gradient of two straight pieces.
///
/// ```text
/// u = x - tau,   x^ = a * sign(u)
/// dx^/dx   = a * (2 + 2 u) for u in [-1, 0),   a * (2 - 2 u) for u in [0, 1),   else 0
/// dx^/dtau = - dx^/dx
/// dx^/da   = sign(u)
/// start: tau = shift,   a = mean |x|
/// ```
/// For activations alone; weights are those of `weight.learned = "binary"`. The source has one `tau` a channel: write
/// `activation.granularity = "per-channel"`. Zero has the sign minus.
///
/// # Shapes
/// `shift`, `scale`: one value a group each.
///
/// # Range
/// `{-a, a}`. `a` counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Liu et al., ReActNet: Towards Precise Binary Neural Network with Generalized Activation Functions, ECCV 2020, equation
/// 3; the gradient: Liu et al., Bi-Real Net, ECCV 2018.
///
/// # Differences from the source
/// `a` is ours: the source has levels of -1 and 1, and trains batch norms that make good for the size. RPReLU, the
/// source's activation function, belongs to the network and not to a quantizer, and is left out.
#[derive(Debug, Clone)]
pub struct ReactNet {
    config: ReactNetConfig,
}

impl ReactNet {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a shift that is not a number.
    pub fn new(config: ReactNetConfig) -> Result<Self, ConfigError> {
        match config.shift.is_finite() {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("shift", config.shift, "write a number")),
        }
    }
}

impl LearnedQuantizer for ReactNet {
    fn widths(&self, role: Role) -> Option<RangeInclusive<u8>> {
        (role == Role::Activation).then_some(1..=1)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        vec![("shift", site.groups), ("scale", site.groups)]
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        _weights: Option<&Samples>,
        _site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        let shifts = vec![self.config.shift as f32; statistics.len()];
        Ok(vec![shifts, statistics.iter().map(|group| group.magnitude.max(LEAST)).collect()])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        let levels = parameters[1].iter().copied().map(size).map(|scale| vec![-scale, scale]).collect();
        let thresholds = parameters[0].iter().map(|&shift| vec![shift]).collect();
        let book = Codebook::new(levels, site.bits, site.axis)?.with_thresholds(thresholds)?;
        Ok(book.with_constants(2 * site.groups).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        _weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        let shift = site.spread(&parameters[0]).autodiff();
        let scale = size_of(site.spread(&parameters[1]));
        let sign = value.clone() / scale.clone().inner();
        let shifted = x - shift;
        let distance = shifted.clone().inner().abs();
        let slope = relu(distance.ones_like() - distance).mul_scalar(2.0) * scale.clone().inner();
        Ok(shifted * slope + scale.autodiff() * sign)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "reactnet",
    summary: "activations: the sign about a learned shift, with a gradient of two straight pieces",
    source: "Liu et al., ReActNet, ECCV 2020; Liu et al., Bi-Real Net, ECCV 2018",
    defaults: defaults_of::<ReactNetConfig>,
    build: |table| Ok(Box::new(ReactNet::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_shift() {
        let reactnet = ReactNet::new(ReactNetConfig { shift: 0.5 }).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 1, axis: Some(1), groups: 2, signed: false };
        let statistics = GroupStatistics::of(&Samples::new(vec![0.0, 2.0, 3.0, 5.0], 2).unwrap());
        let start = reactnet.start(&statistics, None, &site).unwrap();
        assert_eq!(start, [vec![0.5f32, 0.5], vec![1.0, 4.0]]);
        let codec = reactnet.codec(&[vec![0.5, -0.5], start[1].clone()], None, &site).unwrap();
        let values = codec.fake_quantize_values(&[0.4, 0.6, 0.0, -0.6], [1, 2, 2, 1]).unwrap();
        assert_eq!(values, [-1.0, 1.0, 4.0, -4.0]);
        assert!(reactnet.widths(Role::Weight).is_none());
    }
}
