//! `blindfold compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::print;
use crate::config::Experiment;
use crate::record::{
    METRICS_FILE, Phase, Published, Record, RunFolder, Summary, Table, compare, curves, gather, plot, read_history,
    write_atomic,
};
use crate::{Project, Usage};

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Experiments, or folders that hold runs.
    #[arg(required = true)]
    runs: Vec<String>,
    /// The table's format.
    #[arg(long, value_enum, default_value = "md")]
    format: Format,
    /// Also write results/tables/<experiment>.md and results/curves/<experiment>.svg.
    #[arg(long)]
    write: bool,
    /// The metric of the curves.
    #[arg(long, default_value = "student/top1")]
    tag: String,
    /// The results folder [default: results/ of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Md,
    Csv,
    Json,
}

pub(super) fn compare_runs(args: &CompareArgs) -> Result<ExitCode> {
    let project = Project::find(args.out.clone())?;
    let mut summaries = Vec::new();
    let mut published: BTreeMap<(String, String), Published> = BTreeMap::new();
    for run in &args.runs {
        let folder = folder_of(&project, run)?;
        let gathered = gather(&folder)?;
        for skipped in &gathered.skipped {
            eprintln!("left out: {} ({:?})", skipped.path.display(), skipped.status);
        }
        let mut own: Vec<_> = gathered.runs.iter().map(|(_, summary)| summary.clone()).collect();
        let experiments = experiments_of(&project, &own);
        arrange(&mut own, &experiments);
        for experiment in experiments.iter().filter_map(|(_, experiment)| experiment.as_ref()) {
            let figures = experiment.published().iter();
            published.extend(
                figures.map(|(method, figure)| ((experiment.name().to_owned(), method.clone()), figure.clone())),
            );
        }
        if args.write && own.is_empty() {
            eprintln!("{run}: no finished run there, its table and curves stay as they are");
        } else if args.write {
            let paths: Vec<&Path> = gathered.runs.iter().map(|(path, _)| path.as_path()).collect();
            write_files(&project, &stem(&folder, run), &own, &paths, &published, &args.tag)?;
        }
        summaries.extend(own);
    }
    if summaries.is_empty() {
        return Err(
            Usage(format!("{}: no finished run there; `blindfold exp` makes some", args.runs.join(", "))).into()
        );
    }
    let tables = compare(&summaries, &published)?;
    let text: String = match args.format {
        Format::Md => tables.iter().map(|table| format!("{}\n", table.to_markdown())).collect(),
        Format::Csv => tables.iter().map(Table::to_csv).collect(),
        Format::Json => {
            let tables: Vec<_> = tables.iter().map(Table::to_json).collect();
            format!("{}\n", serde_json::to_string_pretty(&tables)?)
        }
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The experiments of these runs in the order in which they come, with their files where they can be read.
fn experiments_of(project: &Project, runs: &[Summary]) -> Vec<(String, Option<Experiment>)> {
    let mut found: Vec<(String, Option<Experiment>)> = Vec::new();
    for run in runs {
        if found.iter().any(|(name, _)| *name == run.experiment) {
            continue;
        }
        let experiment = match Experiment::read(project, &run.experiment) {
            Ok(experiment) => Some(experiment),
            Err(error) => {
                if project.configs().join(format!("{}.toml", run.experiment)).is_file() {
                    eprintln!("without the order of methods and published figures of {}: {error:#}", run.experiment);
                }
                None
            }
        };
        found.push((run.experiment.clone(), experiment));
    }
    found
}

/// Puts the runs of each experiment together, its methods in the order of its file, then by seed.
fn arrange(runs: &mut [Summary], experiments: &[(String, Option<Experiment>)]) {
    runs.sort_by_key(|run| {
        let at = experiments.iter().position(|(name, _)| *name == run.experiment).unwrap_or(usize::MAX);
        let methods = experiments.get(at).and_then(|(_, experiment)| experiment.as_ref()).map(Experiment::methods);
        let place = methods.and_then(|methods| methods.iter().position(|method| *method == run.method));
        (at, place.unwrap_or(usize::MAX), run.seed)
    });
}

/// What the files of these runs are named after.
fn stem(folder: &Path, run: &str) -> String {
    folder.file_name().map_or_else(|| run.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn folder_of(project: &Project, run: &str) -> Result<PathBuf> {
    let places = [project.runs().join(run), PathBuf::from(run)];
    match places.iter().find(|path| path.is_dir()) {
        Some(path) => Ok(path.clone()),
        None => {
            let [in_results, _] = &places;
            Err(Usage(format!(
                "there are no runs `{run}`: {} is not a folder; run `blindfold exp {run}` first",
                in_results.display()
            ))
            .into())
        }
    }
}

fn write_files(
    project: &Project,
    stem: &str,
    summaries: &[Summary],
    paths: &[&Path],
    published: &BTreeMap<(String, String), Published>,
    tag: &str,
) -> Result<()> {
    let mut text = format!("<!-- made by `blindfold compare {stem} --write`; do not edit -->\n");
    for table in compare(summaries, published)? {
        text += &format!("\n{}\n", table.to_markdown());
    }
    write_atomic(&project.results().join("tables").join(format!("{stem}.md")), text.as_bytes())?;
    let mut histories = Vec::new();
    for path in paths {
        histories.push((RunFolder::read_info(path)?.method, read_history(&path.join(METRICS_FILE))?));
    }
    let runs: Vec<(&str, &[Record])> =
        histories.iter().map(|(method, records)| (method.as_str(), records.as_slice())).collect();
    let lines = curves(&runs, Phase::Eval, tag);
    if lines.iter().any(|curve| curve.points.len() > 1) {
        let picture = plot(stem, tag, &lines)?;
        write_atomic(&project.results().join("curves").join(format!("{stem}.svg")), picture.as_bytes())?;
    }
    Ok(())
}
