//! The work on one cell, in this process.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Job, Ledger, Row, Study, Tally, is_open};
use crate::interrupt;
use crate::pipeline::{Context, Outcome, run_once};
use crate::record::{RecordError, RunFolder, STALE, Summary, Taken};

/// How often a patient process looks whether a cell is free.
const LOOK: Duration = Duration::from_secs(2);

/// How the work on a cell ended. A process that does one cell for another says it as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// It ran, and is in the ledger.
    Done {
        /// What it came to, in a few words.
        result: String,
    },
    /// It was in the ledger already: another process was faster.
    Known,
    /// Another process has claimed it.
    Taken {
        /// Which.
        holder: String,
    },
    /// The user stopped it; it goes on where it stopped.
    Stopped,
    /// It failed.
    Failed {
        /// Why.
        error: String,
        /// Whether all others would fail alike: nothing can be written any more.
        everywhere: bool,
    },
}

/// Does cells of a study: claims them, runs them, writes them into the ledger.
pub(crate) struct Worker<'a> {
    pub(crate) context: &'a Context,
    pub(crate) study: &'a Study,
    /// The command line, for the run folders.
    pub(crate) overrides: &'a str,
    /// Move runs of another configuration aside.
    pub(crate) fresh: bool,
}

impl Worker<'_> {
    /// Does these one after the other, and returns those that others have claimed, with their holders.
    pub(crate) fn pass<'j>(&self, jobs: Vec<Job<'j>>, tally: &mut Tally) -> Vec<(Job<'j>, String)> {
        let mut taken = Vec::new();
        for job in jobs {
            tally.stop_if(interrupt::asked());
            if tally.is_over() {
                break;
            }
            tally.begins(job.row);
            let began = Instant::now();
            match self.work(job.row) {
                Ended::Taken { holder } => taken.push((job, holder)),
                ended => tally.note(job.row, &ended, began.elapsed()),
            }
        }
        taken
    }

    /// Does one cell, unless somebody else does it or has done it.
    pub(crate) fn work(&self, row: &Row) -> Ended {
        self.attempt(row).unwrap_or_else(|error| match records(&error) {
            Some(RecordError::Locked { holder, .. }) => Ended::Taken { holder: holder.clone() },
            fault => {
                let everywhere = fault.is_some_and(RecordError::is_storage);
                Ended::Failed { error: format!("{error:#}"), everywhere }
            }
        })
    }

    /// As [`work`](Self::work), but waits for a holder that may have died on another machine until that is known.
    pub(crate) fn work_patiently(&self, row: &Row) -> Ended {
        let began = Instant::now();
        loop {
            match self.work(row) {
                Ended::Taken { .. } if interrupt::asked() => return Ended::Stopped,
                Ended::Taken { .. } if began.elapsed() < 2 * STALE => sleep(LOOK),
                ended => return ended,
            }
        }
    }

    fn attempt(&self, row: &Row) -> Result<Ended> {
        let claim = match self.study.claims().take(&row.identity)? {
            Taken::Mine(claim) => claim,
            Taken::Theirs(holder) => return Ok(Ended::Taken { holder }),
        };
        let mut ledger = Ledger::open(&self.study.ledger())?;
        if !is_open(self.context, &row.cell.config, ledger.find(&row.identity)) {
            claim.finish();
            return Ok(Ended::Known);
        }
        match run_once(self.context, &row.cell.config, self.overrides, self.fresh)? {
            Outcome::Interrupted(_) => Ok(Ended::Stopped),
            Outcome::Finished(path, summary) => {
                let result = words(&summary);
                ledger.add(&row.identity, *summary, &RunFolder::read_info(&path)?)?;
                claim.finish();
                Ok(Ended::Done { result })
            }
        }
    }
}

/// The fault of a run's records among the causes of an error.
fn records(error: &Error) -> Option<&RecordError> {
    error.chain().find_map(|cause| cause.downcast_ref::<RecordError>())
}

fn words(summary: &Summary) -> String {
    let drop = summary.drop.map(|drop| format!("drop {drop:.2}"));
    let agreement = summary.agreement.map(|agreement| format!("agreement {agreement:.1} %"));
    drop.into_iter().chain(agreement).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_its_way_from_process_to_process() {
        for ended in [
            Ended::Done { result: "drop 1.20".into() },
            Ended::Known,
            Ended::Taken { holder: "process 1 on host lab".into() },
            Ended::Stopped,
            Ended::Failed { error: "line 1\nline 2".into(), everywhere: true },
        ] {
            let line = serde_json::to_string(&ended).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Ended>(&line).unwrap(), ended);
        }
    }
}
