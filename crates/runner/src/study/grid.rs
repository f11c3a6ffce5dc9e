//! Every cell of a study, and how far it is.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::{Cell, Entry, Ledger, Selection, Study};
use crate::Usage;
use crate::config::RunConfig;
use crate::pipeline::{CacheSlot, Context, image_slots, ledger_identity};
use crate::record::Summary;

/// A cell with what it came to: what tables and figures are made from.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is run.
    pub cell: Cell,
    /// The hash that the ledger knows its outcome by.
    pub identity: String,
    /// Its line of the ledger, where it is finished.
    pub entry: Option<Entry>,
}

impl Row {
    /// Its outcome, where it is finished.
    pub fn summary(&self) -> Option<&Summary> {
        self.entry.as_ref().map(|entry| &entry.summary)
    }
}

/// How far a cell is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is in the ledger.
    Done,
    /// It is still to run, and all its images are in the cache.
    Cached,
    /// A living process has claimed it.
    Running(String),
    /// It is still to run, and its images are still to be made.
    Missing,
}

/// All rows of a study, in its order.
pub(crate) struct Grid<'a> {
    context: &'a Context,
    study: &'a Study,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

impl<'a> Grid<'a> {
    /// The rows of a study with what its ledger says of them.
    pub(crate) fn of(context: &'a Context, study: &'a Study) -> Result<Self> {
        let cells = study.cells(&context.project)?.into_iter();
        let rows = cells.map(|cell| Ok(Row { identity: ledger_identity(context, &cell.config)?, cell, entry: None }));
        let mut grid = Self { context, study, rows: rows.collect::<Result<_>>()? };
        grid.refresh()?;
        Ok(grid)
    }

    /// Takes in what the ledger says now.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        let ledger = Ledger::open(&self.study.ledger())?;
        for row in &mut self.rows {
            row.entry = ledger.find(&row.identity).cloned();
        }
        Ok(())
    }

    /// The rows that are wanted and still to be run.
    pub(crate) fn open(&self, selection: &Selection) -> Vec<&Row> {
        let open = |row: &&Row| is_open(self.context, &row.cell.config, row.entry.as_ref());
        self.rows.iter().filter(|row| selection.wants(&row.cell)).filter(open).collect()
    }

    /// Whether any cell is wanted.
    ///
    /// # Errors
    /// With what there is, where none is.
    pub(crate) fn check(&self, selection: &Selection) -> Result<(), Usage> {
        if self.rows.iter().any(|row| selection.wants(&row.cell)) {
            return Ok(());
        }
        let seeds: BTreeSet<u64> = self.rows.iter().map(|row| row.cell.config.seed).collect();
        let seeds = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let (name, cells) = (&self.study.name, self.rows.len());
        Err(Usage(format!(
            "study {name}: none of its {cells} cells is all that was asked for; its seeds are {seeds}: ask for less \
             at once, or see all cells with `blindfold study {name} --dry-run`"
        )))
    }

    /// A line a cell with its state, and how many there are of each.
    pub(crate) fn text(&self, selection: &Selection) -> Result<String> {
        let mut text = String::new();
        let mut counts: [(&str, usize); 4] = [("done", 0), ("cached", 0), ("running", 0), ("missing", 0)];
        for row in self.rows.iter().filter(|row| selection.wants(&row.cell)) {
            let (at, note) = match self.state(row).with_context(|| row.cell.words())? {
                State::Done => (0, String::new()),
                State::Cached => (1, String::new()),
                State::Running(holder) => (2, format!("  ({holder})")),
                State::Missing => (3, String::new()),
            };
            counts[at].1 += 1;
            let cell = &row.cell;
            let (experiment, seed) = (&cell.config.experiment.name, cell.config.seed);
            text += &format!("{:<8} {experiment} {} seed {seed}{note}\n", counts[at].0, cell.method);
        }
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        text += &format!("{total} cells: {}\n", counts.join(", "));
        Ok(text)
    }

    fn state(&self, row: &Row) -> Result<State> {
        if !is_open(self.context, &row.cell.config, row.entry.as_ref()) {
            return Ok(State::Done);
        }
        if let Some(holder) = self.study.claims().holder(&row.identity)? {
            return Ok(State::Running(holder));
        }
        let filled = image_slots(self.context, &row.cell.config)?.iter().all(CacheSlot::is_filled);
        Ok(if filled { State::Cached } else { State::Missing })
    }
}

/// Whether a cell is still to be run: it has no line, or one without the accuracy that can be measured here.
pub(crate) fn is_open(context: &Context, config: &RunConfig, entry: Option<&Entry>) -> bool {
    entry.is_none_or(|entry| {
        !entry.summary.accuracy_measured && context.test_set(&config.data).is_ok_and(|test| test.is_ok())
    })
}
