//! Rows from the ledgers of studies and from run folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use toml::Table;

use super::leaderboard::{Leaderboard, same_outcome};
use super::row::{BoardRow, Origin};
use super::settings::settings;
use crate::Project;
use crate::record::{RunFolder, Summary, gather};
use crate::study::{Entry, Ledger, Study, study_names};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Runs of ledgers.
    pub(crate) in_ledgers: usize,
    /// Runs of run folders.
    pub(crate) in_folders: usize,
    /// What was left out, with the reason.
    pub(crate) left_out: Vec<String>,
}

/// Puts every run of every study's ledger on the board, with what its folder below `runs` says beside. Runs of studies
/// that no ledger has any more leave it.
///
/// # Errors
/// A study or a ledger that cannot be read.
pub(crate) fn take_ledgers(project: &Project, runs: &Path, board: &mut Leaderboard, found: &mut Found) -> Result<()> {
    let mut keys = BTreeSet::new();
    for name in study_names(project)? {
        let study = Study::read(project, &name)?;
        let ledger = Ledger::open(&study.ledger())?;
        // Of several runs of one cell, with settings that have changed since, the last counts.
        let key = |run: &Summary| (run.experiment.clone(), run.method.clone(), run.seed);
        let last: BTreeMap<_, &Entry> = ledger.entries().iter().map(|entry| (key(&entry.summary), entry)).collect();
        for (key, entry) in last {
            keys.insert(key);
            let summary = entry.summary.clone();
            let folder = RunFolder::path_of(runs, &summary.experiment, &summary.method, summary.seed);
            let origin = Origin {
                config_sha256: Some(entry.config_sha256.clone()),
                commit: entry.commit.clone(),
                blindfold: Some(entry.blindfold.clone()),
                ..Origin::default()
            };
            let mut row = BoardRow { study: Some(name.clone()), summary, origin, ..BoardRow::default() };
            if folder.join("summary.json").is_file() {
                let ran = of_folder(&folder)?;
                if same_outcome(&row, &ran) {
                    row = BoardRow { study: row.study, origin: row.origin.or(ran.origin.clone()), ..ran };
                }
            }
            board.put(row);
            found.in_ledgers += 1;
        }
    }
    board.leave_studies(|run| keys.contains(&(run.experiment.clone(), run.method.clone(), run.seed)));
    Ok(())
}

/// Puts the finished runs below a folder on the board, those of which `wanted` holds by the name of their experiment.
/// Runs of studies are left to their ledgers.
///
/// # Errors
/// A folder or a file of a run that cannot be read.
pub(crate) fn take_runs(
    project: &Project,
    folder: &Path,
    wanted: &dyn Fn(&str) -> bool,
    board: &mut Leaderboard,
    found: &mut Found,
) -> Result<()> {
    let studies: Vec<Study> =
        study_names(project)?.iter().map(|name| Study::read(project, name)).collect::<Result<_>>()?;
    let of_study = |experiment: &str| {
        let begins = |study: &Study, protocol: &String| experiment.starts_with(&format!("{}-{protocol}-", study.name));
        studies.iter().any(|study| study.protocols.iter().any(|protocol| begins(study, protocol)))
    };
    let mut others = BTreeSet::new();
    for (path, summary) in gather(folder)?.runs {
        if of_study(&summary.experiment) {
            continue;
        }
        if !wanted(&summary.experiment) {
            others.insert(summary.experiment);
            continue;
        }
        board.put(of_folder(&path)?);
        found.in_folders += 1;
    }
    if !others.is_empty() {
        let names = others.into_iter().collect::<Vec<_>>().join(", ");
        found.left_out.push(format!("{}: experiments that configs/ does not have ({names})", folder.display()));
    }
    Ok(())
}

/// The row of a finished run's folder.
fn of_folder(path: &Path) -> Result<BoardRow> {
    let mut summary = RunFolder::read_summary(path)?;
    let info = RunFolder::read_info(path)?;
    summary.image_seconds = summary.image_seconds.or(info.wall_seconds.get("synth").copied());
    let file = path.join("config.toml");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let config: Table = text.parse().with_context(|| file.display().to_string())?;
    if summary.size_bytes.is_none() {
        // Runs of before the summary had it.
        summary.size_bytes = std::fs::read_to_string(path.join("audit.md")).ok().and_then(|audit| audited_size(&audit));
    }
    let origin = Origin {
        config_sha256: Some(info.config_sha256),
        device: Some(info.device),
        commit: info.git.map(|git| git.sha),
        blindfold: Some(info.versions.blindfold),
        burn: Some(info.versions.burn),
        rust: Some(info.versions.rust),
    };
    Ok(BoardRow { summary, origin, config: settings(&config), ..BoardRow::default() })
}

/// The size below the table of an audit: `Parameters: 1084392 bytes in fp32, 150800 bytes quantized (..`.
fn audited_size(audit: &str) -> Option<u64> {
    let line = audit.lines().find_map(|line| line.strip_prefix("Parameters: "))?;
    line.split_once("fp32, ")?.1.split_once(" bytes quantized")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_from_an_audit() {
        let text = "| layer |\n|---|\n\nParameters: 1084392 bytes in fp32, 150800 bytes quantized (packed), 7.19 times smaller.\n";
        assert_eq!((audited_size(text), audited_size("| layer |\n")), (Some(150_800), None));
    }
}
