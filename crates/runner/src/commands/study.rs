//! `blindfold study`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum, value_parser};

use super::{Place, print, typed};
use crate::pipeline::Context;
use crate::record::Console;
use crate::study::{
    Children, Collection, Ended, Grid, Job, Launch, Row, Selection, Study, Tally, Worker, in_order, passes, show,
    study_names,
};
use crate::{Project, Registry, Usage, interrupt};

/// Arguments of `study`.
#[derive(Debug, Args)]
pub(super) struct StudyArgs {
    /// A folder under experiments/; without it the studies are listed.
    study: Option<String>,
    /// Only this method (repeatable).
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// Only this bit width, such as w4a4 (repeatable).
    #[arg(long = "bits", value_name = "BITS")]
    bits: Vec<String>,
    /// Only this protocol (repeatable).
    #[arg(long = "protocol", value_name = "NAME")]
    protocols: Vec<String>,
    /// Only these: names, or with their kind method=NAME, bits=BITS, protocol=NAME, seed=N and AXIS=VALUE of the study's
    /// own axes; of one kind any, of several kinds each. A name that is both, such as brecq, means the method; its
    /// protocol is protocol=brecq.
    #[arg(long, num_args = 1.., value_name = "NAME|KIND=NAME")]
    only: Vec<String>,
    /// At most this seed.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::exp::parse_seed)]
    max_seed: Option<u64>,
    /// The list of studies as JSON.
    #[arg(long, conflicts_with = "study")]
    json: bool,
    /// Print every cell of the grid and whether it is done, cached, running or missing, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Run so many cells at once, each in a process of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Hand the cells to a cluster instead: slurm submits job arrays, one task a cell; with --dry-run it shows them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["jobs", "tables", "collect", "cell"])]
    launcher: Option<Launcher>,
    /// At most so many tasks of a job array at once [default: study.slurm.throttle].
    #[arg(long, value_name = "N", requires = "launcher", value_parser = value_parser!(u32).range(1..))]
    throttle: Option<u32>,
    /// Run nothing: take finished runs that the ledger lacks into it, write the page, and say where the others are.
    #[arg(long, conflicts_with_all = ["jobs", "tables", "dry_run", "fresh", "cell"])]
    collect: bool,
    /// Small sizes for a quick look: the [fast] table; results and page go to studies/<name>+fast/ of the results
    /// folder.
    #[arg(long)]
    fast: bool,
    /// Run nothing: write the tables and the figure of what is finished.
    #[arg(long)]
    tables: bool,
    /// Move runs of another configuration aside and do them again.
    #[arg(long)]
    fresh: bool,
    /// Run this one cell, named as in its run folder, and print a line of JSON that says how it ended.
    #[arg(long, hide = true, value_name = "EXPERIMENT/METHOD/seed-N")]
    cell: Option<String>,
    /// Stop as on Ctrl-C when standard input ends.
    #[arg(long, hide = true, requires = "cell")]
    leash: bool,
    /// Wait for another process that has the cell, in case it has died on another machine.
    #[arg(long, hide = true, requires = "cell")]
    patient: bool,
    #[command(flatten)]
    place: Place,
}

/// Who runs the cells.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Launcher {
    /// Slurm's job arrays.
    Slurm,
}

pub(super) fn study(registry: Registry, args: &StudyArgs) -> Result<ExitCode> {
    let project = Project::find(args.place.out.clone())?;
    let Some(name) = &args.study else { return list(&project, args.json) };
    let study = Study::read(&project, name)?;
    let study = if args.fast { study.at_smoke_size(&project) } else { study };
    let selection = Selection::of(&study, &args.methods, &args.bits, &args.protocols)?
        .only(&study, &args.only)?
        .up_to(args.max_seed);
    interrupt::listen();
    let console = if args.cell.is_some() { Console::silent() } else { Console::stderr() };
    let context = args.place.context(registry, console)?;
    let arguments = typed();
    let overrides = arguments.join(" ");
    let worker = Worker { context: &context, study: &study, overrides: &overrides, fresh: args.fresh };
    if let Some(id) = &args.cell {
        return one(&worker, id, args);
    }
    let mut grid = Grid::of(&context, &study)?;
    grid.check(&selection)?;
    if args.collect {
        return collect(&context, &study, grid, &selection);
    }
    if let Some(Launcher::Slurm) = args.launcher {
        let jobs = jobs(&context, grid.open(&selection), selection.names_methods())?;
        return launch(args, &context, &study, jobs);
    }
    if args.dry_run {
        print(&grid.text(&selection)?);
        return Ok(ExitCode::SUCCESS);
    }
    let open = grid.open(&selection);
    context.console.line(&format!("{}: {} cells, {} to do", study.name, grid.rows.len(), open.len()));
    let mut tally = Tally::new(context.console.clone(), open.len());
    if !args.tables && !open.is_empty() {
        study.claims().check()?;
        let jobs = in_order(jobs(&context, open, selection.names_methods())?);
        match args.jobs {
            1 => passes(jobs, &mut tally, |jobs, tally| worker.pass(jobs, tally)),
            count => {
                let mut arguments = children_arguments(args, name);
                arguments.extend(args.fresh.then(|| OsString::from("--fresh")));
                let runs = project.runs();
                let children = Children { count: usize::from(count), arguments, runs };
                passes(jobs, &mut tally, |jobs, tally| children.pass(jobs, tally));
            }
        }
    }
    grid.refresh()?;
    show(&project, &study, &grid.rows)?;
    for taken in &tally.taken {
        context.console.line(&format!("left to another process: {taken}"));
    }
    if tally.is_stopped() {
        return Ok(super::exp::stopped(&arguments));
    }
    print(&format!("{}\n", study.page().display()));
    let failed = tally.failed.len();
    let halted = if tally.is_halted() { "; the study stops here, for every further run would fail alike" } else { "" };
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => anyhow::bail!("{failed} runs failed; the others are kept{halted}:\n{}", tally.failed.join("\n")),
    }
}

