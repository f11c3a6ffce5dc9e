//! Images without data: optimised images, and the controls that stand beside them (noise, real images).
//!
//! ```text
//! teacher (zoo) -> ImageSource::synthesize -> ImageSet -> calibration, distillation
//!                    zeroq: ObservedNetwork -> Statistics -> StatisticsLoss -> gradient -> optimizer -> images
//! ```
//!
//! An image source is a plugin (see [`image_sources`]); so is the distance between batch-norm statistics that it
//! minimises (see [`statistics_losses`]), because papers that call it by one name mean different formulas.

mod bn;
mod error;
mod grid;
mod identity;
mod images;
mod optimizer;
mod plateau;
mod progress;
mod real_images;
#[cfg(test)]
mod sample;
mod shards;
mod source;

pub use bn::{
    BUILTIN_LOSSES, Evaluation, MeanStdPerChannelConfig, MeanStdPerImageConfig, MeanVarMseConfig, NormConfig,
    Objective, ObservedLayer, ObservedNetwork, Sampling, Statistics, StatisticsLoss, StatisticsTap, Target,
    statistics_losses,
};
pub use error::SynthError;
pub use grid::grid;
pub use identity::cache_identity;
pub use images::{ImageSet, Origin};
pub use optimizer::{OptimizerConfig, OptimizerKind};
pub use plateau::{PlateauConfig, PlateauScheduler};
pub use progress::{NoProgress, Progress, Step};
pub use real_images::RealImages;
pub use shards::is_flex;
pub use source::{
    BUILTIN_SOURCES, ImageSource, InitConfig, NoiseConfig, RealConfig, Request, UniformConfig, ZeroqConfig,
    image_sources,
};
