//! Training of a quantized student against its float teacher.

mod changes;
mod checkpoint;
mod config;
mod record;
#[cfg(test)]
mod tests;
mod trainer;

pub use config::{RangeWarmup, StudentConfig};
pub use record::{LossValue, Phase, StepRecord};
pub use trainer::StudentTrainer;
