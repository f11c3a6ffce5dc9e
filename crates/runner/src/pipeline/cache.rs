//! Image sets by what they depend on, with the records of their making.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use blindfold_synth::ImageSet;
use blindfold_zoo::sha256_hex;

use crate::interrupt;
use crate::record::{Claim, Claims, Record, Taken, read_history, write_atomic};

/// How often a process that waits for another one's images looks for them.
const LOOK: Duration = Duration::from_millis(200);

/// The place of one image set in the cache, which processes and machines may share.
#[derive(Debug, Clone)]
pub(crate) struct CacheSlot {
    images: PathBuf,
    records: PathBuf,
    /// SHA-256 of the file of images.
    digest: PathBuf,
    claims: Claims,
    /// SHA-256 of the identity.
    pub(crate) key: String,
}

impl CacheSlot {
    /// The slot for what depends on exactly `identity`.
    pub(crate) fn new(folder: &Path, identity: &str) -> Self {
        let key = sha256_hex(identity.as_bytes());
        let stem = key[..32].to_owned();
        Self {
            images: folder.join(format!("{stem}.safetensors")),
            records: folder.join(format!("{stem}.jsonl")),
            digest: folder.join(format!("{stem}.sha256")),
            claims: Claims::at(folder.join(".claims")),
            key,
        }
    }

    /// Whether images are stored, without looking into them.
    pub(crate) fn is_filled(&self) -> bool {
        self.images.is_file()
    }

    /// Waits until nobody else makes these images: they are there then, or it falls to this process to make them.
    /// `waits` is told once for whom.
    pub(crate) fn claim(&self, waits: impl FnOnce(&str)) -> Result<Claimed> {
        let mut waits = Some(waits);
        loop {
            match self.claims.take(&self.key[..32]).context("cannot claim the making of images")? {
                Taken::Mine(claim) => {
                    return Ok(match self.read() {
                        Some((images, records)) => {
                            claim.finish();
                            Claimed::Made(images, records)
                        }
                        None => Claimed::Mine(claim),
                    });
                }
                Taken::Theirs(holder) => {
                    if let Some(waits) = waits.take() {
                        waits(&holder);
                    }
                }
            }
            if interrupt::asked() {
                return Ok(Claimed::Stopped);
            }
            sleep(LOOK);
        }
    }

    /// What was stored; a damaged file counts as none, and is made again.
    pub(crate) fn read(&self) -> Option<(ImageSet, Vec<Record>)> {
        let bytes = std::fs::read(&self.images).ok()?;
        let records = read_history(&self.records).ok()?;
        // Sets of earlier versions have no digest.
        if let Ok(expected) = std::fs::read_to_string(&self.digest)
            && expected.trim() != sha256_hex(&bytes)
        {
            tracing::warn!("{}: not the bytes that were stored: the images are made again", self.images.display());
            return None;
        }
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
        let bytes = images.to_bytes()?;
        let digest = sha256_hex(&bytes) + "\n";
        write_atomic(&self.digest, digest.as_bytes()).context("cannot store the digest of an image set")?;
        write_atomic(&self.images, &bytes).context("cannot store an image set")?;
        Ok(())
    }
}

/// What [`CacheSlot::claim`] came to.
pub(crate) enum Claimed {
    /// This process is to make the images, and [finishes](Claim::finish) the claim when they are stored.
    Mine(Claim),
    /// Somebody has made them.
    Made(ImageSet, Vec<Record>),
    /// The user stopped the wait.
    Stopped,
}

#[cfg(test)]
mod tests {
    use std::thread;

    use blindfold_synth::Origin;

    use super::*;

    #[test]
    fn bytes_that_changed_are_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let slot = CacheSlot::new(root.path(), "teacher a");
        let images = ImageSet::new([1, 1, 2], vec![0.5, -0.5], None, Origin::Synthetic).unwrap();
        slot.write(&images, &[]).unwrap();
        assert_eq!(slot.read().unwrap().0, images);
        let mut bytes = std::fs::read(&slot.images).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&slot.images, &bytes).unwrap();
        assert!(slot.read().is_none());
        std::fs::remove_file(&slot.digest).unwrap();
        assert!(slot.read().is_some(), "a set of an earlier version");
    }

    #[test]
    fn who_waits_for_images_gets_those_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let slot = CacheSlot::new(root.path(), "teacher a");
        let images = ImageSet::new([1, 1, 2], vec![0.5, -0.5], None, Origin::Synthetic).unwrap();
        let Claimed::Mine(claim) = slot.claim(|holder| panic!("{holder}")).unwrap() else { panic!() };
        assert!(!slot.is_filled());
        thread::scope(|scope| {
            let second = scope.spawn(|| slot.claim(|holder| assert!(holder.starts_with("process "), "{holder}")));
            thread::sleep(LOOK);
            slot.write(&images, &[]).unwrap();
            claim.finish();
            let Claimed::Made(made, _) = second.join().unwrap().unwrap() else { panic!() };
            assert_eq!(made, images);
        });
        assert!(slot.is_filled());
        let Claimed::Mine(claim) = CacheSlot::new(root.path(), "teacher b").claim(|_| ()).unwrap() else { panic!() };
        drop(claim);
    }
}
