//! How a study goes on: what is told while it runs, and what is left at its end.

use std::time::Duration;

use super::{Ended, Job, Row};
use crate::record::Console;

/// What came of the cells so far.
pub(crate) struct Tally {
    console: Console,
    total: usize,
    ended: usize,
    stopped: bool,
    halted: bool,
    /// Cells that failed, and why.
    pub(crate) failed: Vec<String>,
    /// Cells that others have claimed at the end, and who.
    pub(crate) taken: Vec<String>,
}

impl Tally {
    /// Of so many cells.
    pub(crate) fn new(console: Console, total: usize) -> Self {
        Self { console, total, ended: 0, stopped: false, halted: false, failed: Vec::new(), taken: Vec::new() }
    }

    /// A line for a cell that begins.
    pub(crate) fn begins(&self, row: &Row) {
        self.console.line(&format!("[{}/{}] {}", self.ended + 1, self.total, row.cell.words()));
    }

    /// A line for a cell that ended.
    pub(crate) fn note(&mut self, row: &Row, ended: &Ended, took: Duration) {
        let words = row.cell.words();
        let said = match ended {
            Ended::Done { result } => format!("done: {words}: {result} ({:.0} s)", took.as_secs_f64()),
            Ended::Known => format!("done by another process: {words}"),
            Ended::Failed { error, everywhere } => {
                self.failed.push(format!("{words}: {error}"));
                self.halted |= everywhere;
                format!("failed: {words}: {error}")
            }
            Ended::Stopped => return self.stop_if(true),
            Ended::Taken { .. } => return,
        };
        self.ended += 1;
        self.console.line(&format!("[{}/{}] {said}", self.ended, self.total));
    }

    /// No further cell begins.
    pub(crate) fn stop_if(&mut self, asked: bool) {
        self.stopped |= asked;
    }

    /// Whether the user stopped the study.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether a cell failed in a way in which all further ones would fail.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Whether no further cell is to begin.
    pub(crate) fn is_over(&self) -> bool {
        self.stopped || self.halted
    }
}

/// Goes through the jobs, then again through those that others had claimed, as long as that brings any to an end: a
/// cell whose process has died meanwhile is done by those that are left.
pub(crate) fn passes<'a>(
    jobs: Vec<Job<'a>>,
    tally: &mut Tally,
    mut pass: impl FnMut(Vec<Job<'a>>, &mut Tally) -> Vec<(Job<'a>, String)>,
) {
    let mut left = jobs;
    while !left.is_empty() && !tally.is_over() {
        let before = left.len();
        let taken = pass(left, tally);
        if taken.len() == before {
            tally.taken = taken.iter().map(|(job, holder)| format!("{}: {holder}", job.row.cell.words())).collect();
            return;
        }
        left = taken.into_iter().map(|(job, _)| job).collect();
    }
}
