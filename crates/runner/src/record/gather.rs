//! Finished runs found below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::RecordError;
use super::folder::RunFolder;
use super::run_info::Status;
use super::summary::Summary;

/// A run folder that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The run folder.
    pub path: PathBuf,
    /// Such as `RUNNING`.
    pub status: Status,
}

/// What [`gather`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gathered {
    /// Finished runs by path, with their folders.
    pub runs: Vec<(PathBuf, Summary)>,
    /// Runs that are not finished.
    pub skipped: Vec<Skipped>,
}

/// All runs at or below `root`, in the order of their paths (numbers within names by value: seed-2 before seed-10). Hidden
/// folders and runs moved aside (`*.old-<n>`) are left out.
///
/// # Errors
/// [`RecordError::Io`]; [`RecordError::Format`] for a run.json or summary.json that cannot be read.
pub fn gather(root: &Path) -> Result<Gathered, RecordError> {
    let mut found = Gathered::default();
    visit(root, &mut found)?;
    Ok(found)
}

fn visit(folder: &Path, found: &mut Gathered) -> Result<(), RecordError> {
    if folder.join("run.json").is_file() {
        let info = RunFolder::read_info(folder)?;
        if info.status == Status::Completed {
            let summary = RunFolder::read_summary(folder)?;
            found.runs.push((folder.to_owned(), Summary { teacher_sha256: info.teacher_sha256, ..summary }));
        } else {
            found.skipped.push(Skipped { path: folder.to_owned(), status: info.status });
        }
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(RecordError::io("list", folder))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !is_aside(name))
        .collect();
    names.sort_by_cached_key(|name| natural(name));
    names.iter().try_for_each(|name| visit(&folder.join(name), found))
}

fn is_aside(name: &str) -> bool {
    name.rsplit_once(".old-").is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

/// Text and numbers in turn, for comparison.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        parts.push((text.to_owned(), tail[..end].parse().unwrap_or(u64::MAX)));
        rest = &tail[end..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::folder::tests::open_new;
    use super::*;

    #[test]
    fn finished_runs_are_found_in_order_and_others_are_named() {
        let root = tempfile::tempdir().unwrap();
        for seed in [10, 2, 1] {
            let run = open_new(&RunFolder::path_of(root.path(), "e", "zeroq", seed));
            run.complete(&Summary { seed, ..Summary::default() }).unwrap();
        }
        drop(open_new(&RunFolder::path_of(root.path(), "e", "zeroq", 3)));
        fs::rename(root.path().join("e/zeroq/seed-1"), root.path().join("e/zeroq/seed-1.old-1")).unwrap();
        let found = gather(root.path()).unwrap();
        assert_eq!(found.runs.iter().map(|(_, summary)| summary.seed).collect::<Vec<_>>(), [2, 10]);
        assert_eq!(found.skipped, [Skipped { path: root.path().join("e/zeroq/seed-3"), status: Status::Running }]);
        let one = gather(&root.path().join("e/zeroq/seed-2")).unwrap();
        assert_eq!(one.runs.len(), 1);
        assert!(matches!(gather(&root.path().join("nowhere")), Err(RecordError::Io { .. })));
    }
}
