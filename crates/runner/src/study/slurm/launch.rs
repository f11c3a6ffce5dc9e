//! Cells of a study handed to Slurm.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::array::{Array, Shared};
use super::client;
use super::folder_of;
use super::queue::Queue;
use super::script::{Script, command};
use super::submission::Submission;
use crate::record::{Console, RecordError};
use crate::study::{Job, Study, parted};
use crate::{Project, Usage};

/// Variables that the program finds its files by.
const PLACES: [&str; 2] = ["BLINDFOLD_ROOT", "BLINDFOLD_DATA"];

/// Hands cells of a study to Slurm.
pub(crate) struct Launch<'a> {
    pub(crate) project: &'a Project,
    pub(crate) study: &'a Study,
    pub(crate) console: &'a Console,
    /// What each task is called with, its cell aside.
    pub(crate) arguments: Vec<String>,
    /// Tasks of an array at once.
    pub(crate) throttle: Option<u32>,
    /// Move runs of another configuration aside.
    pub(crate) fresh: bool,
}

impl Launch<'_> {
    /// Submits the cells, those aside that Slurm has already, and says what it did.
    ///
    /// # Errors
    /// No Slurm, what Slurm refuses, a folder that cannot be written.
    pub(crate) fn submit(&self, jobs: Vec<Job<'_>>) -> Result<String> {
        client::check()?;
        self.study.claims().check().map_err(unwritable)?;
        let root = folder_of(self.project, self.study)?;
        let [makers, others] = parted(self.left(jobs, &root)?);
        let cells = ids(&makers, &others)?;
        if cells.is_empty() {
            return Ok("nothing is left to submit\n".to_owned());
        }
        let script = self.script(&root)?;
        let mut submission = Submission::create(&root, cells, script).map_err(unwritable)?;
        let folder = text_of(&submission.folder)?;
        let mut report = String::new();
        for array in Array::of(makers.len(), others.len()) {
            let after = submission.jobs.last().map(|last| last.job.clone());
            let number = match client::submit(&array.arguments(&self.shared(&folder), after.as_deref())) {
                Ok(number) => number,
                Err(refusal) if submission.jobs.is_empty() => {
                    submission.remove();
                    return Err(refusal.into());
                }
                Err(Usage(refusal)) => {
                    let taken = numbers(&submission, " ");
                    let message = format!("{refusal}\nwhat was submitted before stays; scancel {taken} takes it back");
                    return Err(Usage(message).into());
                }
            };
            let follows = after.map(|job| format!(", when job {job} has ended")).unwrap_or_default();
            writeln!(report, "job {number}: {} cells{}{follows}", array.count, made(array, makers.len()))?;
            submission.add(number.clone(), array).with_context(|| format!("job {number} is submitted"))?;
        }
        let again = [&["blindfold".to_owned()][..], self.arguments.as_slice(), &["--collect".to_owned()]].concat();
        writeln!(report, "\nsqueue --jobs={}   where they are", numbers(&submission, ","))?;
        writeln!(report, "{}   takes in what is finished, and writes the page", command(&again))?;
        writeln!(report, "scancel {}   takes them back", numbers(&submission, " "))?;
        writeln!(report, "\n{folder}")?;
        Ok(report)
    }

    /// What [`submit`](Self::submit) would write and call.
    ///
    /// # Errors
    /// As there, but needs no Slurm, and writes nothing.
    pub(crate) fn describe(&self, jobs: Vec<Job<'_>>) -> Result<String> {
        let root = folder_of(self.project, self.study)?;
        let [makers, others] = parted(self.left(jobs, &root)?);
        let cells = ids(&makers, &others)?;
        if cells.is_empty() {
            return Ok("nothing is left to submit\n".to_owned());
        }
        let folder = Submission::next(&root)?;
        let mut report = format!("# {}\n{}\n\n", Submission::list(&folder).display(), cells.join("\n"));
        let script = self.script(&root)?;
        writeln!(report, "# {}/task.sh\n{}", folder.display(), script(&folder))?;
        let folder = text_of(&folder)?;
        let mut after = None;
        for array in Array::of(makers.len(), others.len()) {
            let arguments = array.arguments(&self.shared(&folder), after);
            writeln!(report, "# {} cells{}", array.count, made(array, makers.len()))?;
            writeln!(report, "sbatch {}", command(&arguments))?;
            after = Some("<job before>");
        }
        Ok(report)
    }

    /// The jobs that Slurm does not have yet.
    fn left<'j>(&self, mut jobs: Vec<Job<'j>>, root: &Path) -> Result<Vec<Job<'j>>> {
        let queue = Queue::of(&Submission::all(root)?);
        queue.notes.iter().for_each(|note| self.console.line(note));
        let (live, before) = (queue.live(), jobs.len());
        jobs.retain(|job| !live.contains(job.row.cell.id().as_str()));
        if jobs.len() < before {
            self.console.line(&format!("{} cells are submitted already: --collect says where", before - jobs.len()));
        }
        Ok(jobs)
    }

    /// The tasks' script, for a folder of a submission.
    fn script(&self, root: &Path) -> Result<impl Fn(&Path) -> String> {
        let here = text_of(&std::env::current_dir()?)?;
        let program = text_of(&std::env::current_exe()?)?;
        // The folders of submissions are called by numbers.
        text_of(root)?;
        let mut environment = Vec::new();
        for name in PLACES {
            if let Some(value) = std::env::var_os(name) {
                environment.push((name, text_of(Path::new(&value))?));
            }
        }
        let run = [&[program][..], self.arguments.as_slice()].concat();
        let (resources, fresh) = (&self.study.slurm, self.fresh);
        Ok(move |folder: &Path| {
            let cells = Submission::list(folder);
            let script = Script {
                cells: &cells.to_string_lossy(),
                here: &here,
                environment: &environment,
                setup: &resources.setup,
                run: &run,
                fresh,
                requeues: resources.requeues,
            };
            script.to_string()
        })
    }

    fn shared<'s>(&'s self, folder: &'s str) -> Shared<'s> {
        Shared { name: &self.study.name, folder, resources: &self.study.slurm, throttle: self.throttle }
    }
}

/// The ids of cells, a line each.
fn ids(makers: &[Job<'_>], others: &[Job<'_>]) -> Result<Vec<String>, Usage> {
    let ids: Vec<String> = makers.iter().chain(others).map(|job| job.row.cell.id()).collect();
    match ids.iter().find(|id| id.contains(char::is_control)) {
        Some(id) => Err(Usage(format!("{id:?}: a cell's name must fit on one line to be handed to Slurm: rename it"))),
        None => Ok(ids),
    }
}

fn made(array: Array, makers: usize) -> &'static str {
    if array.first < makers { " that make images for all" } else { "" }
}

fn numbers(submission: &Submission, between: &str) -> String {
    let numbers: Vec<&str> = submission.jobs.iter().map(|submitted| submitted.job.as_str()).collect();
    numbers.join(between)
}

fn text_of(path: &Path) -> Result<String, Usage> {
    let told = || Usage(format!("{}: this name is not UTF-8, and cannot be handed to Slurm", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(told)
}

/// A folder that this machine cannot write, the tasks on theirs cannot either: nothing is submitted.
fn unwritable(error: RecordError) -> Usage {
    Usage(format!("{error} (the cluster's machines write there too: it must be a folder that they share)"))
}
