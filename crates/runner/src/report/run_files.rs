//! What a page is made from: the files of a run's folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use toml::{Table, Value};

use crate::record::{METRICS_FILE, Phase, Record, RunFolder, RunInfo, Status, Summary, read_history};

/// A run's folder, read.
#[derive(Debug, Clone)]
pub(crate) struct RunFiles {
    pub(super) folder: PathBuf,
    pub(super) info: RunInfo,
    /// Where the run is finished.
    pub(super) summary: Option<Summary>,
    /// Empty where it cannot be read.
    pub(super) config: Table,
    pub(super) records: Vec<Record>,
    /// What could not be read, in words.
    pub(super) faults: Vec<String>,
}

impl RunFiles {
    /// Reads the run in that folder. A file that is missing or broken is a fault that the page shows; run.json alone
    /// must be there.
    ///
    /// # Errors
    /// A run.json that cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let info = RunFolder::read_info(folder)?;
        let mut faults = Vec::new();
        let mut noted = |fault: String| faults.push(fault);
        let summary = match info.status {
            Status::Completed => RunFolder::read_summary(folder).map_err(|error| noted(error.to_string())).ok(),
            _ => None,
        };
        let path = folder.join("config.toml");
        let config = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse::<Table>().map_err(|error| error.to_string().trim().to_owned()))
            .unwrap_or_else(|reason| {
                noted(format!("{}: {reason}", path.display()));
                Table::new()
            });
        let records = read_history(&folder.join(METRICS_FILE)).unwrap_or_else(|error| {
            noted(error.to_string());
            Vec::new()
        });
        Ok(Self { folder: folder.to_owned(), info, summary, config, records, faults })
    }

    /// The resolved configuration.
    pub(crate) fn config(&self) -> &Table {
        &self.config
    }

    /// What run.json says.
    pub(crate) fn info(&self) -> &RunInfo {
        &self.info
    }

    /// A text file of the folder, by its relative path; none where it is not there.
    pub(super) fn text(&self, relative: &str) -> Option<String> {
        self.bytes(relative).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file of the folder, by its relative path; none where it is not there.
    pub(super) fn bytes(&self, relative: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(relative)).ok()
    }

    /// A value of the configuration by its path, such as `quant.protocol`.
    pub(super) fn key(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// The same as text, without the quotes of a string.
    pub(super) fn word(&self, path: &str) -> Option<String> {
        self.key(path).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// Whether images of a real data set were used, as far as the run says so.
    pub(super) fn uses_real_data(&self) -> bool {
        match &self.summary {
            Some(summary) => summary.uses_real_data,
            None => self.word("images.source").as_deref() == Some("real"),
        }
    }

    /// The records of a phase that hold a metric, with its value.
    pub(super) fn values<'a>(&'a self, phase: Phase, tag: &'a str) -> impl Iterator<Item = (&'a Record, f64)> {
        let records = self.records.iter().filter(move |record| record.phase == phase);
        records.filter_map(move |record| Some((record, *record.values.get(tag)?)))
    }

    /// The last value of a metric in a phase.
    pub(super) fn last(&self, phase: Phase, tag: &str) -> Option<f64> {
        self.values(phase, tag).map(|(_, value)| value).last().filter(|value| value.is_finite())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The folder of a run in that state, with these further files.
    pub(in crate::report) fn folder(status: &str, error: Option<&str>, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let info = serde_json::json!({
            "schema": 1, "status": status, "error": error, "started": "2026-11-21T13:23:39Z", "ended": null,
            "experiment": "small", "method": "zeroq", "seed": 7, "device": "flex", "config_sha256": "ab",
            "git": { "sha": "39", "dirty": false },
            "versions": { "blindfold": "0.1.0", "burn": "0.22.1", "rust": "1.95" },
            "host": null, "cores": 2, "teacher_sha256": null, "dataset_sha256": null, "images_sha256": "cd",
            "image_passes": null, "wall_seconds": { "synth": 30.0, "calibrate": 10.0 }, "resumed": 0,
        });
        std::fs::write(root.path().join("run.json"), info.to_string()).unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_is_there() {
        let records = "{\"step\":0,\"phase\":\"eval\",\"wall\":1.0,\"student/kl\":0.5}\nnonsense\n";
        let root = folder("COMPLETED", None, &[("config.toml", "[quant\n"), (METRICS_FILE, records)]);
        let files = RunFiles::read(root.path()).unwrap();
        assert_eq!(
            (files.faults.len(), files.info().seed, files.summary.is_none()),
            (3, 7, true),
            "{:?}",
            files.faults
        );
        assert!(files.faults.iter().any(|fault| fault.contains("metrics.jsonl line 2")), "{:?}", files.faults);
        std::fs::remove_file(root.path().join("run.json")).unwrap();
        assert!(RunFiles::read(root.path()).is_err());
    }

    #[test]
    fn keys_and_values_are_found() {
        let records = "{\"step\":0,\"phase\":\"eval\",\"wall\":1.0,\"student/kl\":0.5}\n\
                       {\"step\":9,\"phase\":\"eval\",\"wall\":2.0,\"student/kl\":null}\n";
        let config = "[images]\nsource = 'real'\ncount = 8\n";
        let root = folder("RUNNING", None, &[("config.toml", config), (METRICS_FILE, records), ("a/b.txt", "c")]);
        let files = RunFiles::read(root.path()).unwrap();
        assert!(files.faults.is_empty() && files.uses_real_data(), "{:?}", files.faults);
        assert_eq!(files.word("images.source").as_deref(), Some("real"));
        assert_eq!((files.word("images.count").as_deref(), files.word("images.count.x")), (Some("8"), None));
        assert_eq!((files.text("a/b.txt").as_deref(), files.text("a/c.txt")), (Some("c"), None));
        let steps: Vec<u64> = files.values(Phase::Eval, "student/kl").map(|(record, _)| record.step).collect();
        assert_eq!((steps.as_slice(), files.last(Phase::Eval, "student/kl")), ([0, 9].as_slice(), None));
        assert_eq!(files.last(Phase::Synth, "student/kl"), None);
    }
}
