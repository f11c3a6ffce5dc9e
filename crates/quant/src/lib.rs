//! Number formats, range estimators and fake quantization of networks.
//!
//! ```text
//! QuantConfig + Network -> Plan                        which tensors, how many bits, which plugins
//! Samples -> RangeEstimator -> Range                   what is worth representing
//! Range + bits -> Quantizer -> Affine, Grid            integer codes and back
//! Network + Plan + images -> Calibrator -> QuantizedNetwork -> FakeQuantTap -> logits
//! QuantizedNetwork -> Audit                            what really passed, against the plan
//! QuantizedNetwork + teacher + images -> LayerError    what it cost, by layer
//! ```

mod affine;
mod audit;
mod deviation;
mod error;
mod families;
mod granularity;
mod grid;
mod host;
mod interval;
mod layer_error;
mod network;
mod plan;
mod precision;
mod quantizer;
mod range;
#[cfg(test)]
mod reference;
mod reservoir;
mod samples;
mod ste;
#[cfg(test)]
mod testing;

pub use affine::{Affine, Arithmetic};
pub use audit::{Audit, AuditRow, Role};
pub use error::QuantError;
pub use families::Families;
pub use granularity::Granularity;
pub use grid::Grid;
pub use interval::Range;
pub use layer_error::{LayerError, layer_errors};
pub use network::{Calibrator, FakeQuantTap, QuantizedNetwork, QuantizedState};
pub use plan::{FormatConfig, Glob, LayerOverride, Plan, PluginChoice, Protocol, QuantConfig, Target};
pub use precision::{MAX_BITS, MIN_BITS, Precision};
pub use quantizer::{
    BUILTIN as QUANTIZERS, BrecqAffine, BrecqAffineConfig, Quantizer, Symmetric, SymmetricConfig, ZeroqAffine,
    ZeroqAffineConfig,
};
pub use range::{
    BUILTIN as RANGE_ESTIMATORS, Kl, KlConfig, MinMax, MinMaxConfig, MovingAverage, MovingAverageConfig, Mse,
    MseConfig, Percentile, PercentileConfig, RangeEstimator, RangeObserver,
};
pub use reservoir::Reservoir;
pub use samples::Samples;
pub use ste::Ste;
