//! One run: one method, one seed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use blindfold_distill::StudentTrainer;
use blindfold_quant::{AllocationBudget, Audit, LayerError, Role, layer_errors, weight_mse};
use blindfold_zoo::sha256_hex;
use toml::{Table, Value};

use super::cache::CacheSlot;
use super::check::{check_fit, check_images, check_plugins, check_quantization, pinned};
use super::checkpoint::{CHECKPOINT, Checkpoint, FIT_CHECKPOINT, FitCheckpoint, read_checkpoint};
use super::context::Context;
use super::fit::Fit;
use super::images::{MadeImages, make, slot};
use super::keeper::FolderKeeper;
use super::quantize::{Done, Quantize};
use super::samples::show;
use super::stage::{Judge, Progressed, Verdict};
use crate::analysis::frontier;
use crate::config::RunConfig;
use crate::evaluate::label_accuracy;
use crate::record::{
    OpenRequest, Opened, Phase, Record, Recorder, RunFolder, RunIdentity, RunInfo, Summary, build_sinks, config_hash,
};
use crate::teachers::Teacher;

/// The seed of the held-out images, the same for all runs and none that a file can name.
const HELD_OUT_SEED: u64 = u64::MAX;

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done now, or found done already.
    Finished(PathBuf, Box<Summary>),
    /// Stopped by the user; the same command goes on.
    Interrupted(PathBuf),
}

/// A configuration with its teacher's content and the device in it, as a table.
fn identity_of(context: &Context, config: &RunConfig) -> Result<Table> {
    let teacher = context.teacher(&config.teacher)?;
    table_of(&pinned(config, &teacher, context)?)
}

fn table_of(config: &RunConfig) -> Result<Table> {
    match Value::try_from(config).context("the configuration cannot be written as TOML")? {
        Value::Table(table) => Ok(table),
        _ => Err(anyhow!("the configuration is not a table")),
    }
}

/// Whether the run of a folder, whose run.json says `info`, is this configuration's, whatever the words about it.
pub(crate) fn is_run_of(context: &Context, config: &RunConfig, path: &Path, info: &RunInfo) -> Result<bool> {
    let table = identity_of(context, config)?;
    Ok(RunFolder::is_of(path, info, &table, &config_hash(&table))?)
}

/// The hash of a configuration with its teacher's content and the device in it, without the words about it: what a study
/// knows a finished run by.
pub(crate) fn ledger_identity(context: &Context, config: &RunConfig) -> Result<String> {
    Ok(config_hash(&identity_of(context, &wordless(config))?))
}

/// The configuration without the words about it, which change no outcome.
pub(crate) fn wordless(config: &RunConfig) -> RunConfig {
    let mut config = config.clone();
    config.experiment.summary.clear();
    config.experiment.sinks.clear();
    config.method.summary.clear();
    config.method.source.clear();
    config.method.differences.clear();
    config.method.budget = None;
    config
}

/// Where the images of a run lie once they are made, those for measuring included; real images lie nowhere.
pub(crate) fn image_slots(context: &Context, config: &RunConfig) -> Result<Vec<CacheSlot>> {
    let teacher = context.teacher(&config.teacher)?;
    let held_out = slot(context, &config.evaluation.held_out, &teacher, HELD_OUT_SEED)?;
    let own = slot(context, &config.images, &teacher, config.seed)?;
    Ok(held_out.into_iter().chain(own).collect())
}

/// Runs a configuration, or takes up where an earlier life of the same run stopped.
///
/// # Errors
/// Faults of the input (exit code 2) and of the run (exit code 1); the run folder then says FAILED and why.
pub fn run_once(context: &Context, config: &RunConfig, overrides: &str, fresh: bool) -> Result<Outcome> {
    // Everything of the user's that can be wrong is looked at before the folder is made.
    check_plugins(&context.registry, config)?;
    let teacher = context.teacher(&config.teacher)?;
    let config = &pinned(config, &teacher, context)?;
    let table = table_of(config)?;
    let test = context.test_set(&config.data)?;
    if let Ok(images) = &test {
        check_fit(config, &teacher.network, images)?;
    }
    check_quantization(context, config, &teacher.network)?;
    check_images(context, config, &teacher.network)?;
    let sinks = build_sinks(&context.registry.sinks, &config.experiment.sinks)?;
    let path = RunFolder::path_of(&context.project.runs(), &config.experiment.name, &config.method.name, config.seed);
    let identity = RunIdentity {
        experiment: config.experiment.name.clone(),
        method: config.method.name.clone(),
        seed: config.seed,
        device: context.device.name.clone(),
    };
    let request = OpenRequest {
        identity: &identity,
        config: &table,
        config_hash: &config_hash(&table),
        overrides,
        work_tree: context.project.root(),
        fresh,
        remeasure: test.is_ok(),
    };
    let mut folder = match RunFolder::open(&path, request)? {
        Opened::Finished(path) => {
            let summary = RunFolder::read_summary(&path)?;
            context.console.line(&format!(
                "{} / {} / seed {} is finished already",
                identity.experiment, identity.method, identity.seed
            ));
            return Ok(Outcome::Finished(path, Box::new(summary)));
        }
        Opened::New(folder) | Opened::Resume(folder) => folder,
    };
    let _log = super::log::RunLog::open(&path);
    let result = live(context, config, &mut folder, sinks, &teacher, test);
    match result {
        Ok(Some(summary)) => {
            let path = folder.complete(&summary)?;
            Ok(Outcome::Finished(path, Box::new(summary)))
        }
        Ok(None) => Ok(Outcome::Interrupted(folder.interrupt()?)),
        Err(error) => {
            // On a full disk this fails too: what stopped the run is the news, and it is then taken up as a killed one.
            if let Err(other) = folder.fail(&format!("{error:#}")) {
                tracing::warn!("{other}");
            }
            Err(error)
        }
    }
}

