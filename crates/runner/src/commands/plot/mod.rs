//! `blindfold plot`.

mod figure;
mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use figure::figure;
use lines::{Along, Line, PlottedRun, lines, phase_of};
use terminal_size::{Height, Width, terminal_size};

use super::print;
use super::selection::{Chosen, choose};
use super::tags::unknown_tag;
use crate::plot::number;
use crate::record::{
    CompareError, DAGGER, METRICS_FILE, Phase, REAL_DATA, RunFolder, Status, describe, read_history, write_atomic,
};
use crate::terminal_chart::{ChartLine, TerminalChart};
use crate::{Project, Usage};

/// Columns and rows where stdout is no terminal.
const PLAIN: (usize, usize) = (80, 24);
/// Metrics that are measured on the test set: two test sets are two measures.
const ON_TEST_SET: [&str; 5] =
    ["student/top1", "student/top5", "student/test_agreement", "teacher/top1", "teacher/top5"];

/// Arguments of `plot`.
#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// Experiments, parts of them such as cifar10-w4a4/zeroq, patterns such as 'cifar10-w4a4/*-kd', or folders that
    /// hold runs.
    #[arg(required = true)]
    runs: Vec<String>,
    /// The metric of metrics.jsonl.
    #[arg(long, default_value = "student/top1")]
    tag: String,
    /// What runs along the x axis.
    #[arg(long, value_enum, default_value = "step")]
    x: Along,
    /// Each value becomes the mean of itself and the N - 1 before it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    smooth: u32,
    /// The phase, such as distill [default: the one in which most values of the metric lie].
    #[arg(long, value_name = "NAME")]
    phase: Option<Phase>,
    /// Also draw it into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The results folder [default: results/ of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What tells whether runs may be drawn together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    experiment: String,
    protocol: String,
    dataset: String,
    real: bool,
}

