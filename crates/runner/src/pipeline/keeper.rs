//! The fitting steps of a run, kept in its folder.

use std::time::Instant;

use anyhow::Result;
use blindfold_quant::QuantizedState;

use super::checkpoint::{FIT_CHECKPOINT, FitCheckpoint, pack};
use super::quantize::{Keeper, Place};
use crate::record::{Phase, Record, Recorder, RunFolder};

/// Logs what fitting steps report, and keeps a checkpoint after each unit that asks for one.
pub(super) struct FolderKeeper<'a> {
    folder: &'a RunFolder,
    recorder: &'a mut Recorder,
    kept: Option<(FitCheckpoint, Vec<u8>)>,
    began: Instant,
    earlier: f64,
    logs: bool,
}

impl<'a> FolderKeeper<'a> {
    /// A keeper that goes on from a checkpoint; it logs nothing where the records are there already.
    pub(super) fn new(
        folder: &'a RunFolder,
        recorder: &'a mut Recorder,
        kept: Option<(FitCheckpoint, Vec<u8>)>,
        logs: bool,
    ) -> Self {
        let earlier = kept.as_ref().map_or(0.0, |(checkpoint, _)| checkpoint.wall);
        Self { folder, recorder, kept, began: Instant::now(), earlier, logs }
    }

    fn wall(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }
}

impl Keeper for FolderKeeper<'_> {
    fn values(&mut self, unit: u64, values: &[(String, f64)]) -> Result<()> {
        if self.logs {
            let record = Record::new(Phase::Fit, unit, self.wall()).with_all(values.iter().cloned());
            self.recorder.record(&record)?;
        }
        Ok(())
    }

    fn keep(&mut self, place: Place, state: &QuantizedState) -> Result<()> {
        if self.logs {
            self.recorder.sync()?;
            let checkpoint = FitCheckpoint { position: self.recorder.position(), place, wall: self.wall() };
            self.folder.write(FIT_CHECKPOINT, &pack(&checkpoint, &state.to_bytes()?)?)?;
        }
        Ok(())
    }

    fn kept(&mut self) -> Result<Option<(Place, QuantizedState)>> {
        let Some((checkpoint, bytes)) = self.kept.take() else { return Ok(None) };
        Ok(Some((checkpoint.place, QuantizedState::from_bytes(&bytes)?)))
    }
}
