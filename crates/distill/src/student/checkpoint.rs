//! Checkpoints of a student's training.

use std::collections::BTreeMap;

use blindfold_quant::{Codec, QuantizedState};
use serde::{Deserialize, Serialize};

use super::trainer::StudentTrainer;
use crate::archive::{Archive, Header, optimizer_bytes, optimizer_from};
use crate::error::DistillError;

const FORMAT: &str = "student-1";

#[derive(Serialize, Deserialize)]
struct Grids {
    weights: BTreeMap<String, Codec>,
    activations: BTreeMap<String, Codec>,
}

impl StudentTrainer {
    /// A checkpoint from which [`Self::restore`] goes on to the same bits.
    ///
    /// It holds the student's parameters and grids, the optimizer's state and the position; the order of the images and their
    /// augmentation follow from position and seed. Of a range warm-up under way it holds the position alone: its batches are
    /// shown again.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] when the state cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DistillError> {
        let state = self.student.state();
        let grids = Grids { weights: state.weights, activations: state.activations };
        let extra = toml::Table::try_from(&grids)
            .map_err(|error| DistillError::checkpoint(format!("cannot hold the grids: {error}")))?;
        let header = Header { format: FORMAT.to_owned(), step: self.step, training: self.identity()?, extra };
        Archive { header, tensors: state.parameters, optimizer: optimizer_bytes(&self.optimizer)? }.into_bytes()
    }

    /// Goes to the place where [`Self::to_bytes`] was called, in a trainer of the same configuration, images, networks and seed.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] for damaged bytes and for those of another training; the trainer is then as before.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), DistillError> {
        let Archive { header, tensors, optimizer } = {
            let archive = Archive::from_bytes(bytes)?;
            archive.expect(FORMAT, &self.identity()?)?;
            archive
        };
        let grids: Grids =
            header.extra.try_into().map_err(|error| DistillError::checkpoint(format!("has broken grids: {error}")))?;
        let Grids { weights, activations } = grids;
        let state = QuantizedState { parameters: tensors, weights, activations, calibrated: true };
        let mut student = self.student().with_state(state)?;
        student.network = student.network.trainable();
        self.optimizer = optimizer_from(self.config.optimizer.build(&student.network), optimizer)?;
        self.student = student;
        self.codes = None;
        self.step = header.step;
        self.replay_warmup()
    }

    /// What fixes this training.
    fn identity(&self) -> Result<toml::Table, DistillError> {
        let mut table = toml::Table::try_from(&self.config)
            .map_err(|error| DistillError::checkpoint(format!("cannot be written: {error}")))?;
        table.insert("network".into(), self.student.network.name().into());
        table.insert("protocol".into(), self.student.plan.protocol().to_string().into());
        table.insert("seed".into(), self.seed.to_string().into());
        table.insert("images".into(), format!("{} {}", self.images.len(), self.images.origin.name()).into());
        Ok(table)
    }
}
