//! The results of a study, kept with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::claims_of;
use crate::Usage;
use crate::record::{RecordError, RunInfo, Summary};

/// One finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The hash of its configuration, teacher and device included.
    pub config_sha256: String,
    /// The commit of the program that computed it.
    pub commit: Option<String>,
    /// The version of the program that computed it.
    pub blindfold: String,
    /// The outcome.
    pub summary: Summary,
}

/// All finished runs of a study: one line of JSON each, appended as they end, committed with the study. Machines that
/// share a study put their lines together; of two lines of one configuration the later one counts.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// What a ledger's file holds.
struct Content {
    entries: Vec<Entry>,
    /// Bytes of whole lines; what follows is what a process wrote that was killed.
    whole: u64,
    /// Whether the last whole line lacks its newline.
    open: bool,
}

impl Ledger {
    /// The ledger at that path; an empty one where there is no file. A last line that a killed process left
    /// half-written is left out with a warning: its run is found finished, and is written down again.
    ///
    /// # Errors
    /// A line that cannot be read, with its number.
    pub fn open(path: &Path) -> Result<Self> {
        let content = read(path)?;
        if let Some(torn) = content.torn(path) {
            tracing::warn!("{}: the last line is half-written ({torn} bytes) and left out", path.display());
        }
        Ok(Self { path: path.to_owned(), entries: content.entries })
    }

    /// The run of that configuration.
    pub fn find(&self, config_sha256: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.config_sha256 == config_sha256)
    }

    /// All runs, in the order of their lines.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a run, and takes in what other processes have added meanwhile. A half-written last line is cut off first;
    /// what cannot be written whole is not written at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, config_sha256: &str, summary: Summary, run: &RunInfo) -> Result<()> {
        let entry = Entry {
            config_sha256: config_sha256.to_owned(),
            commit: run.git.as_ref().map(|git| git.sha.clone()),
            blindfold: run.versions.blindfold.clone(),
            summary,
        };
        let _turn = claims_of(self.path.parent().unwrap_or(Path::new("."))).wait("ledger")?;
        let content = read(&self.path)?;
        let known = content.entries.contains(&entry);
        if !known {
            let line = format!("{}{}\n", if content.open { "\n" } else { "" }, serde_json::to_string(&entry)?);
            append(&self.path, &content, line.as_bytes()).map_err(RecordError::io("append to", &self.path))?;
        }
        self.entries = content.entries;
        if !known {
            self.entries.retain(|known| known.config_sha256 != entry.config_sha256);
            self.entries.push(entry);
        }
        Ok(())
    }
}

impl Content {
    /// Bytes after the last whole line.
    fn torn(&self, path: &Path) -> Option<u64> {
        let length = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
        length.checked_sub(self.whole).filter(|torn| *torn > 0)
    }
}

fn read(path: &Path) -> Result<Content> {
    let mut content = Content { entries: Vec::new(), whole: 0, open: false };
    if !path.is_file() {
        return Ok(content);
    }
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let ended = line.last() == Some(&b'\n');
        if !line.trim_ascii().is_empty() {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) => {
                    content.entries.retain(|known| known.config_sha256 != entry.config_sha256);
                    content.entries.push(entry);
                }
                Err(_) if !ended => break,
                Err(error) => {
                    let (path, number) = (path.display(), number + 1);
                    let message = format!("{path}, line {number}: {error}; delete the line, and its run is done again");
                    return Err(Usage(message).into());
                }
            }
        }
        content.whole += line.len() as u64;
        content.open = !ended;
    }
    Ok(content)
}

/// Puts a line after the whole ones, at once; on a disk that is full the file is left as it was.
fn append(path: &Path, content: &Content, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if content.torn(path).is_some() {
        file.set_len(content.whole)?;
    }
    file.write_all(line).and_then(|()| file.sync_data()).inspect_err(|_| {
        let _ = file.set_len(content.whole);
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::record::RunIdentity;

    fn info() -> RunInfo {
        let identity = RunIdentity { experiment: "e".into(), method: "m".into(), seed: 1, device: "flex".into() };
        RunInfo::begin(&identity, "abc", &std::env::temp_dir())
    }

    fn summary(seed: u64) -> Summary {
        Summary { seed, ..Summary::default() }
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_repaired_at_any_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("results.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.add("a", summary(1), &info()).unwrap();
        let first = fs::metadata(&path).unwrap().len() as usize;
        ledger.add("b", summary(2), &info()).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in first..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            // Without its newline alone, the line is still all there.
            assert_eq!(ledger.find("b").is_some(), cut == whole.len() - 1, "{cut}");
            ledger.add("c", summary(3), &info()).unwrap();
            let again = Ledger::open(&path).unwrap();
            let known: Vec<&str> = again.entries().iter().map(|entry| entry.config_sha256.as_str()).collect();
            let expected: &[&str] = if cut == whole.len() - 1 { &["a", "b", "c"] } else { &["a", "c"] };
            assert_eq!(known, expected, "{cut}");
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error_with_its_number() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("results.jsonl");
        fs::write(&path, "\n{\"config_sha\n\n").unwrap();
        let text = Ledger::open(&path).unwrap_err().to_string();
        assert!(text.contains("results.jsonl, line 2: ") && text.contains("done again"), "{text}");
    }

    #[test]
    fn lines_of_several_writers_are_all_there_and_none_stands_twice() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("results.jsonl");
        let info = info();
        thread::scope(|scope| {
            for writer in 0..3 {
                let (path, info) = (&path, &info);
                scope.spawn(move || {
                    let mut ledger = Ledger::open(path).unwrap();
                    for seed in 0..5 {
                        ledger.add(&format!("{writer} {seed}"), summary(seed), info).unwrap();
                        ledger.add("shared", summary(9), info).unwrap();
                    }
                });
            }
        });
        assert_eq!(Ledger::open(&path).unwrap().entries().len(), 16);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 16);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_that_says_what_and_where() {
        if !Path::new("/dev/full").exists() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("results.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let error = Ledger::open(&path).unwrap().add("a", summary(1), &info()).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("cannot append to") && text.contains("results.jsonl") && text.contains("free some"),
            "{text}"
        );
    }
}
