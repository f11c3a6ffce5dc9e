//! `blindfold report`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use toml::{Table, Value};

use super::print;
use super::selection::choose;
use crate::causes::with_causes;
use crate::config::{Experiment, Wishes};
use crate::record::{differences, write_atomic};
use crate::report::{Baseline, RunFiles, page};
use crate::{Project, Usage};

/// Runs that are named where a word means several.
const NAMED: usize = 8;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A run's folder, or its name below results/runs, such as cifar10-w4a4/zeroq/seed-1 (cifar10-w4a4/zeroq where
    /// there is one seed).
    run: String,
    /// The page [default: report.html in the run's folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The results folder [default: results/ of the repository].
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
}

pub(super) fn report_run(args: &ReportArgs) -> Result<ExitCode> {
    let folder = folder(args)?;
    let files = RunFiles::read(&folder)?;
    let text = page(&files, &baseline(args, &files));
    let path = args.out.clone().unwrap_or_else(|| folder.join("report.html"));
    write_atomic(&path, text.as_bytes())?;
    print(&format!("{}\n", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The one run that is meant. A folder is taken as it is, within a repository or not.
fn folder(args: &ReportArgs) -> Result<PathBuf> {
    let given = PathBuf::from(&args.run);
    if given.join("run.json").is_file() {
        return Ok(given);
    }
    let project = Project::find(args.results.clone())?;
    let mut found = choose(&project.runs(), std::slice::from_ref(&args.run))?;
    match found.len() {
        1 => Ok(found.remove(0).path),
        0 => Err(Usage(format!("{}: there is no run in it: name a folder that has a run.json", args.run)).into()),
        count => {
            let named: Vec<String> = found.iter().take(NAMED).map(|run| run.path.display().to_string()).collect();
            let more = if count > NAMED { format!("\n  and {} more", count - NAMED) } else { String::new() };
            Err(Usage(format!(
                "{} means {count} runs, and a page is about one: name one of\n  {}{more}",
                args.run,
                named.join("\n  ")
            ))
            .into())
        }
    }
}

/// The experiment's own configuration of the run's method and seed, for comparison.
fn baseline(args: &ReportArgs, files: &RunFiles) -> Baseline {
    let info = files.info();
    // `--fast` and `--set` add to the name of the experiment.
    let name = info.experiment.split('+').next().unwrap_or_default().to_owned();
    let resolved = || -> Result<Table> {
        let project = Project::find(args.results.clone())?;
        let file = project.configs().join(format!("{name}.toml"));
        if !file.is_file() {
            return Err(anyhow!("{} is not a file", file.display()));
        }
        let experiment = Experiment::read(&project, &name)?;
        let config = experiment.resolve(&project, &info.method, info.seed, Wishes::default())?;
        match Value::try_from(&config).context("it cannot be written as TOML")? {
            Value::Table(table) => Ok(table),
            _ => Err(anyhow!("it is not a table")),
        }
    };
    match resolved() {
        Ok(table) => Baseline::Experiment { differences: differences(&table, files.config()), name },
        Err(error) => Baseline::Absent(with_causes(&error)),
    }
}