/// The run itself; `None` when the user stopped it.
fn live(
    context: &Context,
    config: &RunConfig,
    folder: &mut RunFolder,
    sinks: Vec<Box<dyn crate::record::MetricSink>>,
    teacher: &Teacher,
    test: super::context::TestSet,
) -> Result<Option<Summary>> {
    let mut checkpoint = read_checkpoint::<Checkpoint>(folder, CHECKPOINT)?;
    let mut fitted = read_checkpoint::<FitCheckpoint>(folder, FIT_CHECKPOINT)?;
    let label = format!("{}/{}", config.method.name, config.seed);
    let held_out = &config.evaluation.held_out;
    let Some(held_out) = make(context, held_out, &config.data, teacher, HELD_OUT_SEED, "held-out")? else {
        return Ok(None);
    };
    let Some(made) = make(context, &config.images, &config.data, teacher, config.seed, &label)? else {
        return Ok(None);
    };
    let begun = checkpoint.is_some() || fitted.is_some();
    if begun && folder.info().images_sha256.as_ref().is_some_and(|key| *key != made.key) {
        context.console.line(&format!("{label} starts over: its images are not those of its checkpoint"));
        (checkpoint, fitted) = (None, None);
        for name in [CHECKPOINT, FIT_CHECKPOINT] {
            match std::fs::remove_file(folder.path().join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    let fit_position = fitted.as_ref().map_or(0, |(checkpoint, _)| checkpoint.position);
    let keep = checkpoint.as_ref().map_or(fit_position, |(checkpoint, _)| checkpoint.position);
    let mut recorder = Recorder::open(folder, sinks, keep)?;
    folder.update(|info| {
        info.teacher_sha256 = Some(teacher.hash.clone());
        info.dataset_sha256 = test.as_ref().ok().map(|images| sha256_hex(&images.pixels));
        info.images_sha256 = Some(made.key.clone());
        // What the images cost when they were made, whether that was now or for an earlier run.
        info.wall_seconds.insert("synth".to_owned(), made.records.last().map_or(0.0, |record| record.wall));
    })?;
    let judge = Judge::new(context, teacher, config, test.as_ref().ok().cloned(), &held_out.images, &held_out.key)?;
    show(&mut recorder, "images", 0, &made.images, &teacher.normalization)?;
    if keep == 0 {
        made.records.iter().try_for_each(|record| recorder.record(record))?;
        let batch = config.evaluation.batch;
        if let Some(share) = label_accuracy(&teacher.network, &made.images, batch, &context.device.device) {
            let last = made.records.len().saturating_sub(1) as u64;
            recorder.record(&Record::new(Phase::Synth, last, 0.0).with("synth/label_accuracy", share))?;
        }
        if let Some([top1, top5]) = judge.teacher_accuracy() {
            let record = Record::new(Phase::Eval, 0, 0.0).with("teacher/top1", top1).with("teacher/top5", top5);
            recorder.record(&record)?;
        }
    }

    let calibrating = Instant::now();
    let earlier = fitted.as_ref().map_or(0.0, |(checkpoint, _)| checkpoint.wall);
    let device = &context.device.device;
    let mut keeper = FolderKeeper::new(folder, &mut recorder, fitted, checkpoint.is_none());
    let work = Quantize { context, config, label: &label, teacher, images: &made.images };
    let Some(Done { teacher: prepared, student, allocation }) = work.run(&mut keeper)? else { return Ok(None) };
    if let Some(allocation) = allocation {
        folder.write("allocation.md", allocation.to_markdown().as_bytes())?;
        folder.write("allocation.csv", allocation.to_csv().as_bytes())?;
        folder.write("frontier.csv", allocation.frontier.to_csv().as_bytes())?;
        folder.write("frontier.svg", frontier(&label, &allocation)?.as_bytes())?;
    }
    let first = made.images.tensor(0..made.images.len().min(config.evaluation.batch), device);
    let audit = Audit::of(&student, Some(first.clone()))?;
    folder.write("audit.md", audit.to_markdown().as_bytes())?;
    if checkpoint.is_none() {
        recorder.record(&layers(Phase::Calibrate, 0, &layer_errors(&student, &prepared, first)?))?;
    }
    let weight_mse = weight_mse(&student, &prepared)?;
    let mut passes = made.passes + made.images.len() as u64;
    let seconds = earlier + calibrating.elapsed().as_secs_f64();
    if checkpoint.is_none() {
        folder.update(|info| {
            info.wall_seconds.insert("calibrate".to_owned(), seconds);
        })?;
    }

    let progressed = match &config.distill {
        None => {
            let verdict = judge.judge(&student)?;
            context.console.line(&format!("{label} calibrated: {}", verdict.text()));
            recorder.record(&verdict.record(0, 0, seconds))?;
            Progressed { latest: Some(verdict), ..Progressed::default() }
        }
        Some(distill) => {
            let trainer = StudentTrainer::new(
                teacher.network.clone(),
                student.clone(),
                made.images.clone(),
                distill.clone(),
                &context.registry.plugins(),
                config.seed,
            )?;
            let fit = Fit { context, config, label: &label, judge: &judge };
            match fit.run(folder, &mut recorder, trainer, &student, checkpoint)? {
                Some((progressed, trained_on)) => {
                    passes += trained_on;
                    progressed
                }
                None => return Ok(None),
            }
        }
    };
    recorder.finish()?;
    // Fitting steps and bit allocation do not count theirs.
    let passes = (config.fit.steps.is_empty() && config.allocate.is_none()).then_some(passes);
    folder.update(|info| info.image_passes = passes)?;
    let wall = folder.info().total_wall();
    let summary = summary(config, teacher, &judge, &made, progressed, &test, passes, wall);
    let (weight_bits_mean, size_bytes) = (stored_bits(&audit), Some(audit.quantized_bytes as u64));
    let image_seconds = folder.info().wall_seconds.get("synth").copied();
    Ok(Some(Summary { weight_mse, weight_bits_mean, size_bytes, image_seconds, ..summary }))
}

/// Bits that a weight takes when stored, over all weights; none without weights.
fn stored_bits(audit: &Audit) -> Option<f64> {
    let weights = || audit.rows.iter().filter(|row| row.role == Role::Weight);
    let values: usize = weights().map(|row| row.values).sum();
    let bytes: usize = weights().map(|row| row.bytes).sum();
    (values > 0).then(|| 8.0 * bytes as f64 / values as f64)
}

#[allow(clippy::too_many_arguments)]
fn summary(
    config: &RunConfig,
    teacher: &Teacher,
    judge: &Judge<'_>,
    made: &MadeImages,
    progressed: Progressed,
    test: &super::context::TestSet,
    passes: Option<u64>,
    wall: f64,
) -> Summary {
    let latest: Option<Verdict> = progressed.latest;
    let quant = &config.quant;
    let weight_bits = match config.allocate.as_ref().and_then(|table| table.budget) {
        Some(AllocationBudget::SizeBitsPerWeight(mean)) => mean.to_string(),
        Some(AllocationBudget::BitOperationsPerMac(mean)) => format!("({mean} bit operations a MAC)"),
        None => quant.weight_bits.to_string(),
    };
    let summary = Summary {
        schema: 1,
        experiment: config.experiment.name.clone(),
        method: config.method.name.clone(),
        seed: config.seed,
        teacher: teacher.name.clone(),
        network: teacher.network.name().to_owned(),
        dataset: config
            .data
            .limit
            .map_or_else(|| config.data.name.clone(), |limit| format!("{} (first {limit})", config.data.name)),
        protocol: quant.protocol.to_string(),
        bits: format!("W{weight_bits}A{}", quant.activation_bits),
        uses_real_data: made.real,
        best_on_test: progressed.best_on_test,
        best_by_synthetic: progressed.best_by_synthetic.map(|(_, best)| best),
        agreement: latest.map(|verdict| verdict.agreement),
        logit_mse: latest.map(|verdict| verdict.logit_mse),
        measured_on: Some("held-out synthetic images".to_owned()),
        image_passes: passes,
        wall_seconds: wall,
        ..Summary::default()
    };
    match (test, judge.teacher_accuracy(), latest.and_then(|verdict| verdict.accuracy)) {
        (_, Some(fp), Some(student)) => summary.with_accuracy(fp, student),
        (Err(how), ..) => summary.without_accuracy(how.clone()),
        _ => summary.without_accuracy("the test set is empty"),
    }
}

/// A record of every layer's errors.
fn layers(phase: Phase, step: u64, errors: &[LayerError]) -> Record {
    errors.iter().fold(Record::new(phase, step, 0.0), |record, error| {
        let values = [
            ("weight_mse", error.weight_mse),
            ("sqnr_db", error.weight_sqnr_db),
            ("activation_mse", error.activation_mse),
        ];
        values.into_iter().fold(record, |record, (name, value)| match value {
            Some(value) => record.with(format!("quant/{}/{name}", error.layer), value),
            None => record,
        })
    })
}
