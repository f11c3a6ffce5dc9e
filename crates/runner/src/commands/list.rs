//! `blindfold list`.

use std::process::ExitCode;

use anyhow::Result;
use blindfold_zoo::{Entry, catalogue};
use clap::{Args, ValueEnum};

use super::method_page::method_page;
use super::print;
use crate::config::{Experiment, experiment_names, method_names, read_method};
use crate::record::{GLOSSARY, glossary_markdown};
use crate::{Project, Registry, Usage};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to list.
    #[arg(value_enum, default_value = "experiments")]
    what: What,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Methods as the page docs/method-files.md: source, budgets and differences of each.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum What {
    Experiments,
    Methods,
    Teachers,
    Sources,
    Statistics,
    Priors,
    Generators,
    Augmentations,
    Losses,
    Quantizers,
    Learned,
    Ranges,
    Formats,
    Passes,
    Steps,
    Sensitivities,
    Architectures,
    Data,
    Sinks,
    /// Every logged tag with unit and direction, as the page docs/metrics.md.
    Metrics,
}

fn of<T: ?Sized>(entries: &[Entry<T>]) -> Vec<(String, String)> {
    entries.iter().map(|entry| (entry.name.to_owned(), entry.summary.to_owned())).collect()
}

pub(super) fn rows(registry: &Registry, what: What) -> Result<Vec<(String, String)>> {
    Ok(match what {
        What::Experiments => {
            let project = Project::find(None)?;
            let read = |name: String| Experiment::read(&project, &name).map(|e| (name, e.summary().to_owned()));
            experiment_names(&project)?.into_iter().map(read).collect::<Result<_>>()?
        }
        What::Methods => {
            let project = Project::find(None)?;
            let read = |name: String| read_method(&project, &name).map(|method| (name, method.summary));
            method_names(&project)?.into_iter().map(read).collect::<Result<_>>()?
        }
        What::Teachers => {
            let line = |card: &blindfold_zoo::TeacherCard| {
                format!("{} on {}, top-1 {:.2} %", card.architecture.kind, card.data, card.top1)
            };
            catalogue().iter().map(|(name, card)| (name.clone(), line(card))).collect()
        }
        What::Sources => of(registry.sources.entries()),
        What::Statistics => of(registry.statistics.entries()),
        What::Priors => of(registry.priors.entries()),
        What::Generators => of(registry.generators.entries()),
        What::Augmentations => of(registry.augmentations.entries()),
        What::Losses => of(registry.losses.entries()),
        What::Quantizers => of(registry.quant.quantizers.entries()),
        What::Learned => of(registry.quant.learned.entries()),
        What::Ranges => of(registry.quant.ranges.entries()),
        What::Formats => of(registry.quant.formats.entries()),
        What::Passes => of(registry.quant.passes.entries()),
        What::Steps => of(registry.quant.steps.entries()),
        What::Sensitivities => of(registry.quant.sensitivities.entries()),
        What::Architectures => of(registry.architectures.entries()),
        What::Data => of(registry.data_sets.entries()),
        What::Sinks => of(registry.sinks.entries()),
        What::Metrics => GLOSSARY.iter().map(|metric| (metric.tag.to_owned(), metric.meaning.to_owned())).collect(),
    })
}

pub(super) fn list(registry: &Registry, args: &ListArgs) -> Result<ExitCode> {
    if matches!(args.what, What::Metrics) && !args.json {
        print(&format!(
            "# Metrics\n\nEvery tag that a run logs; written by `blindfold list metrics`.\n\n{}",
            glossary_markdown()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if args.markdown {
        if !matches!(args.what, What::Methods) {
            let message = "`--markdown`: only methods have a page of this kind: write `list methods --markdown`";
            return Err(Usage(message.to_owned()).into());
        }
        print(&method_page(registry, &Project::find(None)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = rows(registry, args.what)?;
    if args.json {
        let rows: Vec<_> =
            rows.iter().map(|(name, summary)| serde_json::json!({ "name": name, "summary": summary })).collect();
        print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
        return Ok(ExitCode::SUCCESS);
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let text: String = rows.iter().map(|(name, summary)| format!("{name:width$}  {summary}\n")).collect();
    print(&text);
    Ok(ExitCode::SUCCESS)
}
