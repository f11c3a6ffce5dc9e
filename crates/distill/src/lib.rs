//! Training: losses between a network and its teacher, and the trainers that minimise them.
//!
//! ```text
//! teacher (float, frozen) --.
//! ImageSet -> Augmentation -+-> losses -> gradients -> optimizer -> student (quantized)      StudentTrainer
//! RealImages + labels ------'-> cross-entropy ---------------------> network (float)         TeacherTrainer
//! ```
//!
//! Both trainers go step by step, and their checkpoints resume to the bit: what a step shows to the network follows from the
//! seed and the step's number alone.

mod archive;
mod augment;
mod error;
pub mod loss;
#[cfg(test)]
mod loss_suite;
mod optimizer;
mod order;
#[cfg(test)]
mod reference;
mod schedule;
mod student;
mod teacher;
mod terms;
#[cfg(test)]
mod testing;

pub use augment::{Augmentation, Draw};
pub use error::DistillError;
pub use loss::{BUILTIN, FeaturePair, Features, Loss, Signals, losses};
pub use optimizer::OptimizerConfig;
pub use schedule::{Anneal, Schedule};
pub use student::{LossValue, Phase, RangeWarmup, StepRecord, StudentConfig, StudentTrainer};
pub use teacher::{TeacherConfig, TeacherRecord, TeacherTrainer};
pub use terms::LossConfig;
