//! Every file that is made from the leaderboard.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::experiments::experiment_tables;
use super::leaderboard::Leaderboard;
use super::reference::reference_tables;
use super::row::BoardRow;
use super::settings::{agree, settings};
use crate::Project;
use crate::record::{Summary, write_atomic};
use crate::study::{Cell, Showing, Study, showing, study_names};

/// Texts with their paths, and studies with their figures.
#[derive(Debug)]
pub(crate) struct Documents {
    tables: Vec<(PathBuf, String)>,
    studies: Vec<Showing>,
}

/// All of them, without the studies where the results folder is not the repository's own: their pages lie outside of
/// it. Curves of studies are taken from the run folders below `runs` where those are there, else as they were kept.
///
/// # Errors
/// A study, an experiment or a reference that cannot be read.
pub(crate) fn documents(project: &Project, board: &Leaderboard, runs: Option<&Path>) -> Result<Documents> {
    let folder = project.results().join("tables");
    let tables = experiment_tables(project, board)?.into_iter().chain(reference_tables(project, board)?);
    let tables = tables.map(|(name, text)| (folder.join(format!("{name}.md")), text)).collect();
    let mut studies = Vec::new();
    let names = if project.has_own_results() { study_names(project)? } else { Vec::new() };
    for name in names {
        let study = Study::read(project, &name)?;
        let cells = study.cells(project)?;
        let filled: Vec<(&Cell, Option<Summary>)> = cells
            .iter()
            .map(|cell| Ok((cell, outcome(board, &study, cell)?.map(|row| row.summary.clone()))))
            .collect::<Result<_>>()?;
        studies.push(showing(&study, &filled, runs).with_context(|| format!("study {name}"))?);
    }
    Ok(Documents { tables, studies })
}

/// The run of a cell, unless it was computed with other settings than the study has now.
fn outcome<'a>(board: &'a Leaderboard, study: &Study, cell: &Cell) -> Result<Option<&'a BoardRow>> {
    let Some(row) = board.find(&study.name, &cell.config.experiment.name, &cell.method, cell.config.seed) else {
        return Ok(None);
    };
    let asked = match Value::try_from(&cell.config).context("the configuration cannot be written as TOML")? {
        Value::Table(table) => settings(&table),
        _ => settings(&Table::new()),
    };
    Ok(agree(&row.config, &asked).then_some(row))
}

impl Documents {
    /// Every text by its path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        let tables = self.tables.iter().map(|(path, text)| (path.clone(), text.as_str()));
        tables.chain(self.studies.iter().flat_map(Showing::texts))
    }

    /// Writes all of them, and the figures of studies.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        for (path, text) in &self.tables {
            write_atomic(path, text.as_bytes())?;
        }
        self.studies.iter().try_for_each(Showing::write)
    }

    /// The texts that are not on disk as they should be.
    pub(crate) fn differing(&self) -> Vec<PathBuf> {
        let differs = |path: &Path, text: &str| std::fs::read_to_string(path).map_or(true, |found| found != text);
        self.texts().filter(|(path, text)| differs(path, text)).map(|(path, _)| path).collect()
    }
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