pub(super) fn plot_runs(args: &PlotArgs) -> Result<ExitCode> {
    let project = Project::find(args.out.clone())?;
    let chosen = choose(&project.runs(), &args.runs)?;
    if chosen.is_empty() {
        return Err(Usage(format!("{}: no run there; `blindfold exp` makes some", args.runs.join(", "))).into());
    }
    let mut kinds = Vec::new();
    let mut runs = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut seeds = BTreeSet::new();
    for run in &chosen {
        let info = RunFolder::read_info(&run.path)?;
        let kind = kind_of(run, &info.experiment);
        if !seeds.insert((kind.experiment.clone(), info.method.clone(), info.seed)) {
            let (experiment, method) = (kind.experiment, info.method);
            return Err(CompareError::Duplicate { experiment, method, seed: info.seed }.into());
        }
        let mark = if kind.real { DAGGER } else { "" };
        let line = format!("{}/{}{mark}", kind.experiment, info.method);
        if run.status != Status::Completed {
            *open.entry(line.clone()).or_default() += 1;
        }
        runs.push(PlottedRun { line, records: read_history(&run.path.join(METRICS_FILE))? });
        kinds.push(kind);
    }
    check(&kinds, &args.tag)?;
    let Some(phase) = args.phase.or_else(|| phase_of(&runs, &args.tag)) else {
        return Err(unknown_tag(&args.tag, runs.iter().flat_map(|run| &run.records)).into());
    };
    let lines = lines(&runs, phase, &args.tag, args.x, args.smooth as usize);
    if lines.iter().all(|line| line.places.is_empty()) {
        return Err(Usage(nothing(args, phase, &runs)).into());
    }
    let metric = describe(&args.tag).filter(|metric| !metric.unit.is_empty());
    let unit = metric.map(|metric| metric.unit).unwrap_or_default();
    let several = kinds.iter().any(|kind| kind.experiment != kinds[0].experiment);
    let names: Vec<String> = lines.iter().map(|line| named(line, several)).collect();
    let legend: Vec<String> = lines
        .iter()
        .zip(&names)
        .map(|(line, name)| format!("{name}  {}", ending(line, unit, open.get(&line.name).copied())))
        .collect();
    let title = if unit.is_empty() { args.tag.clone() } else { format!("{} ({unit})", args.tag) };
    let subtitle = subtitle(args, phase, &lines);
    print(&terminal(&format!("{title}: {subtitle}"), args.x.label(), &lines, &legend)?);
    if kinds.iter().any(|kind| kind.real) {
        print(&format!("{REAL_DATA}\n"));
    }
    if let Some(path) = &args.svg {
        write_atomic(path, figure(&title, &subtitle, args.x.label(), &lines, &legend)?.as_bytes())?;
        print(&format!("{}\n", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// From the run's outcome, else from its configuration.
fn kind_of(run: &Chosen, experiment: &str) -> Kind {
    let experiment = experiment.to_owned();
    if let Some(summary) = &run.summary {
        let (protocol, dataset) = (summary.protocol.clone(), summary.dataset.clone());
        return Kind { experiment, protocol, dataset, real: summary.uses_real_data };
    }
    let text = std::fs::read_to_string(run.path.join("config.toml")).unwrap_or_default();
    let config: toml::Table = text.parse().unwrap_or_default();
    let word = |table: &str, key: &str| {
        config
            .get(table)
            .and_then(|table| table.get(key))
            .and_then(toml::Value::as_str)
            .unwrap_or("not known")
            .to_owned()
    };
    let limit = config.get("data").and_then(|data| data.get("limit")).and_then(toml::Value::as_integer);
    let dataset = word("data", "name");
    Kind {
        experiment,
        protocol: word("quant", "protocol"),
        dataset: limit.map_or_else(|| dataset.clone(), |limit| format!("{dataset} (first {limit})")),
        real: word("images", "source") == "real",
    }
}

/// Refuses what does not stand on one axis.
fn check(kinds: &[Kind], tag: &str) -> Result<(), Usage> {
    let differing = |value: fn(&Kind) -> &str| -> Option<String> {
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        for kind in kinds {
            found.entry(value(kind)).or_insert(&kind.experiment);
        }
        let words: Vec<String> = found.iter().map(|(value, experiment)| format!("`{value}` ({experiment})")).collect();
        (words.len() > 1).then(|| words.join(" and "))
    };
    if let Some(protocols) = differing(|kind| &kind.protocol) {
        return Err(Usage(format!(
            "these runs do not belong on one axis: their protocols are {protocols}, which keep other layers at 8 bit \
             and quantize at other places; plot runs of one protocol"
        )));
    }
    if ON_TEST_SET.contains(&tag)
        && let Some(datasets) = differing(|kind| &kind.dataset)
    {
        return Err(Usage(format!(
            "these runs do not belong on one axis: `{tag}` was measured on the test sets {datasets}, and accuracies \
             on two test sets are two measures; plot runs of one test set"
        )));
    }
    Ok(())
}

/// Why there is nothing to draw although the tag is known.
fn nothing(args: &PlotArgs, phase: Phase, runs: &[PlottedRun]) -> String {
    let tag = &args.tag;
    let with_tag = || runs.iter().flat_map(|run| &run.records).filter(|record| record.values.contains_key(tag));
    let phases: BTreeSet<Phase> = with_tag().map(|record| record.phase).collect();
    if !phases.contains(&phase) {
        let there: Vec<&str> = phases.into_iter().map(Phase::name).collect();
        return match there.is_empty() {
            true => unknown_tag(tag, runs.iter().flat_map(|run| &run.records)).to_string(),
            false => format!("--phase {phase}: `{tag}` has no values there, but in: {}", there.join(", ")),
        };
    }
    let finite = |value: Option<&f64>| value.is_some_and(|value| value.is_finite());
    if !with_tag().any(|record| record.phase == phase && finite(record.values.get(tag))) {
        return format!("`{tag}` is never finite in phase {phase}");
    }
    format!("phase {phase} has no epochs: use --x step or --x wall")
}

/// A line's name for people: without the experiment where there is one only.
fn named(line: &Line, several: bool) -> String {
    match line.name.split_once('/') {
        Some((_, method)) if !several => method.to_owned(),
        _ => line.name.clone(),
    }
}

/// The value at a line's right end, and what it is the mean of.
fn ending(line: &Line, unit: &str, open: Option<usize>) -> String {
    let last = line.places.last().map(|place| place.value);
    let text = match last {
        Some(stat) if unit == "%" => stat.text(2),
        Some(stat) => match stat.std {
            Some(std) => format!("{} ± {}", number(stat.mean), number(std)),
            None => number(stat.mean),
        },
        None => String::new(),
    };
    let seeds = match (line.runs, last.map_or(0, |stat| stat.n)) {
        (1, _) => String::new(),
        (runs, there) if there < runs => format!(" ({there} of {runs} seeds)"),
        (runs, _) => format!(" ({runs} seeds)"),
    };
    let open = open.map_or_else(String::new, |open| format!(", {open} not finished"));
    format!("{text}{seeds}{open}")
}

fn subtitle(args: &PlotArgs, phase: Phase, lines: &[Line]) -> String {
    let mut text = format!("phase {phase}");
    if lines.iter().any(|line| line.runs > 1) {
        text += ", mean over seeds";
    }
    if args.smooth > 1 {
        text += &format!(", each value the mean of the last {}", args.smooth);
    }
    text
}

/// The chart for the terminal, as wide as it is.
fn terminal(title: &str, x: &str, lines: &[Line], legend: &[String]) -> Result<String> {
    let stdout = std::io::stdout().is_terminal();
    let colour = stdout && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !colour && lines.len() > TerminalChart::MOST_LINES {
        let message = format!("{} lines are more than can be told apart: name fewer runs", lines.len());
        return Err(Usage(message).into());
    }
    let size = terminal_size().filter(|_| stdout);
    let (width, rows) = size.map_or(PLAIN, |(Width(width), Height(rows))| (usize::from(width), usize::from(rows)));
    let drawn: Vec<ChartLine> = lines
        .iter()
        .zip(legend)
        .map(|(line, name)| ChartLine {
            name: name.clone(),
            points: line.places.iter().map(|place| (place.x, place.value.mean)).collect(),
        })
        .collect();
    // Title, axis, its numbers and its name, the legend, and the prompt after it.
    let height = rows.saturating_sub(5 + lines.len()).clamp(8, 24);
    TerminalChart { title, x, lines: &drawn, width, height, colour }
        .render()
        .ok_or_else(|| anyhow!("the values are too far apart to draw"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(experiment: &str, protocol: &str, dataset: &str) -> Kind {
        Kind { experiment: experiment.into(), protocol: protocol.into(), dataset: dataset.into(), real: false }
    }

    #[test]
    fn protocols_share_no_axis_and_test_sets_only_where_they_do_not_matter() {
        let mixed = [kind("a", "gdfq", "cifar10"), kind("b", "brecq", "cifar10")];
        let text = check(&mixed, "loss/kl").unwrap_err().to_string();
        assert!(text.contains("`brecq` (b) and `gdfq` (a)") && text.contains("other layers at 8 bit"), "{text}");
        let sets = [kind("a", "gdfq", "cifar10"), kind("b", "gdfq", "cifar10 (first 40)")];
        assert!(check(&sets, "loss/kl").is_ok());
        assert!(check(&sets, "student/top1").unwrap_err().to_string().contains("two measures"));
    }

    #[test]
    fn an_unfinished_run_is_known_by_its_configuration() {
        let root = tempfile::tempdir().unwrap();
        let text = "[data]\nname = 'shapes10'\nlimit = 40\n[quant]\nprotocol = 'gdfq'\n[images]\nsource = 'real'\n";
        std::fs::write(root.path().join("config.toml"), text).unwrap();
        let run = Chosen { path: root.path().to_owned(), status: Status::Running, summary: None };
        let expected = Kind { real: true, ..kind("e", "gdfq", "shapes10 (first 40)") };
        assert_eq!(kind_of(&run, "e"), expected);
    }
}
