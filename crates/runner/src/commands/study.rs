//! `blindfold study`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{Place, print};
use crate::pipeline::{Outcome, ledger_identity, run_once};
use crate::record::{Console, RunFolder, write_atomic};
use crate::study::{Cell, Ledger, Study, figure, fill, report, study_names};
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
    /// At most this seed.
    #[arg(long, value_name = "N")]
    max_seed: Option<u64>,
    /// The list of studies as JSON.
    #[arg(long, conflicts_with = "study")]
    json: bool,
    /// Print what would run, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Run nothing: write the tables and the figure of what is finished.
    #[arg(long)]
    tables: bool,
    /// Move runs of another configuration aside and do them again.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn study(registry: Registry, args: &StudyArgs) -> Result<ExitCode> {
    let project = Project::find(args.place.out.clone())?;
    let Some(name) = &args.study else {
        let read = |name: String| Study::read(&project, &name).map(|study| (name, study.summary));
        let studies: Vec<(String, String)> = study_names(&project)?.into_iter().map(read).collect::<Result<_>>()?;
        if args.json {
            let rows: Vec<_> =
                studies.iter().map(|(name, summary)| serde_json::json!({ "name": name, "summary": summary })).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
            return Ok(ExitCode::SUCCESS);
        }
        for (name, summary) in studies {
            print(&format!("{name}  {summary}\n"));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let study = Study::read(&project, name)?;
    for (asked, known, what) in [
        (&args.methods, &study.methods, "method"),
        (&args.bits, &study.bits, "bits"),
        (&args.protocols, &study.protocols, "protocol"),
    ] {
        if let Some(stranger) = asked.iter().find(|name| !known.contains(name)) {
            return Err(Usage(format!("--{what} {stranger}: the study has: {}", known.join(", "))).into());
        }
    }
    interrupt::listen();
    let console = Console::stderr();
    let context = args.place.context(registry, console.clone())?;
    let mut ledger = Ledger::open(&study.ledger())?;
    let cells: Vec<(Cell, String)> = study
        .cells(&project, false)?
        .into_iter()
        .map(|cell| Ok((cell.clone(), ledger_identity(&context, &cell.config)?)))
        .collect::<Result<_>>()?;
    let wanted = |names: &[String], name: &String| names.is_empty() || names.contains(name);
    let open: Vec<&(Cell, String)> = cells
        .iter()
        .filter(|(cell, hash)| {
            wanted(&args.methods, &cell.method)
                && wanted(&args.bits, &cell.bits)
                && wanted(&args.protocols, &cell.protocol)
                && args.max_seed.is_none_or(|most| cell.config.seed <= most)
                && ledger.find(hash).is_none_or(|entry| {
                    !entry.summary.accuracy_measured && context.test_set(&cell.config.data).is_ok_and(|set| set.is_ok())
                })
        })
        .collect();
    console.line(&format!("{}: {} runs, {} to do", study.name, cells.len(), open.len()));
    if args.dry_run {
        for (cell, _) in open {
            print(&format!("{} {} seed {}\n", cell.config.experiment.name, cell.method, cell.config.seed));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let arguments: Vec<String> = std::env::args().collect();
    let mut failed = Vec::new();
    let mut stopped = false;
    for (index, (cell, hash)) in open.iter().enumerate().take_while(|_| !args.tables) {
        let what = format!("{} / {} / seed {}", cell.config.experiment.name, cell.method, cell.config.seed);
        if args.methods.is_empty()
            && let Some(missing) = context.lacks_real_images(&cell.config)?
        {
            console.line(&format!("left out: {} (uses real data): {missing}", cell.method));
            continue;
        }
        console.line(&format!("[{}/{}] {what}", index + 1, open.len()));
        match run_once(&context, &cell.config, &arguments.join(" "), args.fresh) {
            Ok(Outcome::Finished(path, summary)) => ledger.add(hash, *summary, &RunFolder::read_info(&path)?)?,
            Ok(Outcome::Interrupted(_)) => {
                stopped = true;
                break;
            }
            Err(error) => {
                console.line(&format!("failed: {what}: {error:#}"));
                failed.push(format!("{what}: {error:#}"));
            }
        }
    }
    write(&study, &cells, &ledger)?;
    if stopped {
        return Ok(super::exp::stopped(&arguments));
    }
    print(&format!("{}\n", study.page().display()));
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => anyhow::bail!("{} runs failed; the others are kept:\n{}", failed.len(), failed.join("\n")),
    }
}

fn write(study: &Study, cells: &[(Cell, String)], ledger: &Ledger) -> Result<()> {
    let page = study.page();
    let old = match page.is_file() {
        true => std::fs::read_to_string(&page).with_context(|| page.display().to_string())?,
        false => format!("# {}\n\n{}\n", study.name, study.summary),
    };
    write_atomic(&page, fill(&old, &report(study, cells, ledger)?)?.as_bytes())?;
    for protocol in &study.protocols {
        if let Some(picture) = figure(study, protocol, cells, ledger)? {
            write_atomic(&study.picture(protocol), picture.as_bytes())?;
        }
    }
    Ok(())
}
