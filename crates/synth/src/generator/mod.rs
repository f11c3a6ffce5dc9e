//! Images drawn by a network that is trained without data.
//!
//! ```text
//! classes, noise -> Latents -> Generator -> images -> teacher (and student) -> GeneratorView
//!                                 ^-- optimizer <- gradient <- sum of weight * GeneratorTerm <-'
//! ```
//!
//! A way to train a generator is a plugin (see [`generators`]): it says what it wants of the images.
//! [`GeneratorTrainer`] does the rest, batch after batch, alone or beside the training of a student.

mod adasg;
mod checkpoint;
mod choi_akd;
mod gdfq;
mod latents;
pub(crate) mod layers;
mod network;
mod qimera;
#[cfg(test)]
pub(crate) mod sample;
mod settings;
mod teacher;
mod trainer;
mod zaq;

use std::fmt::Debug;

use blindfold_zoo::{ConfigError, Entry, Family, Stream};
use burn::tensor::Tensor;

use crate::bn::Statistics;
use crate::error::SynthError;

pub use adasg::{AdaSgConfig, SmallestEntropy};
pub use choi_akd::ChoiAkdConfig;
pub use gdfq::GdfqConfig;
pub use latents::Latents;
pub use qimera::QimeraConfig;
pub use settings::{Conditioning, GeneratorSettings};
pub use trainer::{Generated, GeneratorConfig, GeneratorTrainer};
pub use zaq::ZaqConfig;

/// A way to train a generator: plugin family `generator`.
///
/// Implementations are pure: they hold their options and no state, so that a resumed training is the same training.
pub trait GeneratorMethod: Debug + Send + Sync {
    /// The generator's network, its optimizer and how often it steps.
    fn settings(&self) -> &GeneratorSettings;

    /// Whether it looks at what the student makes of the images; no by default.
    fn needs_student(&self) -> bool {
        false
    }

    /// Whether it looks at the outputs of the blocks of the teacher (and of the student); no by default.
    fn needs_features(&self) -> bool {
        false
    }

    /// Where the embedding of the classes starts that a conditional generator's latent codes are made with.
    ///
    /// By default there is one, drawn at random, where the settings say that the classes come in by it.
    fn embedding(&self) -> EmbeddingStart {
        let settings = self.settings();
        match settings.conditional && settings.conditioning == Conditioning::Embedding {
            true => EmbeddingStart::Random,
            false => EmbeddingStart::None,
        }
    }

    /// The latent codes of a batch of `count` images.
    ///
    /// By default each image has one class, drawn evenly, if the settings are conditional.
    fn latents(&self, classes: usize, count: usize, random: &mut Stream) -> Latents {
        match self.settings().conditional {
            true => Latents::labelled(classes, count, random),
            false => Latents::Noise { count },
        }
    }

    /// What it wants of the images: the generator makes the sum of `weight * value` small.
    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm>;
}

/// Where the embedding of the classes starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingStart {
    /// There is none.
    None,
    /// Drawn from `N(0, 1)`, of the length that the settings give.
    Random,
    /// At the rows of the teacher's last linear layer, whose length becomes that of the latent codes.
    Teacher,
}

/// One weighted term of a generator's loss.
#[derive(Debug, Clone)]
pub struct GeneratorTerm {
    /// Its name in the records, kebab-case.
    pub name: &'static str,
    /// What it is multiplied by; negative where the generator makes it large.
    pub weight: f64,
    /// Its value, `[1]`.
    pub value: Tensor<1>,
}

/// What a batch of generated images shows. Everything but the targets has gradients to the generator's parameters.
#[derive(Debug)]
pub struct GeneratorView<'a> {
    /// The images, `[batch, channel, height, width]`.
    pub images: Tensor<4>,
    /// How much of each class they were to show, `[batch, classes]`, each row of sum 1; none for unconditional
    /// generators.
    pub targets: Option<Tensor<2>>,
    /// The teacher's logits, `[batch, classes]`.
    pub teacher: Tensor<2>,
    /// Mean and biased variance over the batch of what the teacher's batch norms read.
    pub statistics: &'a Statistics,
    /// The outputs of the teacher's blocks, where [`GeneratorMethod::needs_features`].
    pub teacher_features: &'a [Tensor<4>],
    /// Input of the teacher's last linear layer, `[batch, features]`; its logits where it has no such layer.
    pub last_features: Tensor<2>,
    /// What the student makes of the images, where [`GeneratorMethod::needs_student`].
    pub student: Option<StudentView>,
}

/// What a student makes of images.
#[derive(Debug, Clone)]
pub struct StudentView {
    /// `[batch, classes]`.
    pub logits: Tensor<2>,
    /// The outputs of its blocks, where they were asked for.
    pub features: Vec<Tensor<4>>,
}

/// A student as a generator sees it.
pub trait Critic {
    /// Its logits, and the outputs of its blocks if `features`; gradients flow to the images alone.
    ///
    /// # Errors
    /// Whatever keeps the student from running.
    fn look(&self, images: Tensor<4>, features: bool) -> Result<StudentView, SynthError>;
}

/// All members of the family that ship with Blindfold.
pub const BUILTIN_GENERATORS: &[Entry<dyn GeneratorMethod>] =
    &[gdfq::ENTRY, qimera::ENTRY, zaq::ENTRY, choi_akd::ENTRY, adasg::ENTRY];

/// The plugin family of ways to train a generator.
///
/// # Errors
/// [`ConfigError::Duplicate`], which the test of the table excludes.
pub fn generators() -> Result<Family<dyn GeneratorMethod>, ConfigError> {
    Family::new("generator", BUILTIN_GENERATORS)
}

#[cfg(test)]
mod tests;
