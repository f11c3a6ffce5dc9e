//! `blindfold teacher train`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use blindfold_distill::{TeacherConfig, TeacherTrainer};
use blindfold_synth::RealImages;
use blindfold_zoo::{ArchitectureTable, Network, Normalization, fold_batch_norms, sha256_hex, write_safetensors};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::super::exp::again;
use super::super::{Place, print, tell, typed};
use crate::causes::with_causes;
use crate::config::{DataTable, read_table, set_key};
use crate::data::Split;
use crate::evaluate::{Probe, logits};
use crate::pipeline::Context;
use crate::record::{
    Console, OpenRequest, Opened, Phase, Record, Recorder, RunFolder, RunIdentity, build_sinks, config_hash,
    write_atomic,
};
use crate::{Registry, Usage, interrupt};

const CHECKPOINT: &str = "checkpoints/last.bin";

/// A teacher's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeacherFile {
    /// The file's name without ending; the model is written to models/<name>.safetensors.
    name: String,
    /// One line.
    summary: String,
    /// The seed of weights, data order and augmentation.
    seed: u64,
    architecture: ArchitectureTable,
    normalization: Normalization,
    data: DataTable,
    train: TeacherConfig,
}

pub(super) fn train(registry: Registry, path: &Path, sets: &[String], fresh: bool, place: &Place) -> Result<ExitCode> {
    let mut table = read_table(path)?;
    for assignment in sets {
        set_key(&mut table, assignment)?;
    }
    let file: TeacherFile = Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| Usage(format!("{}: {}", path.display(), error.to_string().trim())))?;
    if file.data.limit.is_some() {
        return Err(Usage(format!(
            "{}: `data.limit` is for experiments: a teacher is trained on the whole set",
            path.display()
        ))
        .into());
    }
    interrupt::listen();
    let context = place.context(registry, Console::stderr())?;
    let device = &context.device.device;
    let architecture =
        context.registry.architectures.build(&file.architecture.kind, file.architecture.table.clone())?;
    let data = context
        .registry
        .data_sets
        .build(&file.data.name, file.data.table.clone())
        .map_err(|error| error.within("data"))?;
    let images = data.load(Split::Train, &context.home)?;
    let test = data.load(Split::Test, &context.home)?;
    let network = architecture.build(device, file.seed);
    file.normalization.check(network.input_shape()[0])?;
    let mut trainer = TeacherTrainer::new(network, images, file.normalization.clone(), file.train.clone(), file.seed)?;

    let resolved = match Value::try_from(&file)? {
        Value::Table(table) => table,
        _ => return Err(anyhow!("the configuration cannot be written as TOML")),
    };
    let identity = RunIdentity {
        experiment: "teachers".to_owned(),
        method: file.name.clone(),
        seed: file.seed,
        device: context.device.name.clone(),
    };
    let run = RunFolder::path_of(&context.project.runs(), "teachers", &file.name, file.seed);
    let arguments = typed();
    let request = OpenRequest {
        identity: &identity,
        config: &resolved,
        config_hash: &config_hash(&resolved),
        overrides: &arguments.join(" "),
        work_tree: context.project.root(),
        fresh,
        remeasure: false,
    };
    let mut folder = match RunFolder::open(&run, request)? {
        Opened::Finished(path) => {
            print(&format!("{} is trained already; --fresh trains it anew\n", path.display()));
            return Ok(ExitCode::SUCCESS);
        }
        Opened::New(folder) | Opened::Resume(folder) => folder,
    };
    let _log = crate::pipeline::log::RunLog::open(&run);
    let sinks = build_sinks(&context.registry.sinks, &["jsonl", "tensorboard", "csv"].map(str::to_owned))?;
    match fit(&context, &file, &mut folder, sinks, &mut trainer, &test) {
        Ok(Some([top1, top5])) => {
            // A training that was changed on the command line does not replace the model that the catalogue knows.
            let changed = !sets.is_empty() || place.out.is_some();
            let models = if changed { run.clone() } else { context.project.models() };
            let model = save(&models, &file, trainer.network(), [top1, top5])?;
            let summary = crate::record::Summary {
                schema: 1,
                experiment: "teachers".to_owned(),
                method: file.name.clone(),
                seed: file.seed,
                teacher: file.name.clone(),
                network: trainer.network().name().to_owned(),
                dataset: file.data.name.clone(),
                uses_real_data: true,
                accuracy_measured: true,
                fp_top1: Some(top1),
                fp_top5: Some(top5),
                wall_seconds: folder.info().total_wall(),
                ..Default::default()
            };
            folder.complete(&summary)?;
            print(&format!("{}\n", model.display()));
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) => {
            folder.interrupt()?;
            tell(&format!("to go on, type the same again:\n  {}", again(&arguments)));
            Ok(ExitCode::from(1))
        }
        Err(error) => {
            folder.fail(&with_causes(&error))?;
            Err(error)
        }
    }
}

