//! The trained student of a finished run, from its folder.

use std::path::Path;

use anyhow::{Context as _, Result};
use blindfold_distill::StudentTrainer;
use blindfold_quant::QuantizedNetwork;

use super::checkpoint::{CHECKPOINT, Checkpoint, unpack};
use super::context::Context;
use super::quantize::Prepared;
use crate::config::RunConfig;

/// The student at the end of the training of the run in that folder; `None` where there is no checkpoint of the last
/// step.
///
/// # Errors
/// A damaged checkpoint, and one of another training.
pub(crate) fn trained(
    context: &Context,
    config: &RunConfig,
    prepared: &Prepared,
    run: &Path,
) -> Result<Option<QuantizedNetwork>> {
    let path = run.join(CHECKPOINT);
    let (Some(distill), true) = (&config.distill, path.is_file()) else { return Ok(None) };
    let mut trainer = StudentTrainer::new(
        prepared.teacher.network.clone(),
        prepared.student.clone(),
        prepared.images.images.clone(),
        distill.clone(),
        &context.registry.plugins(),
        config.seed,
    )?;
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (_, state) = unpack::<Checkpoint>(&bytes).with_context(|| path.display().to_string())?;
    trainer.restore(state).with_context(|| path.display().to_string())?;
    Ok(if trainer.is_done() { Some(trainer.student()?) } else { None })
}
