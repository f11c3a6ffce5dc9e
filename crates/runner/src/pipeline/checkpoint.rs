//! What a run needs to go on from where it stopped.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::quantize::Place;
use super::stage::Progressed;
use crate::record::RunFolder;

/// The checkpoint within a run folder.
pub(super) const CHECKPOINT: &str = "checkpoints/last.bin";
/// The checkpoint of fitting steps.
pub(super) const FIT_CHECKPOINT: &str = "checkpoints/fit.bin";

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

/// A run's own state beside that of its half-fitted student.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct FitCheckpoint {
    /// Records written so far.
    pub(super) position: u64,
    /// How far the fitting steps are.
    pub(super) place: Place,
    /// Seconds of fitting so far.
    pub(super) wall: f64,
}

/// A head as JSON, followed by a body.
pub(super) fn pack(head: &impl Serialize, body: &[u8]) -> Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((head.len() as u64).to_le_bytes());
    bytes.extend(head);
    bytes.extend(body);
    Ok(bytes)
}

/// The head and the body.
pub(super) fn unpack<H: DeserializeOwned>(bytes: &[u8]) -> Result<(H, &[u8])> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { bail!("it is not a checkpoint of a run") };
    let (length, rest) = rest.split_first_chunk::<8>().context("it ends too early")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let head = rest.get(..length).context("it ends too early")?;
    Ok((serde_json::from_slice(head)?, &rest[length..]))
}

/// A checkpoint of a run, if it has that one.
pub(super) fn read_checkpoint<H: DeserializeOwned>(folder: &RunFolder, name: &str) -> Result<Option<(H, Vec<u8>)>> {
    let path = folder.path().join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (head, body) =
        unpack(&bytes).with_context(|| format!("{}: delete it, and the run starts over", path.display()))?;
    Ok(Some((head, body.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_damage_is_noticed() {
        let checkpoint = Checkpoint { position: 7, progressed: Progressed::default(), wall: 0.1 };
        let bytes = pack(&checkpoint, b"trainer").unwrap();
        let (back, trainer) = unpack::<Checkpoint>(&bytes).unwrap();
        assert_eq!((back.position, back.wall, trainer), (7, 0.1, b"trainer".as_slice()));
        assert!(unpack::<Checkpoint>(&bytes[..20]).is_err());
        assert!(unpack::<Checkpoint>(b"something else").is_err());
    }
}
