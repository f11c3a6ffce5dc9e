//! What has come of the cells that run elsewhere.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::folder_of;
use super::queue::{Queue, Stage, Task};
use super::submission::Submission;
use crate::pipeline::{Context, is_run_of};
use crate::record::{RecordError, RunFolder, RunInfo, Status};
use crate::study::{Grid, Ledger, Row, Selection, Study, is_open};

/// How far a cell is that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Running,
    Pending,
    Failed,
    /// It began, and goes on when it is run again.
    Stopped,
    Missing,
}

const STANDINGS: [(Standing, &str); 5] = [
    (Standing::Running, "running"),
    (Standing::Pending, "pending"),
    (Standing::Failed, "failed"),
    (Standing::Stopped, "stopped"),
    (Standing::Missing, "missing"),
];

/// What has come of a study's cells, wherever they run.
#[derive(Debug)]
pub(crate) struct Collection {
    /// A line a cell that is not done, and how many there are of each kind.
    pub(crate) text: String,
    /// Cells that failed and are not about to be run again.
    pub(crate) failed: usize,
    /// What could not be learned.
    pub(crate) notes: Vec<String>,
}

impl Collection {
    /// Takes the outcomes of finished runs that the ledger lacks into it, brings the grid up to date, and looks where
    /// the other cells are.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub(crate) fn of(context: &Context, study: &Study, grid: &mut Grid<'_>, selection: &Selection) -> Result<Self> {
        let mut gathered = 0;
        for row in grid.open(selection) {
            gathered += usize::from(gather(context, study, row)?);
        }
        grid.refresh()?;
        let submissions = Submission::all(&folder_of(&context.project, study)?)?;
        let queue = Queue::of(&submissions);
        let mut text = String::new();
        let mut counts = STANDINGS.map(|(standing, word)| (standing, word, 0));
        let (mut total, mut done) = (0, 0);
        for row in grid.rows.iter().filter(|row| selection.wants(&row.cell)) {
            total += 1;
            if !is_open(context, &row.cell.config, row.entry.as_ref()) {
                done += 1;
                continue;
            }
            let (standing, note) = whereabouts(context, study, row, queue.task(&row.cell.id()))?;
            let cell = &row.cell;
            for (_, word, count) in counts.iter_mut().filter(|(known, ..)| *known == standing) {
                *count += 1;
                let (experiment, seed) = (&cell.config.experiment.name, cell.config.seed);
                writeln!(text, "{word:<8} {experiment} {} seed {seed}{note}", cell.method)?;
            }
        }
        let now = if gathered > 0 { format!(" ({gathered} of them taken in now)") } else { String::new() };
        write!(text, "{total} cells: {done} done{now}")?;
        for (_, word, count) in counts {
            write!(text, ", {count} {word}")?;
        }
        text.push('\n');
        let failed = counts.iter().find(|(standing, ..)| *standing == Standing::Failed).map_or(0, |(.., count)| *count);
        Ok(Self { text, failed, notes: queue.notes })
    }
}

/// Takes a finished run into the ledger; whether it did.
fn gather(context: &Context, study: &Study, row: &Row) -> Result<bool> {
    let path = run(context, row);
    let Some(info) = read_info(&path)? else { return Ok(false) };
    let is_its_own = info.status == Status::Completed && is_run_of(context, &row.cell.config, &path, &info)?;
    if !is_its_own {
        return Ok(false);
    }
    let summary = RunFolder::read_summary(&path)?;
    // Where accuracy can be measured now, a run that lacks it is to be done again.
    if row.entry.is_some() && !summary.accuracy_measured {
        return Ok(false);
    }
    Ledger::open(&study.ledger())?.add(&row.identity, summary, &info)?;
    Ok(true)
}

/// Where a cell is that is not in the ledger: Slurm's word on its task, else who has claimed it, else what its run
/// folder says.
fn whereabouts(context: &Context, study: &Study, row: &Row, task: Option<&Task>) -> Result<(Standing, String)> {
    if let Some(task) = task.filter(|task| task.is_live()) {
        let standing = if task.stage == Stage::Runs { Standing::Running } else { Standing::Pending };
        return Ok((standing, format!("  (job {}, {})", task.name, task.words)));
    }
    if let Some(holder) = study.claims().holder(&row.identity)? {
        return Ok((Standing::Running, format!("  ({holder})")));
    }
    let info = read_info(&run(context, row))?;
    let failed = task.filter(|task| task.stage == Stage::Failed);
    Ok(match (info, failed) {
        (Some(RunInfo { status: Status::Failed, error, .. }), _) => {
            let error = error.unwrap_or_default();
            (Standing::Failed, format!("  ({})", error.lines().next().unwrap_or_default()))
        }
        (_, Some(task)) => (Standing::Failed, format!("  (job {}, {}: {})", task.name, task.words, task.log.display())),
        (Some(RunInfo { status: Status::Completed, .. }), None) => {
            (Standing::Missing, "  (its folder holds another run: --fresh moves that aside)".to_owned())
        }
        (Some(_), None) => (Standing::Stopped, String::new()),
        (None, None) => (Standing::Missing, String::new()),
    })
}

fn run(context: &Context, row: &Row) -> PathBuf {
    let config = &row.cell.config;
    RunFolder::path_of(&context.project.runs(), &config.experiment.name, &row.cell.method, config.seed)
}

fn read_info(path: &Path) -> Result<Option<RunInfo>, RecordError> {
    match RunFolder::read_info(path) {
        Ok(info) => Ok(Some(info)),
        Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
