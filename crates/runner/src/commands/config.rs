//! `blindfold config`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use toml::{Table, Value};

use super::print;
use crate::config::{Experiment, RunConfig, Wishes};
use crate::pipeline::check_plugins;
use crate::record::differences;
use crate::{Project, Registry, schema};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// An experiment of configs/, or the path of a TOML file.
    #[arg(required_unless_present = "schema")]
    experiment: Option<String>,
    /// The method; the experiment's first where none is given.
    #[arg(long)]
    method: Option<String>,
    /// Set a key (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The seed.
    #[arg(long, allow_negative_numbers = true, value_parser = super::exp::parse_seed)]
    seed: Option<u64>,
    /// With the [fast] table.
    #[arg(long)]
    fast: bool,
    /// With the method's full budget: its [budget.full] table.
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Only what differs from this experiment (or EXPERIMENT:METHOD).
    #[arg(long, value_name = "OTHER")]
    diff: Option<String>,
    /// Print the JSON schema of the files, with the keys of all plugins, for editors: configs/schema.json.
    #[arg(long, conflicts_with = "experiment")]
    schema: bool,
}

pub(super) fn config(registry: &Registry, args: &ConfigArgs) -> Result<ExitCode> {
    let Some(name) = &args.experiment else {
        print(&format!("{}\n", serde_json::to_string_pretty(&schema(registry))?));
        return Ok(ExitCode::SUCCESS);
    };
    let project = Project::find(None)?;
    let own = resolve(&project, name, args.method.as_deref(), args)?;
    check_plugins(registry, &own)?;
    let own = table(&own)?;
    match &args.diff {
        None => print(&toml::to_string_pretty(&own)?),
        Some(other) => {
            let (name, method) =
                other.split_once(':').map_or((other.as_str(), None), |(name, method)| (name, Some(method)));
            let experiment = Experiment::read(&project, name)?;
            let method = method.or(args.method.as_deref()).unwrap_or(&experiment.methods()[0]).to_owned();
            let seed = args.seed.unwrap_or(experiment.seeds()[0]);
            let other = table(&experiment.resolve(&project, &method, seed, Wishes::default())?)?;
            for difference in differences(&other, &own) {
                print(&format!("{difference}\n"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn resolve(project: &Project, name: &str, method: Option<&str>, args: &ConfigArgs) -> Result<RunConfig> {
    let experiment = Experiment::read(project, name)?;
    let method = method.unwrap_or(&experiment.methods()[0]).to_owned();
    let seed = args.seed.or(experiment.seeds().first().copied()).unwrap_or(1);
    experiment.resolve(project, &method, seed, Wishes { fast: args.fast, full: args.full, sets: &args.sets })
}

fn table(config: &RunConfig) -> Result<Table> {
    match Value::try_from(config)? {
        Value::Table(table) => Ok(table),
        _ => Ok(Table::new()),
    }
}
