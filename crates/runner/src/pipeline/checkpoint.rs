//! What a run needs to go on from where it stopped.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::stage::Progressed;
use crate::record::RunFolder;

/// The checkpoint within a run folder.
pub(super) const CHECKPOINT: &str = "checkpoints/last.bin";

const MAGIC: &[u8; 8] = b"blindchk";

/// A run's own state beside its trainer's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Records written so far.
    pub(crate) position: u64,
    /// What the epochs so far have shown.
    pub(crate) progressed: Progressed,
    /// Seconds of training so far.
    pub(crate) wall: f64,
}

impl Checkpoint {
    /// The checkpoint's bytes, followed by the trainer's.
    pub(crate) fn to_bytes(&self, trainer: &[u8]) -> Result<Vec<u8>> {
        let head = serde_json::to_vec(self)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((head.len() as u64).to_le_bytes());
        bytes.extend(head);
        bytes.extend(trainer);
        Ok(bytes)
    }

    /// The checkpoint and the trainer's bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else { bail!("it is not a checkpoint of a run") };
        let (length, rest) = rest.split_first_chunk::<8>().context("it ends too early")?;
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        let head = rest.get(..length).context("it ends too early")?;
        Ok((serde_json::from_slice(head)?, &rest[length..]))
    }
}

/// The checkpoint of a run, with its trainer's bytes.
pub(super) fn read_checkpoint(folder: &RunFolder) -> Result<Option<(Checkpoint, Vec<u8>)>> {
    let path = folder.path().join(CHECKPOINT);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (checkpoint, trainer) = Checkpoint::from_bytes(&bytes)
        .with_context(|| format!("{}: delete it, and the run starts over", path.display()))?;
    Ok(Some((checkpoint, trainer.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_damage_is_noticed() {
        let checkpoint = Checkpoint { position: 7, progressed: Progressed::default(), wall: 0.1 };
        let bytes = checkpoint.to_bytes(b"trainer").unwrap();
        let (back, trainer) = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!((back.position, back.wall, trainer), (7, 0.1, b"trainer".as_slice()));
        assert!(Checkpoint::from_bytes(&bytes[..20]).is_err());
        assert!(Checkpoint::from_bytes(b"something else").is_err());
    }
}
