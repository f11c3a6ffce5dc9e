//! The plugin families that a student's training draws on.

use blindfold_synth::{Augment, GeneratorMethod, augmentations, generators};
use blindfold_zoo::{ConfigError, Family};

use crate::loss::{Loss, losses};

/// What the names in a [`crate::StudentConfig`] may stand for.
#[derive(Debug, Clone)]
pub struct Plugins {
    /// Losses.
    pub losses: Family<dyn Loss>,
    /// Ways to train a generator.
    pub generators: Family<dyn GeneratorMethod>,
    /// Augmentations.
    pub augmentations: Family<dyn Augment>,
}

impl Plugins {
    /// The members that come with Blindfold.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when two members of a family share a name.
    pub fn builtin() -> Result<Self, ConfigError> {
        Ok(Self { losses: losses()?, generators: generators()?, augmentations: augmentations()? })
    }
}
