//! The range warm-up: steps in which the ranges of activations are collected.

use blindfold_quant::Calibrator;

use super::record::{Phase, StepRecord};
use super::trainer::StudentTrainer;
use crate::error::DistillError;
use crate::feed::Served;

impl StudentTrainer {
    pub(super) fn warmup_step(&mut self) -> Result<StepRecord, DistillError> {
        let step = self.step;
        let served = self.observe(step)?;
        let observed = if self.config.range_warmup.observes(step) { served.shown.images.dims()[0] as u64 } else { 0 };
        self.passes += served.passes + observed;
        self.step += 1;
        self.freeze_ranges()?;
        Ok(StepRecord {
            step,
            epoch: 0,
            phase: Phase::RangeWarmup,
            losses: Vec::new(),
            total: 0.0,
            lr: 0.0,
            agreement: None,
            changed_weights: None,
            inundation: None,
            generator: served.losses,
        })
    }

    /// Brings the range warm-up to where the position says, from its beginning; nothing after its last step.
    pub(super) fn replay_warmup(&mut self) -> Result<(), DistillError> {
        self.warmup = None;
        if self.step >= self.warmup_steps() {
            return Ok(());
        }
        let network = self.student.network.clone().frozen();
        self.warmup = Some(Calibrator::new(network, self.student.plan.clone())?);
        self.feed.rewind()?;
        if let Some(feed) = &mut self.warmup_feed {
            feed.rewind()?;
        }
        (0..self.step).try_for_each(|step| self.observe(step).map(drop))
    }

    fn observe(&mut self, step: usize) -> Result<Served, DistillError> {
        let mut served = self.serve(step)?;
        if self.warmup_feed.is_none() {
            served.shown = self.augmentations.apply(served.shown, step);
        }
        if let Some(calibrator) = self.warmup.as_mut().filter(|_| self.config.range_warmup.observes(step)) {
            calibrator.observe(served.shown.images.clone())?;
        }
        Ok(served)
    }

    fn freeze_ranges(&mut self) -> Result<(), DistillError> {
        if self.step >= self.warmup_steps()
            && let Some(calibrator) = self.warmup.take()
        {
            let done = calibrator.finish()?;
            let mut student = self.student.clone().frozen();
            (student.activations, student.statistics) = (done.activations, done.statistics);
            self.student = student.with_learned()?.trainable();
        }
        Ok(())
    }
}
