//! `shapes10` and `shapes100` as data sets.

use std::path::PathBuf;

use blindfold_synth::RealImages;
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::dataset::{DataSet, Split};
use super::error::DataError;
use super::home::DataHome;
use super::shapes::{SHAPES10, SHAPES100, SIZE, ShapesSettings};
use super::verify::{Evidence, FileReport};

/// The table of `shapes10` and `shapes100`: there is nothing to choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapesConfig {}

fn build(settings: &'static ShapesSettings, table: toml::Table) -> Result<Box<dyn DataSet>, ConfigError> {
    let ShapesConfig {} = parse(table)?;
    Ok(Box::new(Shapes(settings)))
}

#[derive(Debug)]
struct Shapes(&'static ShapesSettings);

impl Shapes {
    fn count(&self, split: Split) -> usize {
        match split {
            Split::Train => self.0.train,
            Split::Test => self.0.test,
            Split::Subset => self.0.subset,
        }
    }
}

impl DataSet for Shapes {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn form(&self) -> Option<([usize; 3], usize)> {
        Some(([3, SIZE, SIZE], self.0.classes()))
    }

    fn has(&self, _: Split, _: &DataHome) -> bool {
        true
    }

    fn load(&self, split: Split, _: &DataHome) -> Result<RealImages, DataError> {
        let stream = if split == Split::Test { "test" } else { "train" };
        Ok(self.0.generate(stream, self.count(split)))
    }

    fn verify(&self, _: &DataHome) -> Result<Vec<FileReport>, DataError> {
        let report = |split: Split| FileReport {
            path: PathBuf::from(format!("{}/{split}", self.0.name)),
            images: self.count(split),
            evidence: Evidence::Computed,
            detail: format!("{} images, computed from seed {}", self.count(split), self.0.seed),
        };
        Ok([Split::Train, Split::Test].map(report).to_vec())
    }
}

/// `shapes10`.
pub(super) const SHAPES10_ENTRY: Entry<dyn DataSet> = Entry {
    name: "shapes10",
    summary: "ten outlines in any fill under strong nuisances, 32x32 colour, computed",
    source: "this project",
    defaults: defaults_of::<ShapesConfig>,
    build: |table| build(&SHAPES10, table),
};

/// `shapes100`.
pub(super) const SHAPES100_ENTRY: Entry<dyn DataSet> = Entry {
    name: "shapes100",
    summary: "ten outlines x ten fills, 32x32 colour, computed",
    source: "this project",
    defaults: defaults_of::<ShapesConfig>,
    build: |table| build(&SHAPES100, table),
};
