//! CIFAR-10 and CIFAR-100: the official binary files, or folders of PNG files by class.

use std::path::{Path, PathBuf};

use blindfold_synth::RealImages;
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::catalogue::{self, Publication};
use super::class_folders::ClassFolders;
use super::dataset::{DataSet, Split};
use super::error::DataError;
use super::home::DataHome;
use super::recorded;
use super::records::{RecordFile, Records};
use super::verify::{Evidence, FileReport, per_class};

/// In which form the files lie in the data folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The binary files where they are there, or else class folders.
    #[default]
    Auto,
    /// `cifar-10-batches-bin/data_batch_1.bin` ..., `cifar-100-binary/train.bin` ...
    Binary,
    /// `cifar10/test/airplane/0001.png` ..., PNG files of 32x32; classes in alphabetical order, as the official ones are.
    Folders,
}

/// The table of `cifar10` and `cifar100`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CifarConfig {
    /// In which form the files lie in the data folder.
    pub form: Form,
}

fn build(variant: &'static Variant, table: toml::Table) -> Result<Box<dyn DataSet>, ConfigError> {
    let CifarConfig { form } = parse(table)?;
    Ok(Box::new(Cifar { variant, form }))
}

/// What distinguishes the two sets.
#[derive(Debug)]
struct Variant {
    publication: &'static Publication,
    records: Records,
    train: &'static [RecordFile],
    test: &'static [RecordFile],
    subset: &'static [RecordFile],
}

const fn file(name: &'static str, records: usize) -> RecordFile {
    RecordFile { name, records: Some(records) }
}

const SUBSET: &[RecordFile] = &[RecordFile { name: "train_subset.bin", records: None }];

static CIFAR10: Variant = Variant {
    publication: &catalogue::CIFAR10,
    records: Records { coarse: None, classes: 10, most: 50_000 },
    train: &[
        file("data_batch_1.bin", 10_000),
        file("data_batch_2.bin", 10_000),
        file("data_batch_3.bin", 10_000),
        file("data_batch_4.bin", 10_000),
        file("data_batch_5.bin", 10_000),
    ],
    test: &[file("test_batch.bin", 10_000)],
    subset: SUBSET,
};

static CIFAR100: Variant = Variant {
    publication: &catalogue::CIFAR100,
    records: Records { coarse: Some(20), classes: 100, most: 50_000 },
    train: &[file("train.bin", 50_000)],
    test: &[file("test.bin", 10_000)],
    subset: SUBSET,
};

#[derive(Debug)]
struct Cifar {
    variant: &'static Variant,
    form: Form,
}

impl Cifar {
    fn files(&self, split: Split) -> &'static [RecordFile] {
        match split {
            Split::Train => self.variant.train,
            Split::Test => self.variant.test,
            Split::Subset => self.variant.subset,
        }
    }

    fn has_binary(&self, split: Split, home: &DataHome) -> bool {
        let folder = home.join(self.variant.publication.folder);
        self.form != Form::Folders && self.files(split).iter().all(|file| folder.join(file.name).is_file())
    }

    fn folders(&self, home: &DataHome) -> ClassFolders {
        ClassFolders {
            root: home.join(self.name()),
            splits: Split::ALL.map(|split| split.name().to_owned()),
            channels: 3,
            form: self.form(),
        }
    }

    fn has_folders(&self, split: Split, home: &DataHome) -> bool {
        self.form != Form::Binary && self.folders(home).folder(split).is_dir()
    }

    /// The subset where there is one, or else the split whose files are there.
    fn resolve(&self, split: Split, home: &DataHome) -> Split {
        let here = |split| self.has_binary(split, home) || self.has_folders(split, home);
        if split == Split::Subset && !here(split) { Split::Train } else { split }
    }

    fn read_binary(&self, split: Split, home: &DataHome) -> Result<(Vec<u8>, Vec<u16>), DataError> {
        let folder = home.join(self.variant.publication.folder);
        let mut content = (Vec::new(), Vec::new());
        for file in self.files(split) {
            self.variant.records.read(&folder.join(file.name), file, &self.again(), &mut content)?;
        }
        Ok(content)
    }

    fn again(&self) -> String {
        format!("delete the file and run `blindfold data fetch {}`", self.name())
    }

    fn missing(&self, split: Split, home: &DataHome) -> DataError {
        let binary = home.join(self.variant.publication.folder).join(self.files(split)[0].name);
        let path = if self.form == Form::Folders { self.folders(home).folder(split) } else { binary };
        DataError::Missing {
            what: format!("the {split} split of {}", self.name()),
            path,
            fix: self.variant.publication.how_to_get(),
        }
    }

    fn verify_file(&self, split: Split, folder: &Path, home: &DataHome) -> Result<Vec<FileReport>, DataError> {
        let mut content = (Vec::new(), Vec::new());
        let mut reports = Vec::new();
        for file in self.files(split) {
            let path = folder.join(file.name);
            let before = content.1.len();
            self.variant.records.read(&path, file, &self.again(), &mut content)?;
            let images = content.1.len() - before;
            let evidence = evidence(folder, file.name, home)?;
            let detail = format!("{images} images, {}", self.describe(evidence));
            reports.push(FileReport { path, images, evidence, detail });
        }
        let classes = self.variant.records.classes;
        let each = per_class(&content.1, classes).map_err(|found| {
            DataError::malformed(
                folder,
                format!("{found} in the {split} split"),
                "as many of every class",
                self.again(),
            )
        })?;
        for report in &mut reports {
            report.detail = format!("{}; {each} a class in the {split} split", report.detail);
        }
        Ok(reports)
    }

    fn describe(&self, evidence: Evidence) -> String {
        let archive = &self.variant.publication.downloads[0];
        match evidence {
            Evidence::Published => format!("as unpacked from the archive of MD5 {}", archive.checksum.expected()),
            Evidence::Recorded => {
                format!(
                    "as in {}, structure ok, not known to be the official file (row order may differ)",
                    recorded::SUMS
                )
            }
            _ => "structure ok, not known to be the official file (row order may differ)".to_owned(),
        }
    }
}

