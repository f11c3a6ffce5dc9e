//! The plugin family of data sets.

use std::fmt;

use blindfold_synth::RealImages;
use blindfold_zoo::{ConfigError, Entry, Family};
use serde::{Deserialize, Serialize};

use super::catalogue::Publication;
use super::error::DataError;
use super::home::DataHome;
use super::verify::FileReport;
use super::{cifar, image_folder, mnist, procedural};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The training images.
    Train,
    /// The images on which accuracy is measured.
    Test,
    /// A few training images, for the `real` control; all training images where there is no such file.
    Subset,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Subset];

    /// The split's name, as paths and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Subset => "subset",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A labelled set of images of one size.
pub trait DataSet: Send + Sync + fmt::Debug {
    /// The name under which it is registered.
    fn name(&self) -> &'static str;

    /// `[channels, height, width]` and the number of classes, where they are known without reading a file.
    fn form(&self) -> Option<([usize; 3], usize)>;

    /// Who publishes it and under which addresses; none for sets that are computed or the user's own.
    fn publication(&self) -> Option<&'static Publication> {
        None
    }

    /// Whether a split's files are there; they are not opened.
    fn has(&self, split: Split, home: &DataHome) -> bool;

    /// Reads a split.
    ///
    /// # Errors
    /// [`DataError::Missing`] if it is not at hand, which says how to get it; otherwise what is wrong with which file.
    fn load(&self, split: Split, home: &DataHome) -> Result<RealImages, DataError>;

    /// Reads all files that are at hand and holds them against published checksums, recorded ones and the set's form.
    ///
    /// # Errors
    /// [`DataError::Missing`] if there are none; otherwise the first fault.
    fn verify(&self, home: &DataHome) -> Result<Vec<FileReport>, DataError>;
}

/// Every data set of the program.
pub const BUILTIN: &[Entry<dyn DataSet>] = &[
    procedural::SHAPES10_ENTRY,
    procedural::SHAPES100_ENTRY,
    cifar::CIFAR10_ENTRY,
    cifar::CIFAR100_ENTRY,
    mnist::MNIST_ENTRY,
    mnist::FASHION_MNIST_ENTRY,
    image_folder::ENTRY,
];

/// The family of [`BUILTIN`] data sets.
///
/// # Errors
/// [`ConfigError::Duplicate`] if two share a name.
pub fn family() -> Result<Family<dyn DataSet>, ConfigError> {
    Family::new("data set", BUILTIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_builds_from_its_own_defaults_under_its_own_name() {
        let family = family().unwrap();
        for entry in family.entries() {
            assert_eq!(family.build(entry.name, (entry.defaults)()).unwrap().name(), entry.name);
            assert_eq!(family.build(entry.name, toml::Table::new()).unwrap().name(), entry.name);
            let unknown = toml::Table::from_iter([("no-such-key".to_owned(), toml::Value::Boolean(true))]);
            assert!(family.build(entry.name, unknown).is_err(), "{}", entry.name);
        }
        assert!(family.get("cifar-10").unwrap_err().to_string().contains("did you mean `cifar10`"));
    }
}
