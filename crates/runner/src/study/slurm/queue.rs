//! Where the tasks of a study's submissions are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::client::{Refusal, ask};
use super::submission::{Submission, Submitted};

/// States in which a task waits, as squeue calls them.
const WAITS: [&str; 7] =
    ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"];
/// States in which a task has its node.
const RUNS: [&str; 7] = ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"];
/// Ends that the user or another job brought about, not the task.
const TAKEN_BACK: [&str; 3] = ["CANCELLED", "PREEMPTED", "REVOKED"];

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for its turn.
    Waits,
    /// It has a node.
    Runs,
    /// It came to its end.
    Ended,
    /// It was taken back.
    TakenBack,
    /// It failed.
    Failed,
}

/// What Slurm says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// Such as `17_3`.
    pub(super) name: String,
    /// How far it is.
    pub(super) stage: Stage,
    /// Slurm's words: the reason to wait, the node, the way it ended.
    pub(super) words: String,
    /// Where its output lies.
    pub(super) log: PathBuf,
}

impl Task {
    /// Whether Slurm still has it before it.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Waits | Stage::Runs)
    }
}

/// The latest tasks of a study's cells.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tasks: BTreeMap<String, Task>,
    /// What could not be learned, and why.
    pub(super) notes: Vec<String>,
}

/// What Slurm says of tasks: stage and words by name.
type Said = BTreeMap<String, (Stage, String)>;

impl Queue {
    /// Asks Slurm about these submissions: `squeue`, which forgets a task some minutes after its end, then `sacct`,
    /// which not every cluster has.
    pub(super) fn of(submissions: &[Submission]) -> Self {
        let jobs: Vec<&Submitted> = submissions.iter().flat_map(|submission| &submission.jobs).collect();
        if jobs.is_empty() {
            return Self::default();
        }
        let numbers: Vec<&str> = jobs.iter().map(|submitted| submitted.job.as_str()).collect();
        let numbers = format!("--jobs={}", numbers.join(","));
        let options = |options: &[&str]| options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
        let mut notes = Vec::new();
        let queued = options(&["--noheader", "--array", "--states=all", "--format=%i|%T|%r|%N", numbers.as_str()]);
        let mut said = match ask("squeue", &queued) {
            Ok(text) => squeue(&text),
            // It has forgotten all of them.
            Err(Refusal::Said(words)) if words.contains("Invalid job id") => Said::new(),
            Err(Refusal::Said(words)) => {
                notes.push(format!("squeue does not say where the tasks are: {words}"));
                Said::new()
            }
            Err(Refusal::Absent) => {
                notes.push("there is no `squeue` in PATH: where Slurm's tasks are is not known here".to_owned());
                return Self { notes, ..Self::default() };
            }
        };
        if jobs.iter().flat_map(|submitted| submitted.tasks()).any(|(_, task)| !said.contains_key(&task)) {
            let ended =
                ["--noheader", "--parsable2", "--allocations", "--format=JobID,State,NodeList", numbers.as_str()];
            for (task, outcome) in ask("sacct", &options(&ended)).map(|text| sacct(&text)).unwrap_or_default() {
                said.entry(task).or_insert(outcome);
            }
        }
        Self { tasks: latest(submissions, &said), notes }
    }

    /// The latest task of a cell; one that is live before any other.
    pub(super) fn task(&self, cell: &str) -> Option<&Task> {
        self.tasks.get(cell)
    }

    /// The cells that Slurm has before it.
    pub(super) fn live(&self) -> BTreeSet<&str> {
        self.tasks.iter().filter(|(_, task)| task.is_live()).map(|(cell, _)| cell.as_str()).collect()
    }
}

fn latest(submissions: &[Submission], said: &Said) -> BTreeMap<String, Task> {
    let mut latest = BTreeMap::<String, Task>::new();
    for submission in submissions {
        for (line, name) in submission.jobs.iter().flat_map(Submitted::tasks) {
            let (Some(cell), Some((stage, words))) = (submission.cells.get(line), said.get(&name)) else { continue };
            let task = Task { log: submission.log(&name), name, stage: *stage, words: words.clone() };
            if task.is_live() || !latest.get(cell).is_some_and(Task::is_live) {
                latest.insert(cell.clone(), task);
            }
        }
    }
    latest
}

