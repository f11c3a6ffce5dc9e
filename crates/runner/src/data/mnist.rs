//! MNIST and Fashion-MNIST.

use std::path::PathBuf;

use blindfold_synth::RealImages;
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::catalogue::{self, Publication};
use super::checksum::Checksum;
use super::dataset::{DataSet, Split};
use super::error::DataError;
use super::home::DataHome;
use super::idx;
use super::verify::{Evidence, FileReport, per_class};

/// The table of `mnist` and `fashion-mnist`: there is nothing to choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MnistConfig {}

fn build(set: &'static Mnist, table: toml::Table) -> Result<Box<dyn DataSet>, ConfigError> {
    let MnistConfig {} = parse(table)?;
    Ok(Box::new(set))
}

const SIDE: usize = 28;
const CLASSES: usize = 10;

/// One of the two sets. The published checksums are of the gzipped files; those here are of the files within, so that
/// files that were packed anew are recognized too.
#[derive(Debug)]
struct Mnist {
    publication: &'static Publication,
    train: [Part; 2],
    test: [Part; 2],
}

/// Images or labels of a split.
#[derive(Debug)]
struct Part {
    name: &'static str,
    md5: Checksum,
}

const fn part(name: &'static str, md5: &'static str) -> Part {
    Part { name, md5: Checksum::md5(md5) }
}

static MNIST: Mnist = Mnist {
    publication: &catalogue::MNIST,
    train: [
        part("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        part("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
    ],
    test: [
        part("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        part("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ],
};

static FASHION_MNIST: Mnist = Mnist {
    publication: &catalogue::FASHION_MNIST,
    train: [
        part("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        part("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9"),
    ],
    test: [
        part("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a"),
        part("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965"),
    ],
};

impl Mnist {
    /// There is no separate subset: it is the training set.
    fn parts(&self, split: Split) -> (&[Part; 2], usize) {
        match split {
            Split::Test => (&self.test, 10_000),
            Split::Train | Split::Subset => (&self.train, 60_000),
        }
    }

    /// The plain file if it is there, or else the gzipped one.
    fn path(&self, part: &Part, home: &DataHome) -> Option<PathBuf> {
        let folder = home.join(self.publication.folder);
        let candidates = [folder.join(part.name), folder.join(format!("{}.gz", part.name))];
        candidates.into_iter().find(|path| path.is_file())
    }

    fn paths(&self, split: Split, home: &DataHome) -> Result<[PathBuf; 2], DataError> {
        let ([images, labels], _) = self.parts(split);
        let find = |part: &Part| {
            self.path(part, home).ok_or_else(|| DataError::Missing {
                what: format!("the {split} split of {}", self.publication.name),
                path: home.join(self.publication.folder).join(format!("{}.gz", part.name)),
                fix: self.publication.how_to_get(),
            })
        };
        Ok([find(images)?, find(labels)?])
    }

    fn again(&self) -> String {
        format!("delete the file and run `blindfold data fetch {}`", self.publication.name)
    }
}

impl DataSet for &'static Mnist {
    fn name(&self) -> &'static str {
        self.publication.name
    }

    fn form(&self) -> Option<([usize; 3], usize)> {
        Some(([1, SIDE, SIDE], CLASSES))
    }

    fn publication(&self) -> Option<&'static Publication> {
        Some(self.publication)
    }

    fn has(&self, split: Split, home: &DataHome) -> bool {
        self.paths(split, home).is_ok()
    }

    fn load(&self, split: Split, home: &DataHome) -> Result<RealImages, DataError> {
        let [images, labels] = self.paths(split, home)?;
        let (_, count) = self.parts(split);
        let pixels = idx::read(&images, [count, SIDE, SIDE], &self.again())?;
        let classes = idx::read(&labels, [count], &self.again())?;
        if let Some(index) = classes.iter().position(|label| usize::from(*label) >= CLASSES) {
            let found = format!("label {} at index {index}", classes[index]);
            return Err(DataError::malformed(&labels, found, format!("labels below {CLASSES}"), self.again()));
        }
        let labels = classes.into_iter().map(u16::from).collect();
        Ok(RealImages { shape: [1, SIDE, SIDE], pixels, labels, classes: CLASSES, name: self.name().to_owned() })
    }

    fn verify(&self, home: &DataHome) -> Result<Vec<FileReport>, DataError> {
        let mut reports = Vec::new();
        for split in [Split::Train, Split::Test] {
            if !self.has(split, home) {
                continue;
            }
            let images = self.load(split, home)?;
            let classes = (0..CLASSES).filter(|class| images.labels.contains(&(*class as u16))).count();
            let paths = self.paths(split, home)?;
            for (path, part) in paths.into_iter().zip(self.parts(split).0) {
                let digest = part.md5.digest(idx::open(&path)?).map_err(DataError::io("read", &path))?;
                part.md5.compare(&path, digest, self.again())?;
                let counts = match per_class(&images.labels, CLASSES) {
                    Ok(each) => format!("{each} a class"),
                    Err(_) => format!("{classes} classes"),
                };
                let detail =
                    format!("{} entries, {counts}, MD5 of the unzipped file as published", images.labels.len());
                reports.push(FileReport { path, images: images.labels.len(), evidence: Evidence::Published, detail });
            }
        }
        if reports.is_empty() {
            self.paths(Split::Test, home)?;
        }
        Ok(reports)
    }
}

/// `mnist`.
pub(super) const MNIST_ENTRY: Entry<dyn DataSet> = Entry {
    name: "mnist",
    summary: "handwritten digits, 28x28 grey, 10 classes; idx files",
    source: "LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998",
    defaults: defaults_of::<MnistConfig>,
    build: |table| build(&MNIST, table),
};

/// `fashion-mnist`.
pub(super) const FASHION_MNIST_ENTRY: Entry<dyn DataSet> = Entry {
    name: "fashion-mnist",
    summary: "articles of clothing, 28x28 grey, 10 classes; idx files",
    source: "Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
    defaults: defaults_of::<MnistConfig>,
    build: |table| build(&FASHION_MNIST, table),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_file_of_the_wrong_content_fails_its_checksum_and_a_wrong_label_its_range() {
        let folder = tempfile::tempdir().unwrap();
        let home = DataHome::new(folder.path());
        let set = &MNIST;
        assert!(set.load(Split::Test, &home).unwrap_err().is_missing());
        std::fs::create_dir(home.join("mnist")).unwrap();
        let images = [&[0, 0, 8, 3, 0, 0, 0x27, 0x10, 0, 0, 0, 28, 0, 0, 0, 28][..], &vec![0; 7_840_000]].concat();
        let mut labels = [&[0, 0, 8, 1, 0, 0, 0x27, 0x10][..], &vec![3; 10_000]].concat();
        std::fs::write(home.join("mnist/t10k-images-idx3-ubyte"), images).unwrap();
        std::fs::write(home.join("mnist/t10k-labels-idx1-ubyte"), &labels).unwrap();
        assert_eq!(set.load(Split::Test, &home).unwrap().labels, vec![3; 10_000]);
        assert!(matches!(set.verify(&home), Err(DataError::Checksum { .. })));
        labels[8 + 77] = 10;
        std::fs::write(home.join("mnist/t10k-labels-idx1-ubyte"), &labels).unwrap();
        let text = set.load(Split::Test, &home).unwrap_err().to_string();
        assert!(text.contains("found label 10 at index 77, expected labels below 10"), "{text}");
    }
}
