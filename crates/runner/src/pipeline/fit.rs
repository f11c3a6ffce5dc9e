//! The training of a run's student: steps, measurements, checkpoints.

use std::time::Instant;

use anyhow::Result;
use blindfold_distill::{Phase as StudentPhase, StudentTrainer};
use blindfold_quant::QuantizedNetwork;

use super::checkpoint::{CHECKPOINT, Checkpoint, pack};
use super::context::Context;
use super::samples::{GRID, show};
use super::stage::{Judge, Progressed};
use crate::config::RunConfig;
use crate::evaluate::label_accuracy;
use crate::interrupt;
use crate::record::{Phase, Record, Recorder, RunFolder};

/// The training of a run's student.
pub(super) struct Fit<'a> {
    pub(super) context: &'a Context,
    pub(super) config: &'a RunConfig,
    pub(super) label: &'a str,
    pub(super) judge: &'a Judge<'a>,
}

impl Fit<'_> {
    /// What the epochs have shown and the images that were trained on; `None` when the user stopped it.
    pub(super) fn run(
        &self,
        folder: &mut RunFolder,
        recorder: &mut Recorder,
        mut trainer: StudentTrainer,
        calibrated: &QuantizedNetwork,
        checkpoint: Option<(Checkpoint, Vec<u8>)>,
    ) -> Result<Option<(Progressed, u64)>> {
        let mut progressed = Progressed::default();
        let mut earlier = 0.0;
        let began = Instant::now();
        match checkpoint {
            Some((checkpoint, bytes)) => {
                trainer.restore(&bytes)?;
                progressed = checkpoint.progressed;
                earlier = checkpoint.wall;
                self.context.console.line(&format!("{} goes on at step {}", self.label, trainer.position()));
            }
            None => {
                let verdict = self.judge.judge(calibrated)?;
                self.context.console.line(&format!("{} calibrated: {}", self.label, verdict.text()));
                recorder.record(&verdict.record(0, 0, 0.0))?;
                progressed.latest = Some(verdict);
            }
        }
        let total = trainer.total_steps() as u64;
        let mut task = self.context.console.task(self.label, total, trainer.position() as u64);
        let mut saved = trainer.position();
        while !trainer.is_done() {
            let step = trainer.step()?;
            let wall = earlier + began.elapsed().as_secs_f64();
            recorder.record(&record(&step, wall))?;
            let note = format!("loss {:.4}", step.total);
            task.set(trainer.position() as u64, &note);
            if let Some(epoch) = finished_epoch(&trainer) {
                if !epoch.is_multiple_of(self.config.evaluation.every) && !trainer.is_done() {
                    task.epoch(&format!("epoch {epoch}: {note}"));
                } else {
                    let verdict = self.judge.judge(&trainer.student()?)?;
                    progressed.take(epoch as u64, verdict);
                    recorder.record(&verdict.record(trainer.position() as u64, epoch as u64, wall))?;
                    task.epoch(&format!("epoch {epoch}: {}", verdict.text()));
                }
                self.save(folder, recorder, &trainer, &progressed, earlier + began.elapsed().as_secs_f64())?;
                saved = trainer.position();
            }
            if interrupt::asked() {
                if saved != trainer.position() {
                    self.save(folder, recorder, &trainer, &progressed, earlier + began.elapsed().as_secs_f64())?;
                }
                folder.update(|info| info.add_wall("distill", began.elapsed().as_secs_f64()))?;
                task.end("stopped");
                return Ok(None);
            }
        }
        task.end("trained");
        folder.update(|info| info.add_wall("distill", began.elapsed().as_secs_f64()))?;
        if let Some(images) = trainer.generated(GRID.0)? {
            let (teacher, step) = (self.judge.teacher(), trainer.position() as u64);
            show(recorder, "generated", step, &images, &teacher.normalization)?;
            let device = &self.context.device.device;
            if let Some(share) = label_accuracy(&teacher.network, &images, self.config.evaluation.batch, device) {
                let wall = earlier + began.elapsed().as_secs_f64();
                recorder.record(&Record::new(Phase::Synth, step, wall).with("synth/label_accuracy", share))?;
            }
        }
        Ok(Some((progressed, trainer.passes())))
    }

    fn save(
        &self,
        folder: &RunFolder,
        recorder: &mut Recorder,
        trainer: &StudentTrainer,
        progressed: &Progressed,
        wall: f64,
    ) -> Result<()> {
        recorder.sync()?;
        let checkpoint = Checkpoint { position: recorder.position(), progressed: progressed.clone(), wall };
        folder.write(CHECKPOINT, &pack(&checkpoint, &trainer.to_bytes()?)?)?;
        Ok(())
    }
}

/// The epoch of training that the latest step ended, counted from 1.
fn finished_epoch(trainer: &StudentTrainer) -> Option<usize> {
    let trained = trainer.position().checked_sub(trainer.warmup_steps()).filter(|steps| *steps > 0)?;
    let each = trainer.steps_per_epoch();
    (trained % each == 0).then_some(trained / each)
}

/// A training step as the glossary names its values.
fn record(step: &blindfold_distill::StepRecord, wall: f64) -> Record {
    let mut record = Record::new(Phase::Distill, step.step as u64, wall).at_epoch(step.epoch as u64);
    if let Some(agreement) = step.agreement {
        record = record.with("train/agreement", 100.0 * agreement);
    }
    if step.phase == StudentPhase::Training {
        record = record.with("loss/total", step.total).with("lr", step.lr);
    }
    for loss in &step.losses {
        record = record
            .with(format!("loss/{}", loss.name), loss.raw)
            .with(format!("loss/{}/weighted", loss.name), loss.weighted);
        if let Some(norm) = loss.gradient_norm {
            record = record.with(format!("loss/{}/gradient_norm", loss.name), norm);
        }
    }
    for (name, value) in &step.generator {
        record = record.with(format!("generator/{name}"), *value);
    }
    if let Some(factor) = step.inundation {
        record = record.with("train/inundation", factor);
    }
    if let Some(changed) = step.changed_weights {
        record = record.with("quant/codes_changed", 100.0 * changed);
    }
    record
}
