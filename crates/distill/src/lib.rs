//! Training: losses between a network and its teacher, and the trainers that minimise them.
//!
//! ```text
//! teacher (float, frozen) --.
//! ImageSet -> Augmentation -+-> losses -> gradients -> optimizer -> student (quantized)      StudentTrainer
//! GeneratorTrainer ---------'
//! RealImages + labels ----------> cross-entropy ------------------> network (float)          TeacherTrainer
//! ```
//!
//! What happens to the images of a step before both networks read them may be told by plugins (the family `augmentation`).
//!
//! Both trainers go step by step, and their checkpoints resume to the bit: what a step shows to the network follows from the
//! seed and the step's number, and from the generator's state where one makes the images.

mod archive;
mod augment;
mod augmentations;
mod error;
mod feed;
#[cfg(test)]
mod image_reference;
pub mod loss;
#[cfg(test)]
mod loss_suite;
#[cfg(test)]
mod network_pair;
mod optimizer;
mod order;
mod plugins;
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
pub use loss::{BUILTIN, FeaturePair, Features, Head, Loss, Pair, Signals, View, losses};
pub use optimizer::OptimizerConfig;
pub use plugins::Plugins;
pub use schedule::{Anneal, Schedule};
pub use student::{
    BatchNorms, Inundation, LossValue, Phase, RangeWarmup, Reestimation, StepRecord, StudentConfig, StudentTrainer,
};
pub use teacher::{TeacherConfig, TeacherRecord, TeacherTrainer};
pub use terms::{LossConfig, Ramp};
