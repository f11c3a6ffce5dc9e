//! What a check of data files found.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Why a file is believed to be the right one, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Computed here from a seed.
    Computed,
    /// The publisher's checksum holds for it, or for the archive from which it was unpacked.
    Published,
    /// A `SHA256SUMS` in the data folder holds for it; the publisher gives no checksum for this file.
    Recorded,
    /// It has the right size, labels and numbers of images a class, and that is all that is known.
    Structure,
}

/// One file, or one folder of images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// Where it lies, or the name of a computed split.
    pub path: PathBuf,
    /// Number of images or labels.
    pub images: usize,
    /// Why it is believed.
    pub evidence: Evidence,
    /// The finding in words.
    pub detail: String,
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// The data set.
    pub name: String,
    /// All files that are at hand.
    pub files: Vec<FileReport>,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for file in &self.files {
            writeln!(f, "  ok  {}  {}", file.path.display(), file.detail)?;
        }
        Ok(())
    }
}

/// The number of images that every class has, if all have the same.
pub(super) fn per_class(labels: &[u16], classes: usize) -> Result<usize, String> {
    let mut counts = vec![0usize; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(usize::from(*label)) {
            *count += 1;
        }
    }
    let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    if least == most {
        return Ok(least);
    }
    let class = |count| counts.iter().position(|other| *other == count).unwrap_or(0);
    Err(format!("{least} images of class {} and {most} of class {}", class(least), class(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unequal_classes_are_named() {
        assert_eq!(per_class(&[0, 1, 2, 2, 1, 0], 3), Ok(2));
        assert_eq!(per_class(&[0, 1, 1], 3), Err("0 images of class 2 and 2 of class 1".to_owned()));
    }
}
