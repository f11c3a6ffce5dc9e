//! Images without data: optimised images, trained generators, and the controls that stand beside them (noise, real images).
//!
//! ```text
//! teacher (zoo) -> ImageSource::synthesize -> ImageSet -> calibration, distillation
//!                    zeroq: ObservedNetwork -> Statistics -> StatisticsLoss -> gradient -> optimizer -> images
//! teacher (zoo) -> GeneratorTrainer -> batch after batch -> distillation
//! ```
//!
//! An image source is a plugin (see [`image_sources`]); so is the distance between batch-norm statistics that it
//! minimises (see [`statistics_losses`]), because papers that call it by one name mean different formulas, and so are the
//! terms that ask for natural or varied images beside it (see [`image_priors`]). What happens to images before a student
//! reads them is a plugin too (see [`augmentations`]).

mod augmentation;
mod bn;
#[cfg(test)]
mod doc_sections;
mod error;
mod generator;
mod grid;
mod identity;
mod images;
mod optimised;
mod optimizer;
mod plateau;
mod plugins;
mod prior;
mod progress;
mod real_images;
#[cfg(test)]
mod sample;
mod shards;
mod source;

pub use augmentation::{
    Augment, AugmentationConfig, Augmented, BUILTIN_AUGMENTATIONS, CutmixConfig, FlipConfig, LowPassConfig, Mixing,
    MixupConfig, ResizedCropConfig, ShiftConfig, augmentations,
};
pub use bn::{
    BUILTIN_LOSSES, Evaluation, GaussianKlConfig, MeanStdPerChannelConfig, MeanStdPerImageConfig, MeanVarMseConfig,
    NormConfig, Objective, ObservedLayer, ObservedNetwork, Sampling, Statistics, StatisticsLoss, StatisticsTap, Target,
    statistics_losses,
};
pub use error::SynthError;
pub use generator::{
    AdaSgConfig, BUILTIN_GENERATORS, ChoiAkdConfig, Conditioning, Critic, EmbeddingStart, GdfqConfig, Generated,
    GeneratorConfig, GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorTrainer, GeneratorView, Latents,
    QimeraConfig, SmallestEntropy, StudentView, ZaqConfig, generators,
};
pub use grid::grid;
pub use identity::cache_identity;
pub use images::{ImageSet, Origin};
pub use optimised::{ClassCentresConfig, CosineConfig, LabelRule, Margin, ScheduleConfig, StepConfig};
pub use optimizer::{OptimizerConfig, OptimizerKind};
pub use plateau::{PlateauConfig, PlateauScheduler};
pub use plugins::SourcePlugins;
pub use prior::{
    BUILTIN_PRIORS, CosineMarginConfig, ImagePrior, L2Config, PriorConfig, PriorView, SmoothnessConfig,
    TotalVariationConfig, VariationNorm, image_priors,
};
pub use progress::{NoProgress, Progress, Step};
pub use real_images::RealImages;
pub use shards::is_flex;
pub use source::{
    BUILTIN_SOURCES, DataChoice, DeepInversionConfig, DsgConfig, GeneratorSourceConfig, GenieDConfig, GenieDecayConfig,
    HastConfig, ImageGranularity, ImageSource, InitConfig, IntraqConfig, KnowledgeWithinConfig, MctConfig,
    MixMixConfig, NoiseConfig, OutOfDomainConfig, OutputLoss, RealConfig, Request, SynqConfig, TexqConfig,
    UniformConfig, ZeroqConfig, image_sources,
};
