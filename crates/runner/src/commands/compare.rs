//! `blindfold compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::print;
use crate::config::Experiment;
use crate::record::{
    METRICS_FILE, Phase, Published, RunFolder, compare, curves, gather, plot, read_history, write_atomic,
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
    let mut published: BTreeMap<String, Published> = BTreeMap::new();
    for run in &args.runs {
        let folder = folder_of(&project, run)?;
        let gathered = gather(&folder)?;
        for skipped in &gathered.skipped {
            eprintln!("left out: {} ({:?})", skipped.path.display(), skipped.status);
        }
        let mut own: Vec<_> = gathered.runs.iter().map(|(_, summary)| summary.clone()).collect();
        if let Ok(experiment) = Experiment::read(&project, run) {
            let place =
                |method: &str| experiment.methods().iter().position(|known| known == method).unwrap_or(usize::MAX);
            own.sort_by_key(|summary| (place(&summary.method), summary.seed));
            published.extend(experiment.published().clone());
        }
        if args.write {
            write_files(
                &project,
                run,
                &own,
                &folder,
                &gathered.runs.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(),
                args,
            )?;
        }
        summaries.extend(own);
    }
    if summaries.is_empty() {
        return Err(
            Usage(format!("{}: no finished run there; `blindfold exp` makes some", args.runs.join(", "))).into()
        );
    }
    for table in compare(&summaries, &published)? {
        print(&match args.format {
            Format::Md => format!("{}\n", table.to_markdown()),
            Format::Csv => table.to_csv(),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&table.to_json())?),
        });
    }
    Ok(ExitCode::SUCCESS)
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
    name: &str,
    summaries: &[crate::record::Summary],
    folder: &Path,
    paths: &[PathBuf],
    args: &CompareArgs,
) -> Result<()> {
    let published =
        Experiment::read(project, name).map(|experiment| experiment.published().clone()).unwrap_or_default();
    let stem = folder.file_name().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let mut text = format!("<!-- made by `blindfold compare {stem} --write`; do not edit -->\n");
    for table in compare(summaries, &published)? {
        text += &format!("\n{}\n", table.to_markdown());
    }
    write_atomic(&project.results().join("tables").join(format!("{stem}.md")), text.as_bytes())?;
    let mut histories = Vec::new();
    for path in paths {
        histories.push((RunFolder::read_info(path)?.method, read_history(&path.join(METRICS_FILE))?));
    }
    let runs: Vec<(&str, &[crate::record::Record])> =
        histories.iter().map(|(method, records)| (method.as_str(), records.as_slice())).collect();
    let lines = curves(&runs, Phase::Eval, &args.tag);
    if lines.iter().any(|curve| curve.points.len() > 1) {
        let picture = plot(&stem, &args.tag, &lines)?;
        write_atomic(&project.results().join("curves").join(format!("{stem}.svg")), picture.as_bytes())?;
    }
    Ok(())
}