/// The strongest evidence for a file whose structure is right already.
fn evidence(folder: &Path, name: &str, home: &DataHome) -> Result<Evidence, DataError> {
    if recorded::check(folder, recorded::UNPACKED, name)? {
        return Ok(Evidence::Published);
    }
    let relative = folder.file_name().map(PathBuf::from).unwrap_or_default().join(name);
    let listed = recorded::check(home.path(), recorded::SUMS, &relative.to_string_lossy())?;
    Ok(if listed { Evidence::Recorded } else { Evidence::Structure })
}

impl DataSet for Cifar {
    fn name(&self) -> &'static str {
        self.variant.publication.name
    }

    fn form(&self) -> Option<([usize; 3], usize)> {
        Some(([3, 32, 32], self.variant.records.classes))
    }

    fn publication(&self) -> Option<&'static Publication> {
        Some(self.variant.publication)
    }

    fn has(&self, split: Split, home: &DataHome) -> bool {
        self.has_binary(split, home) || self.has_folders(split, home)
    }

    fn load(&self, split: Split, home: &DataHome) -> Result<RealImages, DataError> {
        let split = self.resolve(split, home);
        if self.has_binary(split, home) {
            let (pixels, labels) = self.read_binary(split, home)?;
            let classes = self.variant.records.classes;
            return Ok(RealImages { shape: [3, 32, 32], pixels, labels, classes, name: self.name().to_owned() });
        }
        if self.has_folders(split, home) {
            return self.folders(home).load(split, self.name());
        }
        Err(self.missing(split, home))
    }

    fn verify(&self, home: &DataHome) -> Result<Vec<FileReport>, DataError> {
        let mut reports = Vec::new();
        let folder = home.join(self.variant.publication.folder);
        for split in Split::ALL {
            if self.has_binary(split, home) {
                reports.extend(self.verify_file(split, &folder, home)?);
            } else if self.has_folders(split, home) {
                reports.push(self.folders(home).verify(split, self.name())?);
            }
        }
        if reports.is_empty() { Err(self.missing(Split::Test, home)) } else { Ok(reports) }
    }
}

const SOURCE: &str = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009";

/// `cifar10`.
pub(super) const CIFAR10_ENTRY: Entry<dyn DataSet> = Entry {
    name: "cifar10",
    summary: "CIFAR-10, 32x32 colour, 10 classes; binary files or class folders",
    source: SOURCE,
    defaults: defaults_of::<CifarConfig>,
    build: |table| build(&CIFAR10, table),
};

/// `cifar100`.
pub(super) const CIFAR100_ENTRY: Entry<dyn DataSet> = Entry {
    name: "cifar100",
    summary: "CIFAR-100, 32x32 colour, 100 classes (fine labels); binary files or class folders",
    source: SOURCE,
    defaults: defaults_of::<CifarConfig>,
    build: |table| build(&CIFAR100, table),
};

#[cfg(test)]
#[path = "cifar_tests.rs"]
mod tests;