fn stage(state: &str) -> Stage {
    match state {
        state if WAITS.contains(&state) => Stage::Waits,
        state if RUNS.contains(&state) => Stage::Runs,
        state if TAKEN_BACK.contains(&state) => Stage::TakenBack,
        "COMPLETED" => Stage::Ended,
        _ => Stage::Failed,
    }
}

/// Lines `17_3|PENDING|Resources|` and `17_4|RUNNING|None|node1`.
fn squeue(text: &str) -> Said {
    let task = |line: &str| {
        let mut fields = line.splitn(4, '|');
        let (name, state, reason, nodes) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let stage = stage(state);
        let words = match stage {
            Stage::Waits => reason.to_owned(),
            Stage::Runs => format!("on {nodes}"),
            _ => state.to_owned(),
        };
        Some((name.trim().to_owned(), (stage, words)))
    };
    text.lines().filter_map(task).collect()
}

/// Lines `17_3|CANCELLED by 1000|node1`; those of tasks that have not begun, `17_[4-9]|PENDING|`, are for squeue.
fn sacct(text: &str) -> Said {
    let task = |line: &str| {
        let mut fields = line.splitn(3, '|');
        let (name, state, nodes) = (fields.next()?, fields.next()?, fields.next()?);
        let state = state.split_whitespace().next()?;
        let stage = stage(state);
        let words = if stage == Stage::Runs { format!("on {nodes}") } else { state.to_owned() };
        (!name.contains('[')).then(|| (name.to_owned(), (stage, words)))
    };
    text.lines().filter_map(task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(cells: &[&str], jobs: &[(&str, usize, usize)]) -> Submission {
        Submission {
            folder: PathBuf::from("slurm"),
            cells: cells.iter().map(|&cell| cell.to_owned()).collect(),
            jobs: jobs.iter().map(|&(job, first, count)| Submitted { job: job.to_owned(), first, count }).collect(),
        }
    }

    #[test]
    fn slurms_lines_are_read() {
        let said = squeue("17_0|RUNNING|None|n[1-2]\n17_1|PENDING|JobArrayTaskLimit|\n18_0|TIMEOUT|TimeLimit|n1\nx\n");
        assert_eq!(said.len(), 3);
        assert_eq!(said["17_0"], (Stage::Runs, "on n[1-2]".to_owned()));
        assert_eq!(said["17_1"], (Stage::Waits, "JobArrayTaskLimit".to_owned()));
        assert_eq!(said["18_0"], (Stage::Failed, "TIMEOUT".to_owned()));
        let said =
            sacct("17_0|COMPLETED|n1\n17_1|CANCELLED by 1000|n1\n17_[2-9%3]|PENDING|None assigned\n17_10|RUNNING|n2\n");
        assert_eq!(said.len(), 3);
        assert_eq!(said["17_0"].0, Stage::Ended);
        assert_eq!(said["17_1"], (Stage::TakenBack, "CANCELLED".to_owned()));
        assert_eq!(said["17_10"], (Stage::Runs, "on n2".to_owned()));
    }

    #[test]
    fn a_cell_is_where_its_live_or_latest_task_is() {
        let submissions = [
            submission(&["a", "b", "c", "d"], &[("1", 0, 1), ("2", 1, 3)]),
            submission(&["b", "c", "d"], &[("3", 0, 3)]),
        ];
        let said = squeue(
            "1_0|COMPLETED|None|n\n2_0|RUNNING|None|n\n2_1|FAILED|None|n\n3_0|FAILED|None|n\n3_1|PENDING|Priority|\n",
        );
        let queue = Queue { tasks: latest(&submissions, &said), notes: Vec::new() };
        let name = |cell: &str| queue.task(cell).map(|task| task.name.as_str());
        assert_eq!([name("a"), name("b"), name("c"), name("d")], [Some("1_0"), Some("2_0"), Some("3_1"), None]);
        assert_eq!(queue.live(), BTreeSet::from(["b", "c"]));
        assert!(queue.task("a").unwrap().log.ends_with("logs/1_0.txt"));
    }
}
