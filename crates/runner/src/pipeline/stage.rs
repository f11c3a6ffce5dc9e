//! Measuring a student, and what the epochs of a training have shown so far.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use blindfold_quant::QuantizedNetwork;
use blindfold_synth::{ImageSet, RealImages};
use blindfold_zoo::fold_batch_norms;
use serde::{Deserialize, Serialize};

use super::context::Context;
use crate::config::RunConfig;
use crate::evaluate::{Logits, Probe, logits};
use crate::record::{Best, Phase, Record};
use crate::teachers::Teacher;

/// What a student is measured on, with the teacher's answers there.
pub(crate) struct Judge<'a> {
    context: &'a Context,
    teacher: &'a Teacher,
    batch: usize,
    test: Option<(Arc<RealImages>, usize, Arc<Logits>)>,
    held_out: (&'a ImageSet, Arc<Logits>),
}

/// One measurement of a student.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Top-1 and top-5 on the test set, percent.
    pub(crate) accuracy: Option<[f64; 2]>,
    /// Agreement with the teacher on held-out synthetic images, percent.
    pub(crate) agreement: f64,
    /// Squared error of the logits there.
    pub(crate) logit_mse: f64,
    /// Divergence of the class probabilities there.
    pub(crate) kl: f64,
    /// Images through the student in a second.
    pub(crate) images_per_s: f64,
    /// Agreement on the test set, percent.
    pub(crate) test_agreement: Option<f64>,
}

/// What the epochs so far have shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Progressed {
    /// The latest measurement.
    pub(crate) latest: Option<Verdict>,
    /// Best by test accuracy.
    pub(crate) best_on_test: Option<Best>,
    /// Best by agreement on held-out synthetic images.
    pub(crate) best_by_synthetic: Option<(f64, Best)>,
}

impl Progressed {
    /// Takes a measurement into account.
    pub(crate) fn take(&mut self, epoch: u64, verdict: Verdict) {
        self.latest = Some(verdict);
        let top1 = verdict.accuracy.map(|[top1, _]| top1);
        if let Some(top1) = top1
            && self.best_on_test.as_ref().and_then(|best| best.top1).is_none_or(|best| top1 > best)
        {
            self.best_on_test = Some(Best::on_test(epoch, top1));
        }
        if self.best_by_synthetic.as_ref().is_none_or(|(agreement, _)| verdict.agreement > *agreement) {
            let best = Best::by_synthetic(epoch, top1, "agreement on held-out synthetic images");
            self.best_by_synthetic = Some((verdict.agreement, best));
        }
    }
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        context: &'a Context,
        teacher: &'a Teacher,
        config: &RunConfig,
        test: Option<Arc<RealImages>>,
        held_out: &'a ImageSet,
        held_out_key: &str,
    ) -> Result<Self> {
        let batch = config.evaluation.batch;
        let device = &context.device.device;
        let folded = fold_batch_norms(teacher.network.clone());
        let forward = |images| folded.forward(images);
        let test = test.map(|images| {
            let count = config.data.limit.map_or(images.len(), |limit| limit.min(images.len()));
            let key = format!("{} {} {:?} {count} {batch}", teacher.hash, config.data.name, config.data.table);
            let probe = Probe::Test(&images, &teacher.normalization, count);
            let answers = context.remembered(key, || logits(forward, &probe, batch, device));
            (images.clone(), count, answers)
        });
        let answers = context.remembered(format!("{} {held_out_key} {batch}", teacher.hash), || {
            logits(forward, &Probe::Synthetic(held_out), batch, device)
        });
        Ok(Self { context, teacher, batch, test, held_out: (held_out, answers) })
    }

    /// The teacher.
    pub(crate) fn teacher(&self) -> &Teacher {
        self.teacher
    }

    /// The teacher's own accuracy.
    pub(crate) fn teacher_accuracy(&self) -> Option<[f64; 2]> {
        self.test.as_ref().map(|(images, count, answers)| answers.accuracy(&images.labels[..*count]))
    }

    /// Measures a student.
    pub(crate) fn judge(&self, student: &QuantizedNetwork) -> Result<Verdict> {
        let student = student.for_evaluation()?;
        let began = Instant::now();
        let device = &self.context.device.device;
        let forward = |images| student.forward(images);
        let (held_out, answers) = &self.held_out;
        let own = logits(forward, &Probe::Synthetic(held_out), self.batch, device);
        if !own.is_finite() {
            bail!("the student's logits are not finite: its training diverged; lower distill.lr");
        }
        let (agreement, logit_mse, kl) = (own.agreement(answers), own.mse(answers), own.kl_from(answers));
        let (accuracy, test_agreement) = match &self.test {
            None => (None, None),
            Some((images, count, answers)) => {
                let probe = Probe::Test(images, &self.teacher.normalization, *count);
                let own = logits(forward, &probe, self.batch, device);
                (Some(own.accuracy(&images.labels[..*count])), Some(own.agreement(answers)))
            }
        };
        let images = held_out.len() + self.test.as_ref().map_or(0, |(_, count, _)| *count);
        let images_per_s = images as f64 / began.elapsed().as_secs_f64();
        Ok(Verdict { accuracy, agreement, logit_mse, kl, images_per_s, test_agreement })
    }
}

impl Verdict {
    /// The record of this measurement.
    pub(crate) fn record(&self, step: u64, epoch: u64, wall: f64) -> Record {
        let mut record = Record::new(Phase::Eval, step, wall)
            .at_epoch(epoch)
            .with("student/agreement", self.agreement)
            .with("student/logit_mse", self.logit_mse)
            .with("student/kl", self.kl)
            .with("perf/images_per_s", self.images_per_s);
        if let Some([top1, top5]) = self.accuracy {
            record = record.with("student/top1", top1).with("student/top5", top5);
        }
        if let Some(agreement) = self.test_agreement {
            record = record.with("student/test_agreement", agreement);
        }
        record
    }

    /// A short text for people.
    pub(crate) fn text(&self) -> String {
        let accuracy = match self.accuracy {
            Some([top1, _]) => format!("top-1 {top1:.2} %, "),
            None => String::new(),
        };
        format!("{accuracy}agreement {:.2} %, logit MSE {:.4}", self.agreement, self.logit_mse)
    }
}
