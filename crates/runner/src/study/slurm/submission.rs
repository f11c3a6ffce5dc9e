//! What was handed to Slurm at one time.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::array::Array;
use crate::record::{RecordError, write_atomic};

const CELLS: &str = "cells.txt";
const SCRIPT: &str = "task.sh";
const JOBS: &str = "jobs.json";
const LOGS: &str = "logs";

/// A folder of its own for what was handed to Slurm at one time:
///
/// ```text
/// <study>/slurm/<n>/  cells.txt (an id a line)  task.sh  jobs.json (Slurm's numbers)  logs/<job>_<task>.txt
/// ```
#[derive(Debug)]
pub(super) struct Submission {
    /// Where it lies.
    pub(super) folder: PathBuf,
    /// Ids of cells.
    pub(super) cells: Vec<String>,
    /// The arrays that Slurm has taken.
    pub(super) jobs: Vec<Submitted>,
}

/// An array that Slurm has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Submitted {
    /// Slurm's number of it.
    pub(super) job: String,
    /// The line of its first cell, from 0.
    pub(super) first: usize,
    /// How many cells.
    pub(super) count: usize,
}

impl Submitted {
    /// Its tasks as Slurm calls them, each with the line of its cell.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (usize, String)> {
        (0..self.count).map(|task| (self.first + task, format!("{}_{task}", self.job)))
    }
}

impl Submission {
    /// All of a study's, the oldest first.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>, RecordError> {
        numbers(root)?.into_iter().map(|number| Self::read(root.join(number.to_string()))).collect()
    }

    /// Where the next one would lie.
    pub(super) fn next(root: &Path) -> Result<PathBuf, RecordError> {
        let last = numbers(root)?.last().copied().unwrap_or(0);
        Ok(root.join((last + 1).to_string()))
    }

    /// Makes the folder of one that is to be submitted; `script` is told where it lies.
    pub(super) fn create(
        root: &Path,
        cells: Vec<String>,
        script: impl FnOnce(&Path) -> String,
    ) -> Result<Self, RecordError> {
        fs::create_dir_all(root).map_err(RecordError::io("create folder", root))?;
        let folder = loop {
            let folder = Self::next(root)?;
            match fs::create_dir(&folder) {
                Ok(()) => break folder,
                // Somebody else submits at this moment.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RecordError::io("create folder", &folder)(error)),
            }
        };
        let lines: String = cells.iter().map(|cell| format!("{cell}\n")).collect();
        let logs = folder.join(LOGS);
        fs::create_dir(&logs).map_err(RecordError::io("create folder", &logs))?;
        write_atomic(&folder.join(CELLS), lines.as_bytes())?;
        write_atomic(&folder.join(SCRIPT), script(&folder).as_bytes())?;
        Ok(Self { folder, cells, jobs: Vec::new() })
    }

    /// Where its list of cells lies.
    pub(super) fn list(folder: &Path) -> PathBuf {
        folder.join(CELLS)
    }

    /// Where the output of a task lies.
    pub(super) fn log(&self, task: &str) -> PathBuf {
        self.folder.join(LOGS).join(format!("{task}.txt"))
    }

    /// Writes down that Slurm has taken an array.
    pub(super) fn add(&mut self, job: String, array: Array) -> Result<(), RecordError> {
        self.jobs.push(Submitted { job, first: array.first, count: array.count });
        let path = self.folder.join(JOBS);
        let mut text = serde_json::to_string_pretty(&self.jobs).map_err(RecordError::format(&path))?;
        text.push('\n');
        write_atomic(&path, text.as_bytes())
    }

    /// Removes it: Slurm took nothing of it.
    pub(super) fn remove(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn read(folder: PathBuf) -> Result<Self, RecordError> {
        let (cells, jobs) = (folder.join(CELLS), folder.join(JOBS));
        // A process that was killed while it submitted may have left either out.
        let cells = existing(&cells)?.unwrap_or_default().lines().map(str::to_owned).collect();
        let jobs = match existing(&jobs)? {
            Some(text) => serde_json::from_str(&text).map_err(RecordError::format(&jobs))?,
            None => Vec::new(),
        };
        Ok(Self { folder, cells, jobs })
    }
}

fn existing(path: &Path) -> Result<Option<String>, RecordError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecordError::io("read", path)(error)),
    }
}

/// The numbers of the submissions, in order.
fn numbers(root: &Path) -> Result<Vec<u64>, RecordError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => return Ok(Vec::new()),
        Err(error) => return Err(RecordError::io("list", root)(error)),
    };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_submitted_is_read_back_in_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("slurm");
        assert!(Submission::all(&root).unwrap().is_empty());
        for number in 1..=11 {
            let cells = vec![format!("a b/zeroq/seed-{number}"), "c".to_owned()];
            let mut submission = Submission::create(&root, cells, |folder| folder.display().to_string()).unwrap();
            submission.add(number.to_string(), Array { first: 0, count: 1 }).unwrap();
            submission.add("99".to_owned(), Array { first: 1, count: 1 }).unwrap();
        }
        let all = Submission::all(&root).unwrap();
        assert_eq!(all.len(), 11);
        let last = &all[10];
        assert_eq!(last.cells, ["a b/zeroq/seed-11", "c"]);
        assert_eq!(fs::read_to_string(Submission::list(&last.folder)).unwrap(), "a b/zeroq/seed-11\nc\n");
        assert_eq!(fs::read_to_string(last.folder.join(SCRIPT)).unwrap(), last.folder.display().to_string());
        let tasks: Vec<(usize, String)> = last.jobs.iter().flat_map(Submitted::tasks).collect();
        assert_eq!(tasks, [(0, "11_0".to_owned()), (1, "99_0".to_owned())]);
        assert!(last.log("11_0").ends_with("slurm/11/logs/11_0.txt"));
        assert_eq!(Submission::next(&root).unwrap(), root.join("12"));
    }

    #[test]
    fn a_half_made_one_has_no_jobs_and_a_damaged_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        let submission = Submission::create(root.path(), vec!["a".to_owned()], |_| String::new()).unwrap();
        assert!(Submission::all(root.path()).unwrap()[0].jobs.is_empty());
        fs::create_dir(root.path().join("7")).unwrap();
        assert!(Submission::all(root.path()).unwrap()[1].cells.is_empty());
        fs::write(root.path().join("7").join(JOBS), "[{]").unwrap();
        let error = Submission::all(root.path()).unwrap_err().to_string();
        assert!(error.contains("7/jobs.json") || error.contains("7\\jobs.json"), "{error}");
        submission.remove();
        assert!(!root.path().join("1").exists());
    }

    #[test]
    fn a_file_in_the_way_is_an_error_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("slurm");
        fs::write(&path, "x").unwrap();
        let error = Submission::create(&path, Vec::new(), |_| String::new()).unwrap_err().to_string();
        assert!(error.contains("slurm"), "{error}");
    }
}
