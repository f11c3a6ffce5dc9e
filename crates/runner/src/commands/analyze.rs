//! `blindfold analyze`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::exp::rename;
use super::{Place, print, tell};
use crate::analysis::{AnalysisReport, Subject, write_weights};
use crate::config::{Experiment, Wishes};
use crate::pipeline::quantized;
use crate::record::Console;
use crate::{Project, Registry, Usage, interrupt};

/// Tensors that the terminal shows.
const SHOWN: usize = 5;

/// Arguments of `analyze`.
#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// An experiment of configs/, or the path of a TOML file (also of a run's own config.toml).
    experiment: String,
    /// The method; the experiment's first where none is given.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The seed; the experiment's first where none is given.
    #[arg(long, allow_negative_numbers = true, value_parser = super::exp::parse_seed)]
    seed: Option<u64>,
    /// Measure on so many of the images that the method calibrates on.
    #[arg(long, default_value_t = 64, value_name = "N")]
    images: usize,
    /// Set a key of the configuration, such as quant.weight_bits=3 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// With the experiment's [fast] table.
    #[arg(long)]
    fast: bool,
    /// With the method's full budget: its [budget.full] table.
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Print the analysis as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn analyze(registry: Registry, args: &AnalyzeArgs) -> Result<ExitCode> {
    let project = Project::find(args.place.out.clone())?;
    let experiment = Experiment::read(&project, &args.experiment)?;
    let method = args.method.as_ref().unwrap_or(&experiment.methods()[0]);
    let seed = args.seed.unwrap_or(experiment.seeds()[0]);
    let wishes = Wishes { fast: args.fast, full: args.full, sets: &args.sets };
    let mut config = experiment.resolve(&project, method, seed, wishes)?;
    rename(&mut config.experiment.name, wishes);
    if args.images == 0 {
        return Err(Usage("--images 0: write at least 1".to_owned()).into());
    }
    interrupt::listen();
    let context = args.place.context(registry, Console::stderr())?;
    let label = format!("{method}/{seed}");
    let Some(prepared) = quantized(&context, &config, &label)? else { return Ok(stopped()) };
    let subject = Subject::of(&context, &config, &prepared)?;
    context.console.line(&format!("{label} analysing {}", subject.what));
    let Some(report) = AnalysisReport::measure(&context, &config, &prepared, &subject, args.images)? else {
        return Ok(stopped());
    };
    report.write(&subject.folder)?;
    write_weights(&prepared, &config.quant, &subject.folder)?;
    if args.json {
        let mut value = serde_json::to_value(&report)?;
        value["folder"] = subject.folder.display().to_string().into();
        print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("{}\n\n", report.verdict.sentence));
    for line in report.leading(SHOWN) {
        print(&format!("  {line}\n"));
    }
    print(&format!("\n{}\n", subject.folder.join("analysis.md").display()));
    Ok(ExitCode::SUCCESS)
}

fn stopped() -> ExitCode {
    tell("stopped: nothing was written");
    ExitCode::from(1)
}
