//! `blindfold exp`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Place, print, tell, typed};
use crate::config::{Experiment, Wishes, check_once};
use crate::pipeline::{Outcome, check_plugins, run_once};
use crate::record::{Console, Summary, compare};
use crate::teachers::strange_data;
use crate::{Project, Registry, Usage, interrupt};

/// Arguments of `exp`.
#[derive(Debug, Args)]
pub(super) struct ExpArgs {
    /// An experiment of configs/, or the path of a TOML file (also of a run's own config.toml).
    experiment: String,
    /// Only this method (repeatable).
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// Set a key of the configuration, such as quant.weight_bits=3 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The seed in place of the experiment's own.
    #[arg(long, allow_negative_numbers = true, value_parser = parse_seed, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds: 7, 1,2,5 or 1..5 (both ends included).
    #[arg(long, allow_negative_numbers = true)]
    seeds: Option<String>,
    /// Small sizes for a quick look: the experiment's [fast] table.
    #[arg(long)]
    fast: bool,
    /// The papers' sizes: the methods' [budget.full] tables.
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Move finished or half-finished runs of the same names aside and start over.
    #[arg(long)]
    fresh: bool,
    /// Print what would run, and stop.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn exp(registry: Registry, args: &ExpArgs) -> Result<ExitCode> {
    let project = Project::find(args.place.out.clone())?;
    let experiment = Experiment::read(&project, &args.experiment)?;
    let methods = if args.methods.is_empty() { experiment.methods().to_vec() } else { args.methods.clone() };
    let seeds = match (args.seed, &args.seeds) {
        (Some(seed), _) => vec![seed],
        (None, Some(text)) => parse_seeds(text)?,
        (None, None) => experiment.seeds().to_vec(),
    };
    check_once("--method", &methods)?;
    check_once("--seeds", &seeds)?;
    let wishes = Wishes { fast: args.fast, full: args.full, sets: &args.sets };
    let mut runs = Vec::new();
    for method in &methods {
        for &seed in &seeds {
            let mut config = experiment.resolve(&project, method, seed, wishes)?;
            check_plugins(&registry, &config)?;
            rename(&mut config.experiment.name, wishes);
            runs.push(config);
        }
    }
    if args.dry_run {
        for config in &runs {
            print(&format!("{} {} seed {}\n", config.experiment.name, config.method.name, config.seed));
        }
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::listen();
    let console = Console::stderr();
    let context = args.place.context(registry, console.clone())?;
    console.line(&format!(
        "{}: {} ({} runs on {})",
        experiment.name(),
        experiment.summary(),
        runs.len(),
        context.device.name
    ));
    let strange: BTreeSet<String> =
        runs.iter().filter_map(|config| strange_data(&config.teacher, &config.data.name)).collect();
    strange.iter().for_each(|what| tracing::warn!("{what}"));
    let overrides = typed();
    let mut finished: Vec<Summary> = Vec::new();
    let mut unmeasured = None;
    let mut last = None;
    let mut failed = None;
    for config in &runs {
        if interrupt::asked() {
            return Ok(stopped(&overrides));
        }
        // A control that lacks its data does not keep the data-free methods from running, unless it was asked for by name.
        if args.methods.is_empty()
            && let Some(missing) = context.lacks_real_images(config)?
        {
            console.line(&format!("left out: {} (uses real data): {missing}", config.method.name));
            continue;
        }
        match run_once(&context, config, &overrides.join(" "), args.fresh) {
            Ok(Outcome::Finished(path, summary)) => {
                if !summary.accuracy_measured {
                    unmeasured = summary.accuracy_note.clone();
                }
                finished.push(*summary);
                last = Some(path);
            }
            Ok(Outcome::Interrupted(path)) => {
                tell(&format!("stopped; {} is kept", path.display()));
                return Ok(stopped(&overrides));
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let published = experiment.published().iter();
    let published =
        published.map(|(method, figure)| ((experiment.name().to_owned(), method.clone()), figure.clone())).collect();
    for table in compare(&finished, &published)? {
        print(&format!("\n{}\n", table.to_markdown()));
    }
    if let Some(note) = unmeasured {
        tell(&format!("\naccuracy was not measured: {note}"));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(path) = last {
        print(&format!("{}\n", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs whose configuration was changed on the command line do not lie among the experiment's own.
pub(super) fn rename(name: &mut String, wishes: Wishes<'_>) {
    let Wishes { fast, full, sets } = wishes;
    if fast {
        name.push_str("+fast");
    }
    if full {
        name.push_str("+full");
    }
    let mut sets: Vec<String> = sets
        .iter()
        .map(|set| set.chars().filter(|c| !c.is_whitespace()).map(|c| if c == '/' { '_' } else { c }).collect())
        .collect();
    sets.sort();
    for set in sets {
        name.push('+');
        name.push_str(&set);
    }
    crate::study::shorten(name);
}

pub(super) fn stopped(arguments: &[String]) -> ExitCode {
    tell(&format!("to go on, type the same again:\n  {}", again(arguments)));
    ExitCode::from(1)
}

/// The command that goes on: the same arguments, quoted for a shell, without `--fresh`.
pub(super) fn again(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=,:+-".contains(c);
    let quote = |argument: &String| match argument.chars().all(plain) && !argument.is_empty() {
        true => argument.clone(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    };
    arguments.iter().filter(|argument| *argument != "--fresh").map(quote).collect::<Vec<_>>().join(" ")
}

/// A seed of the command line. Made for clap, with `allow_negative_numbers`: it would take `-1` for an option.
pub(super) fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a whole number, 0 or more".to_owned())
}

/// `7`, `1,2,5`, `1..5` and `1..=5`: ranges include both ends.
fn parse_seeds(text: &str) -> Result<Vec<u64>> {
    let wrong = || Usage(format!("--seeds {text}: write 7, 1,2,5 or 1..5 (both ends included)"));
    let mut seeds = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => seeds.push(part.trim().parse().map_err(|_| wrong())?),
            Some((from, to)) => {
                let from: u64 = from.trim().parse().map_err(|_| wrong())?;
                let to: u64 = to.trim().trim_start_matches('=').parse().map_err(|_| wrong())?;
                if from > to || to - from >= 1000 {
                    return Err(wrong().into());
                }
                seeds.extend(from..=to);
            }
        }
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_goes_on_is_quoted_and_does_not_start_over() {
        let arguments = ["blindfold", "exp", "x", "--fresh", "--set", "a={ b = 'c' }"].map(str::to_owned);
        assert_eq!(again(&arguments), r"blindfold exp x --set 'a={ b = '\''c'\'' }'");
    }

    #[test]
    fn seeds_are_single_listed_or_a_range_with_both_ends() {
        assert_eq!(parse_seeds("7").unwrap(), [7]);
        assert_eq!(parse_seeds("1,2,5").unwrap(), [1, 2, 5]);
        assert_eq!(parse_seeds("1..3").unwrap(), [1, 2, 3]);
        assert_eq!(parse_seeds("1..=3,9").unwrap(), [1, 2, 3, 9]);
        for wrong in ["", "a", "3..1", "1..999999999999", "1.5"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }
}
