//! Image sets by what they depend on, with the records of their making.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use blindfold_synth::ImageSet;
use blindfold_zoo::sha256_hex;

use crate::record::{Record, read_history, write_atomic};

/// The place of one image set in the cache.
pub(crate) struct CacheSlot {
    images: PathBuf,
    records: PathBuf,
    /// SHA-256 of the identity.
    pub(crate) key: String,
}

impl CacheSlot {
    /// The slot for what depends on exactly `identity`.
    pub(crate) fn new(folder: &Path, identity: &str) -> Self {
        let key = sha256_hex(identity.as_bytes());
        let stem = &key[..32];
        Self {
            images: folder.join(format!("{stem}.safetensors")),
            records: folder.join(format!("{stem}.jsonl")),
            key: key.clone(),
        }
    }

    /// What was stored; a damaged file counts as none, and is made again.
    pub(crate) fn read(&self) -> Option<(ImageSet, Vec<Record>)> {
        let bytes = std::fs::read(&self.images).ok()?;
        let records = read_history(&self.records).ok()?;
        match ImageSet::from_bytes(&bytes) {
            Ok(images) => Some((images, records)),
            Err(error) => {
                tracing::warn!("{}: {error}: the images are made again", self.images.display());
                None
            }
        }
    }

    /// Stores a set and its records; the images appear last and at once, so half a set is never read.
    pub(crate) fn write(&self, images: &ImageSet, records: &[Record]) -> Result<()> {
        let lines: Vec<String> = records.iter().map(Record::to_line).collect::<Result<_, _>>()?;
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        write_atomic(&self.records, text.as_bytes()).context("cannot store the records of an image set")?;
        write_atomic(&self.images, &images.to_bytes()?).context("cannot store an image set")?;
        Ok(())
    }
}
