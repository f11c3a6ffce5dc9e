//! Plugin family: quantizers whose parameters are trained with the network (quantization-aware training).
//!
//! ```text
//! statistics of a tensor -> start -> parameters           when calibration is done
//! parameters -> codec -> value,  carrier -> gradient      in every forward pass
//! parameters -> codec                                     frozen, when training is done
//! ```
//! What a tensor is quantized to is at any time what the codec of the present parameters makes of it, so that freezing
//! changes nothing.

mod apot;
mod binary;
mod clipped_levels;
mod dorefa;
mod ewgs;
#[cfg(test)]
mod fresh;
mod lsq;
mod lsq_plus;
mod n2uq;
mod pact;
mod parameters;
mod power_of_two;
mod reactnet;
mod site;
mod size;
mod statistics;
mod steps;
#[cfg(test)]
mod suite;
mod ternary;
#[cfg(test)]
mod true_slopes;

use std::fmt::Debug;
use std::ops::RangeInclusive;

use blindfold_zoo::{ConfigError, Entry};
use burn::tensor::{Device, Tensor};

use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

pub use binary::{BinaryGradient, LearnedBinary, LearnedBinaryConfig};
pub use clipped_levels::{ClippedLevels, ClippedLevelsConfig};
pub use dorefa::{Dorefa, DorefaConfig};
pub use ewgs::{Ewgs, EwgsConfig};
pub use lsq::{Lsq, LsqConfig};
pub use lsq_plus::{LsqPlus, LsqPlusConfig};
pub use n2uq::{N2uq, N2uqConfig};
pub use pact::{Pact, PactConfig};
pub use parameters::{LearnedParameters, LearnedState, LearnedValues};
pub use reactnet::{ReactNet, ReactNetConfig};
pub use site::LearnedSite;
pub use statistics::GroupStatistics;
pub use ternary::{LearnedTernary, LearnedTernaryConfig};

pub(crate) use parameters::SiteParameters;
pub(crate) use statistics::StatisticsObserver;

/// A quantizer with parameters that an optimizer moves along their gradients.
///
/// Wherever `weights` is asked for, it is the weight's own values by group for [`Role::Weight`], and none for
/// activations. Parameters come in the order of [`Self::layout`].
pub trait LearnedQuantizer: Debug + Send + Sync {
    /// The numbers of bits that it has for weights or for activations; none where it is not for them.
    fn widths(&self, role: Role) -> Option<RangeInclusive<u8>>;

    /// Names of the parameters with their numbers of values.
    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)>;

    /// The parameters at the start, from the statistics of each group.
    ///
    /// # Errors
    /// [`QuantError::Config`] for a tensor that it is not for; [`QuantError::Empty`] without a weight's values.
    fn start(
        &self,
        statistics: &[GroupStatistics],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError>;

    /// The codec of these parameters: what values are quantized to, as they come.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for parameters that diverged; [`QuantError::Empty`] without a weight's values.
    fn codec(
        &self,
        parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError>;

    /// A tensor that has the gradients for `x` and the parameters, whatever its own value. `value` is what the codec made
    /// of `x`, without gradient; `x` has autodiff.
    ///
    /// # Shapes
    /// - x, value and output: the shape in which the tensor is quantized; parameters: `[size]` as in [`Self::layout`]
    ///
    /// # Errors
    /// [`QuantError::Empty`] without a weight's values.
    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError>;

    /// The weight `d` of `d / 2 * sum p^2`, which is added to the loss for that parameter.
    fn decay(&self, _parameter: &str, _site: &LearnedSite) -> f64 {
        0.0
    }

    /// Whether its gradient can be computed there.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] that says what to do instead.
    fn check_device(&self, _device: &Device) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// All learned quantizers of this crate.
pub const BUILTIN: &[Entry<dyn LearnedQuantizer>] = &[
    lsq::ENTRY,
    lsq_plus::ENTRY,
    pact::ENTRY,
    dorefa::ENTRY,
    ewgs::ENTRY,
    n2uq::ENTRY,
    apot::ENTRY,
    power_of_two::ENTRY,
    binary::ENTRY,
    reactnet::ENTRY,
    ternary::ENTRY,
];

/// The values of a weight, which a quantizer of weights always gets.
fn values_of(weights: Option<&Samples>) -> Result<&Samples, QuantError> {
    weights.ok_or(QuantError::Empty)
}

/// Refuses a site with negative values.
fn unsigned(site: &LearnedSite, kind: &str) -> Result<(), ConfigError> {
    if !site.signed {
        return Ok(());
    }
    let fix = "it clips below 0: name another such as `lsq` for this site, in a [[quant.layer]] table";
    Err(ConfigError::invalid("learned", format!("`{kind}` where values are negative"), fix))
}

fn positive(key: &str, value: f64) -> Result<f64, ConfigError> {
    match value.is_finite() && value > 0.0 {
        true => Ok(value),
        false => Err(ConfigError::invalid(key, value, "write a number > 0")),
    }
}

fn not_negative(key: &str, value: f64) -> Result<f64, ConfigError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(ConfigError::invalid(key, value, "write a number >= 0")),
    }
}
