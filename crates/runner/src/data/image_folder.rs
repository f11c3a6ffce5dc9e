//! Folders of PNG files, one folder a class.

use std::path::PathBuf;

use blindfold_synth::RealImages;
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::class_folders::ClassFolders;
use super::dataset::{DataSet, Split};
use super::error::DataError;
use super::home::DataHome;
use super::verify::FileReport;

/// The table of `image-folder`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageFolderConfig {
    /// The folder that holds the splits, absolute or within the data folder.
    pub path: PathBuf,
    /// Folder of the training images within it.
    pub train: String,
    /// Folder of the test images within it.
    pub test: String,
    /// Folder of the images for the `real` control within it.
    pub subset: String,
    /// 3 (colour) or 1 (grey): images are converted.
    pub channels: usize,
}

impl Default for ImageFolderConfig {
    fn default() -> Self {
        let [train, test, subset] = Split::ALL.map(|split| split.name().to_owned());
        Self { path: PathBuf::from("images"), train, test, subset, channels: 3 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn DataSet>, ConfigError> {
    let config: ImageFolderConfig = parse(table)?;
    if !matches!(config.channels, 1 | 3) {
        return Err(ConfigError::invalid("channels", config.channels, "write 3 (colour) or 1 (grey)"));
    }
    Ok(Box::new(ImageFolder(config)))
}

#[derive(Debug)]
struct ImageFolder(ImageFolderConfig);

impl ImageFolder {
    fn folders(&self, home: &DataHome) -> ClassFolders {
        let config = &self.0;
        ClassFolders {
            // Joining an absolute path replaces the data folder.
            root: home.join(&config.path),
            splits: [config.train.clone(), config.test.clone(), config.subset.clone()],
            channels: config.channels,
            form: None,
        }
    }

    fn resolve(&self, split: Split, home: &DataHome) -> Split {
        let none = !self.folders(home).folder(split).is_dir();
        if split == Split::Subset && none { Split::Train } else { split }
    }

    fn missing(&self, split: Split, home: &DataHome) -> DataError {
        DataError::Missing {
            what: format!("the {split} split of image-folder"),
            path: self.folders(home).folder(split),
            fix: "put one folder of PNG files a class there, or correct `path`".to_owned(),
        }
    }
}

impl DataSet for ImageFolder {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn form(&self) -> Option<([usize; 3], usize)> {
        None
    }

    fn has(&self, split: Split, home: &DataHome) -> bool {
        self.folders(home).folder(split).is_dir()
    }

    fn load(&self, split: Split, home: &DataHome) -> Result<RealImages, DataError> {
        let split = self.resolve(split, home);
        if !self.has(split, home) {
            return Err(self.missing(split, home));
        }
        self.folders(home).load(split, self.name())
    }

    fn verify(&self, home: &DataHome) -> Result<Vec<FileReport>, DataError> {
        let here = Split::ALL.into_iter().filter(|split| self.has(*split, home));
        let reports: Vec<FileReport> =
            here.map(|split| self.folders(home).verify(split, self.name())).collect::<Result<_, _>>()?;
        if reports.is_empty() { Err(self.missing(Split::Test, home)) } else { Ok(reports) }
    }
}

/// `image-folder`.
pub(super) const ENTRY: Entry<dyn DataSet> = Entry {
    name: "image-folder",
    summary: "folders of PNG files of one size, one folder a class",
    source: "the user",
    defaults: defaults_of::<ImageFolderConfig>,
    build,
};

#[cfg(test)]
#[path = "image_folder_tests.rs"]
mod tests;
