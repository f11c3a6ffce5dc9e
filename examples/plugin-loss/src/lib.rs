//! Plugins from outside: a loss, an image source, a batch-norm loss and a quantizer, none of which Blindfold knows of.
//!
//! Each is one file: config, build, implementation, `ENTRY`. [`registry`] adds them to those that come with Blindfold;
//! `main` hands it to [`blindfold::run`].

pub mod bhattacharyya;
pub mod jeffreys;
pub mod pink;
pub mod shift;

use blindfold::Registry;
use blindfold::zoo::ConfigError;

/// All plugins of Blindfold and those of this crate.
///
/// # Errors
/// [`ConfigError::Duplicate`] when one of them has a name that Blindfold's have taken.
pub fn registry() -> Result<Registry, ConfigError> {
    Registry::builtin()?
        .with_loss(jeffreys::ENTRY)?
        .with_source(pink::ENTRY)?
        .with_statistics(bhattacharyya::ENTRY)?
        .with_quantizer(shift::ENTRY)
}
