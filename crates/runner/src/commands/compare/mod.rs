//! `blindfold compare`.

mod metric;
mod mixing;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use metric::{MetricTable, metric_tables};
use pages::write_pages;

use super::selection::{identity, places};
use super::{print, tell};
use crate::causes::with_causes;
use crate::config::Experiment;
use crate::record::{Grid, Published, Summary, Table, compare, csv_cell, gather};
use crate::{Project, Usage};

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Experiments, parts of them such as cifar10-w4a4/zeroq, patterns such as 'cifar10-*/zeroq', or folders that hold
    /// runs.
    #[arg(required = true)]
    runs: Vec<String>,
    /// The last value of this metric of metrics.jsonl, in place of the usual columns.
    #[arg(long, value_name = "TAG", conflicts_with = "write")]
    metric: Option<String>,
    /// The table's format.
    #[arg(long, value_enum, default_value = "md")]
    format: Format,
    /// A table for each protocol, test set, teacher and bit width, where the runs do not belong in one.
    #[arg(long)]
    split: bool,
    /// Also write results/tables/<experiment>.md and results/curves/<experiment>.svg.
    #[arg(long)]
    write: bool,
    /// The metric of the curves that --write draws.
    #[arg(long, default_value = "student/top1")]
    tag: String,
    /// The results folder [default: results/ of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Md,
    Tex,
    Csv,
    Json,
}

/// Published drops by experiment and method.
type Figures = BTreeMap<(String, String), Published>;

pub(super) fn compare_runs(args: &CompareArgs) -> Result<ExitCode> {
    let project = Project::find(args.out.clone())?;
    let mut runs: Vec<(PathBuf, Summary)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut published = Figures::new();
    for word in &args.runs {
        for folder in places(&project.runs(), word)? {
            let gathered = gather(&folder)?;
            for skipped in &gathered.skipped {
                tell(&format!("left out: {} ({:?})", skipped.path.display(), skipped.status));
            }
            let mut own = gathered.runs;
            let experiments = experiments_of(&project, own.iter().map(|(_, summary)| summary));
            arrange(&mut own, &experiments);
            for experiment in experiments.iter().filter_map(|(_, experiment)| experiment.as_ref()) {
                let figures = experiment.published().iter();
                published.extend(
                    figures.map(|(method, figure)| ((experiment.name().to_owned(), method.clone()), figure.clone())),
                );
            }
            if args.write && own.is_empty() {
                tell(&format!("{}: no finished run there, its table and curves stay as they are", folder.display()));
            }
            runs.extend(own.into_iter().filter(|(path, _)| known.insert(identity(path))));
        }
    }
    if runs.is_empty() {
        return Err(
            Usage(format!("{}: no finished run there; `blindfold exp` makes some", args.runs.join(", "))).into()
        );
    }
    if !args.split {
        mixing::check(&runs.iter().map(|(_, summary)| summary).collect::<Vec<_>>())?;
    }
    let written = if args.write { write_pages(&project, &runs, &published, &args.tag)? } else { Vec::new() };
    let text = match &args.metric {
        Some(tag) => metric_text(&metric_tables(&runs, tag)?, args.format)?,
        None => {
            let summaries: Vec<Summary> = runs.into_iter().map(|(_, summary)| summary).collect();
            let groups = if args.split { mixing::by_protocol(&summaries) } else { vec![summaries] };
            let mut tables = Vec::new();
            for group in groups {
                // Of one protocol, so that there is a table for each setting, in the same order.
                let settings = mixing::alike(&group, |run| run).into_iter().map(|runs| mixing::setting(runs[0]));
                tables.extend(settings.zip(compare(&group, &published)?));
            }
            usual_text(&tables, args.format)?
        }
    };
    print(&text);
    // Not on stdout, which is a table of some format.
    written.iter().for_each(|path| tell(&format!("wrote {}", path.display())));
    Ok(ExitCode::SUCCESS)
}

