//! What is known of a teacher: network, weights, source, reference accuracy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::near_matches;
use crate::{ConfigError, Normalization};

/// An architecture's name and its own table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchitectureTable {
    /// The plugin's name.
    pub kind: String,
    /// The plugin's own keys.
    #[serde(flatten)]
    pub table: toml::Table,
}

/// Where a teacher's weights lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeacherPlace<'a> {
    /// Shipped with this library: a file of `models/`.
    Shipped(&'a str),
    /// A file of the data folder, fetched from its publisher.
    DataFolder(&'a str),
}

/// What is known of a teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherCard {
    /// The network.
    pub architecture: ArchitectureTable,
    /// The data set it was trained on.
    pub data: String,
    /// Path below the data folder.
    #[serde(default)]
    pub file: Option<String>,
    /// Path below `models/`.
    #[serde(default)]
    pub model: Option<String>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Length of the file.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The publisher's address.
    #[serde(default)]
    pub url: Option<String>,
    /// Who published it, under which licence.
    pub source: String,
    /// How pixels become its input.
    pub normalization: Normalization,
    /// Top-1 accuracy on the whole test set, percent.
    pub top1: f64,
    /// Top-5 accuracy on the whole test set, percent.
    #[serde(default)]
    pub top5: Option<f64>,
}

impl TeacherCard {
    /// Where the weights lie.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] unless exactly one of `file` and `model` is given.
    pub fn place(&self) -> Result<TeacherPlace<'_>, ConfigError> {
        match (&self.file, &self.model) {
            (Some(file), None) => Ok(TeacherPlace::DataFolder(file)),
            (None, Some(model)) => Ok(TeacherPlace::Shipped(model)),
            _ => Err(ConfigError::invalid("file, model", "both or neither", "give one of them")),
        }
    }
}

/// All teachers of the catalogue by name.
pub fn catalogue() -> BTreeMap<String, TeacherCard> {
    toml::from_str(include_str!("catalogue.toml")).expect("a test reads the embedded catalogue")
}

/// The teacher of that name.
///
/// # Errors
/// [`ConfigError::UnknownName`] with near matches.
pub fn find_teacher(name: &str) -> Result<TeacherCard, ConfigError> {
    let mut cards = catalogue();
    cards.remove(name).ok_or_else(|| {
        let known: Vec<String> = cards.into_keys().collect();
        let candidates = near_matches(name, known.iter().map(String::as_str));
        ConfigError::UnknownName { family: "teacher", name: name.to_owned(), candidates, known }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, architecture};

    #[test]
    fn every_card_builds_its_network_and_has_a_hash_and_one_place() {
        let family = Family::new("architecture", architecture::BUILTIN).unwrap();
        for (name, card) in catalogue() {
            let built = family.build(&card.architecture.kind, card.architecture.table.clone()).unwrap();
            let network = built.build(&burn::tensor::Device::flex(), 0);
            card.normalization.check(network.input_shape()[0]).unwrap();
            assert_eq!(card.sha256.len(), 64, "{name}");
            card.place().unwrap();
            assert!(card.top1 > 10.0 && !card.source.is_empty());
        }
    }
}
