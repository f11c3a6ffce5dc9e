//! `blindfold describe`.

use std::process::ExitCode;

use anyhow::Result;
use blindfold_zoo::{ConfigError, Family, catalogue, find_teacher};
use clap::{Args, ValueEnum};

use super::print;
use crate::config::{Experiment, read_method, read_method_table};
use crate::{Project, Registry};

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The kind of thing.
    #[arg(value_enum)]
    what: What,
    /// Its name.
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Experiment,
    Method,
    Teacher,
    Source,
    Statistics,
    Prior,
    Generator,
    Augmentation,
    Loss,
    Quantizer,
    Learned,
    Range,
    Format,
    Pass,
    Step,
    Sensitivity,
    Architecture,
    Data,
    Sink,
}

fn of<T: ?Sized>(family: &Family<T>, name: &str) -> Result<String, ConfigError> {
    let entry = family.get(name)?;
    let defaults = toml::to_string_pretty(&(entry.defaults)()).unwrap_or_default();
    let keys = if defaults.is_empty() {
        "it has no keys\n".to_owned()
    } else {
        format!("keys with their defaults:\n\n{defaults}")
    };
    Ok(format!("{} `{}`: {}\nsource: {}\n{keys}", family.name(), entry.name, entry.summary, entry.source))
}

pub(super) fn describe(registry: &Registry, args: &DescribeArgs) -> Result<ExitCode> {
    let name = args.name.as_str();
    let text = match args.what {
        What::Experiment => {
            let experiment = Experiment::read(&Project::find(None)?, name)?;
            let mut text = format!(
                "experiment `{}`: {}\nmethods: {}\nseeds: {:?}\n",
                experiment.name(),
                experiment.summary(),
                experiment.methods().join(", "),
                experiment.seeds()
            );
            for (method, published) in experiment.published() {
                text += &format!("published drop of {method}: {:.2} ({})\n", published.drop, published.source);
            }
            text
        }
        What::Method => {
            let project = Project::find(None)?;
            let method = read_method(&project, name)?;
            let mut table = read_method_table(&project, name)?;
            table.remove("method");
            let mut text = format!("method `{}`: {}\nsource: {}\n", method.name, method.summary, method.source);
            for difference in &method.differences {
                text += &format!("difference: {difference}\n");
            }
            text + "\nits parts:\n\n" + &toml::to_string_pretty(&table)?
        }
        What::Teacher => {
            let card = find_teacher(name)?;
            debug_assert!(catalogue().contains_key(name));
            format!("teacher `{name}`\n{}", toml::to_string_pretty(&card)?)
        }
        What::Source => of(&registry.sources, name)?,
        What::Statistics => of(&registry.statistics, name)?,
        What::Prior => of(&registry.priors, name)?,
        What::Generator => of(&registry.generators, name)?,
        What::Augmentation => of(&registry.augmentations, name)?,
        What::Loss => of(&registry.losses, name)?,
        What::Quantizer => of(&registry.quant.quantizers, name)?,
        What::Learned => of(&registry.quant.learned, name)?,
        What::Range => of(&registry.quant.ranges, name)?,
        What::Format => of(&registry.quant.formats, name)?,
        What::Pass => of(&registry.quant.passes, name)?,
        What::Step => of(&registry.quant.steps, name)?,
        What::Sensitivity => of(&registry.quant.sensitivities, name)?,
        What::Architecture => of(&registry.architectures, name)?,
        What::Data => of(&registry.data_sets, name)?,
        What::Sink => {
            let metric = crate::record::describe(name);
            match metric {
                Some(metric) => format!("metric `{}`: {}\n", metric.tag, metric.meaning),
                None => of(&registry.sinks, name)?,
            }
        }
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}