/// Tables with what all of their runs share.
fn usual_text(tables: &[([String; 5], Table)], format: Format) -> Result<String> {
    Ok(match format {
        Format::Md => tables.iter().map(|(_, table)| format!("{}\n", table.to_markdown())).collect(),
        Format::Tex => tables.iter().map(|(_, table)| format!("{}\n", table.to_tex())).collect(),
        Format::Csv => {
            let shared = |setting: &[String; 5]| setting.each_ref().map(|cell| csv_cell(cell)).join(",");
            let mut lines: Vec<String> = Vec::new();
            for (setting, table) in tables {
                let csv = table.to_csv();
                let mut rows = csv_records(&csv);
                let header = rows.next().unwrap_or_default();
                if lines.is_empty() {
                    lines.push(format!("{},{header}\n", mixing::SETTING.join(",")));
                }
                lines.extend(rows.map(|row| format!("{},{row}\n", shared(setting))));
            }
            lines.concat()
        }
        Format::Json => {
            let with_setting = |(setting, table): &([String; 5], Table)| {
                let mut table = table.to_json();
                for (key, value) in mixing::SETTING.iter().zip(setting) {
                    table[*key] = value.as_str().into();
                }
                table
            };
            let tables: Vec<_> = tables.iter().map(with_setting).collect();
            format!("{}\n", serde_json::to_string_pretty(&tables)?)
        }
    })
}

fn metric_text(tables: &[MetricTable], format: Format) -> Result<String> {
    let grids = || tables.iter().map(MetricTable::to_grid);
    Ok(match format {
        Format::Md => grids().map(|grid: Grid| format!("{}\n", grid.to_markdown())).collect(),
        Format::Tex => grids().map(|grid: Grid| format!("{}\n", grid.to_latex())).collect(),
        Format::Csv => {
            std::iter::once(MetricTable::csv_header()).chain(tables.iter().map(MetricTable::to_csv)).collect()
        }
        Format::Json => {
            let tables: Vec<_> = tables.iter().map(MetricTable::to_json).collect();
            format!("{}\n", serde_json::to_string_pretty(&tables)?)
        }
    })
}

/// The records of comma-separated values: lines, but for those that end within quotes.
fn csv_records(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let end = move |character: char| {
        quoted ^= character == '"';
        character == '\n' && !quoted
    };
    text.split_terminator(end)
}

/// The experiments of these runs in the order in which they come, with their files where they can be read.
fn experiments_of<'a>(project: &Project, runs: impl Iterator<Item = &'a Summary>) -> Vec<(String, Option<Experiment>)> {
    let mut found: Vec<(String, Option<Experiment>)> = Vec::new();
    for run in runs {
        if found.iter().any(|(name, _)| *name == run.experiment) {
            continue;
        }
        let experiment = match Experiment::read(project, &run.experiment) {
            Ok(experiment) => Some(experiment),
            Err(error) => {
                if project.configs().join(format!("{}.toml", run.experiment)).is_file() {
                    tell(&format!(
                        "without the order of methods and published figures of {}: {}",
                        run.experiment,
                        with_causes(&error)
                    ));
                }
                None
            }
        };
        found.push((run.experiment.clone(), experiment));
    }
    found
}

/// Puts the runs of each experiment together, its methods in the order of its file, then by seed.
fn arrange(runs: &mut [(PathBuf, Summary)], experiments: &[(String, Option<Experiment>)]) {
    runs.sort_by_key(|(_, run)| {
        let at = experiments.iter().position(|(name, _)| *name == run.experiment).unwrap_or(usize::MAX);
        let methods = experiments.get(at).and_then(|(_, experiment)| experiment.as_ref()).map(Experiment::methods);
        let place = methods.and_then(|methods| methods.iter().position(|method| *method == run.method));
        (at, place.unwrap_or(usize::MAX), run.seed)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_at_line_breaks_outside_of_quotes() {
        let records: Vec<&str> = csv_records("a,b\n1,\"x\ny \"\"z\"\"\"\n3,4\n").collect();
        assert_eq!(records, ["a,b", "1,\"x\ny \"\"z\"\"\"", "3,4"]);
    }

    #[test]
    fn tables_in_csv_have_one_header_and_say_what_their_runs_share() {
        let summary = |bits: &str| Summary {
            experiment: "e".into(),
            method: "zeroq".into(),
            bits: bits.into(),
            protocol: "gdfq".into(),
            ..Summary::default()
        };
        let runs = [summary("W4A4"), summary("W2A4")];
        let settings = runs.each_ref().map(mixing::setting);
        let tables: Vec<_> = settings.into_iter().zip(compare(&runs, &Figures::new()).unwrap()).collect();
        let text = usual_text(&tables, Format::Csv).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("protocol,dataset,teacher,network,bits,experiment,method,"), "{text}");
        assert!(
            lines[1].starts_with("gdfq,,,,W4A4,e,zeroq,") && lines[2].starts_with("gdfq,,,,W2A4,e,zeroq,"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&usual_text(&tables, Format::Json).unwrap()).unwrap();
        assert_eq!((json[1]["bits"].as_str(), json[0]["protocol"].as_str()), (Some("W2A4"), Some("gdfq")));
    }
}