/// Final test accuracy; `None` when the user stopped it.
fn fit(
    context: &Context,
    file: &TeacherFile,
    folder: &mut RunFolder,
    sinks: Vec<Box<dyn crate::record::MetricSink>>,
    trainer: &mut TeacherTrainer,
    test: &RealImages,
) -> Result<Option<[f64; 2]>> {
    let path = folder.path().join(CHECKPOINT);
    let mut position = 0;
    let mut earlier = 0.0;
    if path.is_file() {
        let bytes = std::fs::read(&path)?;
        let (head, body) = bytes.split_first_chunk::<16>().context("the checkpoint is damaged: train with --fresh")?;
        let (a, b) = head.split_at(8);
        position = u64::from_le_bytes(a.try_into()?);
        earlier = f64::from_le_bytes(b.try_into()?);
        trainer.restore(body)?;
        context.console.line(&format!("{} goes on at step {}", file.name, trainer.position()));
    }
    let mut recorder = Recorder::open(folder, sinks, position)?;
    let began = Instant::now();
    let wall = || earlier + began.elapsed().as_secs_f64();
    let mut task = context.console.task(&file.name, trainer.total_steps() as u64, trainer.position() as u64);
    let mut accuracy = [0.0; 2];
    let (mut loss, mut hits, mut seen) = (0.0, 0.0, 0.0);
    while !trainer.is_done() {
        let step = trainer.step()?;
        loss += step.loss;
        hits += step.accuracy;
        seen += 1.0;
        task.set(trainer.position() as u64, &format!("loss {:.3}", step.loss));
        let record = Record::new(Phase::Teacher, step.step as u64, wall()).at_epoch(step.epoch as u64);
        recorder.record(
            &record.with("train/loss", step.loss).with("train/top1", 100.0 * step.accuracy).with("lr", step.lr),
        )?;
        let ended = trainer.position().is_multiple_of(trainer.steps_per_epoch());
        if ended {
            accuracy = measure(context, file, trainer.network(), test);
            let epoch = trainer.position() / trainer.steps_per_epoch();
            let record = Record::new(Phase::Eval, trainer.position() as u64, wall()).at_epoch(epoch as u64);
            recorder.record(&record.with("teacher/top1", accuracy[0]).with("teacher/top5", accuracy[1]))?;
            let text = format!(
                "epoch {epoch}: loss {:.3}, train top-1 {:.2} %, test top-1 {:.2} %",
                loss / seen,
                100.0 * hits / seen,
                accuracy[0]
            );
            (loss, hits, seen) = (0.0, 0.0, 0.0);
            task.epoch(&text);
        }
        if ended || interrupt::asked() {
            let mut bytes = recorder.position().to_le_bytes().to_vec();
            bytes.extend(wall().to_le_bytes());
            bytes.extend(trainer.to_bytes()?);
            recorder.sync()?;
            folder.write(CHECKPOINT, &bytes)?;
        }
        if interrupt::asked() && !trainer.is_done() {
            folder.update(|info| info.add_wall("teacher", began.elapsed().as_secs_f64()))?;
            task.end("stopped");
            return Ok(None);
        }
    }
    if seen == 0.0 && accuracy == [0.0; 2] {
        accuracy = measure(context, file, trainer.network(), test);
    }
    task.end("trained");
    recorder.finish()?;
    folder.update(|info| info.add_wall("teacher", began.elapsed().as_secs_f64()))?;
    Ok(Some(accuracy))
}

fn measure(context: &Context, file: &TeacherFile, network: Network, test: &RealImages) -> [f64; 2] {
    let folded = fold_batch_norms(network);
    let probe = Probe::Test(test, &file.normalization, test.len());
    logits(|images| folded.forward(images), &probe, 50, &context.device.device).accuracy(&test.labels)
}

/// Writes <name>.safetensors and prints what the catalogue needs to know.
fn save(models: &Path, file: &TeacherFile, network: Network, [top1, top5]: [f64; 2]) -> Result<PathBuf> {
    let metadata = BTreeMap::from([("blindfold".to_owned(), format!("{}: {}", file.name, file.summary))]);
    let bytes = write_safetensors(&network.state(), &metadata).map_err(|error| anyhow!(error))?;
    let path = models.join(format!("{}.safetensors", file.name));
    write_atomic(&path, &bytes)?;
    let digest = sha256_hex(&bytes);
    print(&format!("sha256 = \"{digest}\"\ntop1 = {top1:.2}\ntop5 = {top5:.2}\n"));
    Ok(path)
}
