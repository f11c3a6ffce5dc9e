//! The command line.

mod analyze;
mod bench;
mod bounds;
mod compare;
mod completions;
mod config;
mod data;
mod describe;
mod doctor;
mod exp;
mod list;
mod method_page;
mod new;
mod plot;
mod rebuild;
mod report;
mod selection;
mod streams;
mod study;
mod tables;
mod tags;
mod teacher;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::streams::{lost, print, printed, tell};
use crate::causes::with_causes;
use crate::data::DataHome;
use crate::pipeline::{Context, log::RunLogWriter};
use crate::record::Console;
use crate::usage::{advice, is_usage};
use crate::{Project, Registry, device};

/// Data-free quantization: every image source x quantizer x fitting step x protocol, from one TOML file.
///
/// Exit codes: 0 done, 1 the run failed, 2 the input was wrong. Results go to stdout, progress to stderr.
#[derive(Debug, Parser)]
#[command(name = "blindfold", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment: all of its methods and seeds, or those named.
    Exp(exp::ExpArgs),
    /// List experiments, methods or the members of a plugin family.
    List(list::ListArgs),
    /// Describe an experiment, a method or a plugin: summary, source, keys with defaults.
    Describe(describe::DescribeArgs),
    /// Print the resolved configuration of a run, or the JSON schema of the files.
    Config(config::ConfigArgs),
    /// Data sets: list, fetch, verify, where.
    Data(data::DataArgs),
    /// Teachers: list, verify, fetch, train, convert.
    Teacher(teacher::TeacherArgs),
    /// Which layer costs how much, weights or activations: error analysis of one run.
    Analyze(analyze::AnalyzeArgs),
    /// How far the quantized network can be from its teacher: guaranteed, estimated and measured.
    Bounds(bounds::BoundsArgs),
    /// A table of finished runs.
    Compare(compare::CompareArgs),
    /// A metric over time, in the terminal and as SVG.
    Plot(plot::PlotArgs),
    /// One page of HTML about a run, finished or not, that opens without network.
    Report(report::ReportArgs),
    /// Run a study: methods x bits x seeds, its tables and figure.
    Study(study::StudyArgs),
    /// Write the leaderboard, and from it results/tables/ and every study's page, tables and figures.
    Tables(tables::TablesArgs),
    /// Make TensorBoard events and metrics.csv of run folders anew from their metrics.jsonl.
    Rebuild(rebuild::RebuildArgs),
    /// Time the engine: evaluation, one ZeroQ step, one distillation step of ResNet-20.
    Bench(bench::BenchArgs),
    /// Show devices, folders, data and what is missing.
    Doctor(doctor::DoctorArgs),
    /// Write a plugin from its template, inside Blindfold's own repository.
    New(new::NewArgs),
    /// Print a shell's completion script.
    Completions(completions::CompletionsArgs),
}

/// Where to compute and where to write.
#[derive(Debug, Clone, Args)]
struct Place {
    /// The device: flex, wgpu, wgpu:1, wgpu:software or ndarray, as far as they are built in [default: the first built in].
    #[arg(long)]
    device: Option<String>,
    /// The results folder [default: results/ of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Place {
    fn context(&self, registry: Registry, console: Console) -> Result<Context> {
        let project = Project::find(self.out.clone())?;
        let home = DataHome::from_environment()?;
        let device = device::select(self.device.as_deref())?;
        Ok(Context::new(registry, project, home, device, console))
    }
}

/// Runs the program with these plugins and the process's arguments.
///
/// It runs on a thread of rayon's pool: from outside, each of the many short loops of a step would wake a thread of the pool, and wait.
pub fn run(registry: Registry) -> ExitCode {
    // A program that has made the pool already keeps its own.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
    rayon::scope(|_| run_with(registry, std::env::args_os()))
}

/// Bytes of stack of each thread: as much as a main thread has.
const STACK: usize = 8 << 20;

fn run_with(registry: Registry, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            if let Err(error) = error.print() {
                lost(error);
            }
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return match printed() {
                Err(error) if code == 0 => {
                    tell(&format!("error: {error}"));
                    ExitCode::from(1)
                }
                _ => ExitCode::from(code),
            };
        }
    };
    let file = tracing_subscriber::fmt::layer().with_writer(RunLogWriter).with_ansi(false).with_target(false);
    // tiny_skia warns of lines without length, which it rightly leaves out.
    let screen = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time().with_target(false);
    let _ = tracing_subscriber::registry()
        .with(file.with_filter(LevelFilter::INFO))
        .with(
            screen
                .with_filter(Targets::new().with_default(LevelFilter::WARN).with_target("tiny_skia", LevelFilter::OFF)),
        )
        .try_init();
    let result = match cli.command {
        Command::Exp(args) => exp::exp(registry, &args),
        Command::List(args) => list::list(&registry, &args),
        Command::Describe(args) => describe::describe(&registry, &args),
        Command::Config(args) => config::config(&registry, &args),
        Command::Data(args) => data::data(&registry, &args),
        Command::Teacher(args) => teacher::teacher(registry, &args),
        Command::Analyze(args) => analyze::analyze(registry, &args),
        Command::Bounds(args) => bounds::bounds(registry, &args),
        Command::Compare(args) => compare::compare_runs(&args),
        Command::Plot(args) => plot::plot_runs(&args),
        Command::Report(args) => report::report_run(&args),
        Command::Study(args) => study::study(registry, &args),
        Command::Tables(args) => tables::tables(&args),
        Command::Rebuild(args) => rebuild::rebuild(&registry, &args),
        Command::Bench(args) => bench::bench(registry, &args),
        Command::Doctor(args) => doctor::doctor(&registry, &args),
        Command::New(args) => new::new(&registry, &args),
        Command::Completions(args) => completions::completions(Cli::command(), &args),
    };
    match result.and_then(|code| printed().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            let advice = advice(&error).map(|advice| format!("; {advice}")).unwrap_or_default();
            tell(&format!("error: {}{advice}", with_causes(&error)));
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// The command line as it was typed, for records and advice; what is not UTF-8 in it is shown with replacement
/// characters.
fn typed() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}
