//! Checkpoints of a student's training.

use std::collections::BTreeMap;

use blindfold_quant::{Codec, GroupStatistics, LearnedState, QuantizedState};
use serde::{Deserialize, Serialize};

use super::trainer::StudentTrainer;
use crate::archive::{Archive, Header, optimizer_bytes, optimizer_from};
use crate::error::DistillError;
use crate::feed::Feed;

const FORMAT: &str = "student-2";
const GENERATOR: &str = "generator";
const QUANTIZERS: &str = "quantizers";

/// What the header keeps beside the position.
#[derive(Serialize, Deserialize)]
struct Kept {
    passes: u64,
    weights: BTreeMap<String, Codec>,
    activations: BTreeMap<String, Codec>,
    statistics: BTreeMap<String, Vec<GroupStatistics>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learned: Option<LearnedState>,
}

impl StudentTrainer {
    /// A checkpoint from which [`Self::restore`] goes on to the same bits.
    ///
    /// It holds the student's parameters and grids (learned ones with their parameters), the optimizers' states, the
    /// generator's state and the position; the order of stored images, their augmentation and everything random follow from
    /// position and seed. Of a range warm-up under way it holds the position alone: its batches are shown again, and where a
    /// generator makes them it makes its steps again.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] when the state cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DistillError> {
        let QuantizedState { parameters, weights, activations, statistics, learned, .. } = self.student.state();
        let mut parts = BTreeMap::new();
        if let Feed::Generated(generator) = &self.feed
            && self.step >= self.warmup_steps()
        {
            parts.insert(GENERATOR.to_owned(), generator.to_bytes()?);
        }
        if learned.is_some() {
            parts.insert(QUANTIZERS.to_owned(), optimizer_bytes(&self.quantizers)?);
        }
        let kept = Kept { passes: self.passes, weights, activations, statistics, learned };
        let extra = toml::Table::try_from(&kept)
            .map_err(|error| DistillError::checkpoint(format!("cannot hold the grids: {error}")))?;
        let header = Header { format: FORMAT.to_owned(), step: self.step, training: self.identity()?, extra };
        Archive { header, tensors: parameters, optimizer: optimizer_bytes(&self.optimizer)?, parts }.into_bytes()
    }

    /// Goes to the place where [`Self::to_bytes`] was called, in a trainer of the same configuration, images, networks and seed.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] for damaged bytes and for those of another training; the trainer is then as before.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), DistillError> {
        let archive = Archive::from_bytes(bytes)?;
        archive.expect(FORMAT, &self.identity()?)?;
        let Archive { header, tensors, optimizer, mut parts } = archive;
        let kept: Kept =
            header.extra.try_into().map_err(|error| DistillError::checkpoint(format!("has broken grids: {error}")))?;
        let Kept { passes, weights, activations, statistics, learned } = kept;
        let part = |parts: &mut BTreeMap<String, Vec<u8>>, name: &str| {
            parts.remove(name).ok_or_else(|| DistillError::checkpoint(format!("has no state of the {name}")))
        };
        let settings = self.config.quantizer_optimizer.as_ref().unwrap_or(&self.config.optimizer);
        let mut quantizers = settings.build_for(Vec::new());
        if learned.is_some() {
            quantizers = optimizer_from(quantizers, part(&mut parts, QUANTIZERS)?)?;
        }
        let state = QuantizedState { parameters: tensors, weights, activations, calibrated: true, statistics, learned };
        let student = self.resting().with_state(state)?.trainable();
        let optimizer = optimizer_from(self.config.optimizer.build(&student.network), optimizer)?;
        if let Feed::Generated(generator) = &mut self.feed
            && header.step >= self.config.range_warmup.iterations
        {
            generator.restore(&part(&mut parts, GENERATOR)?)?;
        }
        (self.student, self.optimizer, self.quantizers) = (student, optimizer, quantizers);
        (self.step, self.passes, self.codes) = (header.step, passes, None);
        self.replay_warmup()
    }

    /// What fixes this training.
    fn identity(&self) -> Result<toml::Table, DistillError> {
        let mut table = toml::Table::try_from(&self.config)
            .map_err(|error| DistillError::checkpoint(format!("cannot be written: {error}")))?;
        table.insert("network".into(), self.student.network.name().into());
        table.insert("protocol".into(), self.student.plan.protocol().to_string().into());
        table.insert("seed".into(), self.seed.to_string().into());
        table.insert("images".into(), self.images.clone().into());
        Ok(table)
    }
}
