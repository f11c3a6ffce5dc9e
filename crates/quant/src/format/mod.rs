//! Plugin family: number formats other than uniform integers, fitted to the weights of a layer.

mod apot;
mod binary;
mod half_float;
mod k_means;
mod ks;
mod lloyd_max;
mod minifloat;
mod piecewise_linear;
mod power_of_two;
#[cfg(test)]
mod properties;
mod residual;
mod scale;
mod sorted;
mod tables;
mod ternary;
#[cfg(test)]
mod testing;
mod uniform;

use std::fmt::Debug;

use blindfold_zoo::Entry;

pub use apot::{Apot, ApotConfig};
pub use binary::{Binary, BinaryConfig};
pub use half_float::{HalfFloat, HalfFloatConfig};
pub use k_means::{KMeans, KMeansConfig};
pub use ks::{Ks, KsClip, KsCodebook, KsConfig, KsDecision};
pub use lloyd_max::{LloydMax, LloydMaxConfig, LloydMaxFamily};
pub use minifloat::{Fp4Config, Fp8Config, Fp8Variant, Minifloat};
pub use piecewise_linear::{PiecewiseLinear, PiecewiseLinearConfig};
pub use power_of_two::{PowerOfTwo, PowerOfTwoConfig};
pub use residual::{Residual, ResidualConfig};
pub use scale::ScaleRule;
pub use ternary::{Ternary, TernaryConfig, TernaryRule};
pub use uniform::{Uniform, UniformConfig, UniformRange, UniformScheme};

pub(crate) use apot::units as apot_units;
pub(crate) use power_of_two::units as power_of_two_units;

use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Fits a codec to values; the codec encodes and decodes them.
pub trait NumberFormat: Debug + Send + Sync {
    /// The numbers of bits that the format exists in, such as `2..=8`; a format of one width has one.
    fn widths(&self) -> std::ops::RangeInclusive<u8>;

    /// The codec for these groups of values, which lie along `axis` of the tensor (none: one group, the whole tensor).
    ///
    /// # Errors
    /// [`QuantError::Bits`] for bits outside [`Self::widths`]; a format's own.
    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError>;
}

/// All number formats of this crate.
pub const BUILTIN: &[Entry<dyn NumberFormat>] = &[
    uniform::ENTRY,
    k_means::ENTRY,
    lloyd_max::ENTRY,
    ks::ENTRY,
    piecewise_linear::ENTRY,
    power_of_two::ENTRY,
    apot::ENTRY,
    half_float::FP16_ENTRY,
    half_float::BF16_ENTRY,
    minifloat::FP8_ENTRY,
    minifloat::FP4_ENTRY,
    ternary::ENTRY,
    binary::ENTRY,
    residual::ENTRY,
];
