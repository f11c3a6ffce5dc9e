//! Training of a quantized student against its float teacher.

mod changes;
mod checkpoint;
mod checks;
mod config;
mod critic;
mod dropping;
mod gradient_norm;
mod gradient_sum;
mod inundation;
mod networks;
mod objective;
mod record;
mod reestimation;
#[cfg(test)]
mod tests;
mod trainer;
mod warmup;

pub use config::{BatchNorms, RangeWarmup, StudentConfig};
pub use inundation::Inundation;
pub use record::{LossValue, Phase, StepRecord};
pub use reestimation::Reestimation;
pub use trainer::StudentTrainer;
