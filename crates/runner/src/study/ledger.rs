//! The results of a study, kept with it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::Usage;
use crate::record::{RunInfo, Summary};

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

/// All finished runs of a study: one line of JSON each, appended as they end, committed with the study. Machines that share
/// a study put their lines together; of two lines of one configuration the later one counts.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Ledger {
    /// The ledger at that path; an empty one where there is no file.
    ///
    /// # Errors
    /// A line that cannot be read, with its number.
    pub fn open(path: &Path) -> Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        if path.is_file() {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let entry: Entry = serde_json::from_str(line).map_err(|error| {
                    Usage(format!(
                        "{}, line {}: {error}; delete the line, and its run is done again",
                        path.display(),
                        number + 1
                    ))
                })?;
                entries.retain(|known| known.config_sha256 != entry.config_sha256);
                entries.push(entry);
            }
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The run of that configuration.
    pub fn find(&self, config_sha256: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.config_sha256 == config_sha256)
    }

    /// Adds a run.
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
        let complete = fs::read(&self.path).map_or(true, |bytes| bytes.last().is_none_or(|last| *last == b'\n'));
        let line = format!("{}{}\n", if complete { "" } else { "\n" }, serde_json::to_string(&entry)?);
        let place = || self.path.display().to_string();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).with_context(place)?;
        file.write_all(line.as_bytes()).with_context(place)?;
        self.entries.retain(|known| known.config_sha256 != entry.config_sha256);
        self.entries.push(entry);
        Ok(())
    }
}