fn list(project: &Project, json: bool) -> Result<ExitCode> {
    let read = |name: String| Study::read(project, &name).map(|study| (name, study.summary));
    let studies: Vec<(String, String)> = study_names(project)?.into_iter().map(read).collect::<Result<_>>()?;
    if json {
        let rows: Vec<_> =
            studies.iter().map(|(name, summary)| serde_json::json!({ "name": name, "summary": summary })).collect();
        print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
        return Ok(ExitCode::SUCCESS);
    }
    for (name, summary) in studies {
        print(&format!("{name}  {summary}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be run. A control that lacks its data does not keep the data-free methods from running, unless it was
/// asked for by name.
fn jobs<'a>(context: &Context, open: Vec<&'a Row>, by_name: bool) -> Result<Vec<Job<'a>>> {
    let mut jobs = Vec::new();
    let mut told = BTreeSet::new();
    for row in open {
        let lacks = if by_name { None } else { context.lacks_real_images(&row.cell.config)? };
        match lacks {
            None => jobs.push(Job::of(context, row)?),
            Some(missing) => {
                if told.insert(&row.cell.method) {
                    context.console.line(&format!("left out: {} (uses real data): {missing}", row.cell.method));
                }
            }
        }
    }
    Ok(jobs)
}

/// Runs one cell for the process that shares out the study.
fn one(worker: &Worker<'_>, id: &str, args: &StudyArgs) -> Result<ExitCode> {
    if args.leash {
        interrupt::stop_with_stdin();
    }
    let grid = Grid::of(worker.context, worker.study)?;
    let Some(row) = grid.rows.iter().find(|row| row.cell.id() == id) else {
        let example = grid.rows.first().map(|row| row.cell.id()).unwrap_or_default();
        return Err(Usage(format!("--cell {id}: the study has no such cell; they are called such as {example}")).into());
    };
    let ended = if args.patient { worker.work_patiently(row) } else { worker.work(row) };
    print(&format!("{}\n", serde_json::to_string(&ended)?));
    match ended {
        Ended::Done { .. } | Ended::Known | Ended::Taken { .. } => Ok(ExitCode::SUCCESS),
        Ended::Stopped => Ok(ExitCode::from(1)),
        Ended::Failed { error, .. } => anyhow::bail!("{}: {error}", row.cell.words()),
    }
}

/// Hands the cells that are to be run to Slurm.
fn launch(args: &StudyArgs, context: &Context, study: &Study, jobs: Vec<Job<'_>>) -> Result<ExitCode> {
    let text = |argument: OsString| {
        let told = |argument: OsString| Usage(format!("{}: this name is not UTF-8", argument.display()));
        argument.into_string().map_err(told)
    };
    let launch = Launch {
        project: &context.project,
        study,
        console: &context.console,
        arguments: children_arguments(args, &study.name).into_iter().map(text).collect::<Result<_, _>>()?,
        throttle: args.throttle,
        fresh: args.fresh,
    };
    print(&if args.dry_run { launch.describe(jobs)? } else { launch.submit(jobs)? });
    Ok(ExitCode::SUCCESS)
}

/// Takes in what ran elsewhere.
fn collect(context: &Context, study: &Study, mut grid: Grid<'_>, selection: &Selection) -> Result<ExitCode> {
    study.claims().check()?;
    let collection = Collection::of(context, study, &mut grid, selection)?;
    collection.notes.iter().for_each(|note| context.console.line(note));
    show(&context.project, study, &grid.rows)?;
    print(&format!("{}{}\n", collection.text, study.page().display()));
    match collection.failed {
        0 => Ok(ExitCode::SUCCESS),
        failed => anyhow::bail!("{failed} cells failed; the others are kept, and launching again tries these again"),
    }
}

/// What each child is called with, its cell aside.
fn children_arguments(args: &StudyArgs, name: &str) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("study"), OsString::from(name)];
    arguments.extend(args.fast.then(|| OsString::from("--fast")));
    if let Some(device) = &args.place.device {
        arguments.extend([OsString::from("--device"), OsString::from(device)]);
    }
    if let Some(out) = &args.place.out {
        arguments.extend([OsString::from("--out"), OsString::from(out)]);
    }
    arguments
}
