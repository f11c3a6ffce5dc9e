//! The truth: one line of JSON a record, appended and handed to the system at once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::super::error::RecordError;
use super::super::history::{METRICS_FILE, truncate_history};
use super::super::line::Record;
use super::MetricSink;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonlConfig {}

/// Appends to `metrics.jsonl`. Each line is one write, so a killed process leaves at most one part of a line, which
/// readers leave out and a resumed run cuts off.
#[derive(Default)]
struct Jsonl {
    open: Option<(File, PathBuf)>,
}

impl MetricSink for Jsonl {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn open(&mut self, folder: &Path, history: &[Record]) -> Result<(), RecordError> {
        let path = folder.join(METRICS_FILE);
        truncate_history(&path, history.len() as u64)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(RecordError::io("open", &path))?;
        self.open = Some((file, path));
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), RecordError> {
        let mut line = record.to_line()?;
        line.push('\n');
        match &mut self.open {
            Some((file, path)) => file.write_all(line.as_bytes()).map_err(RecordError::io("append to", path)),
            None => Err(RecordError::Sink {
                sink: ENTRY.name,
                path: PathBuf::new(),
                reason: "a record came before the sink was opened".to_owned(),
            }),
        }
    }

    fn sync(&mut self) -> Result<(), RecordError> {
        match &self.open {
            Some((file, path)) => file.sync_data().map_err(RecordError::io("sync", path)),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        match self.open.take() {
            Some((file, path)) => file.sync_all().map_err(RecordError::io("sync", &path)),
            None => Ok(()),
        }
    }
}

/// The plugin.
pub(crate) const ENTRY: Entry<dyn MetricSink> = Entry {
    name: "jsonl",
    summary: "metrics.jsonl, one JSON object a line; everything else is made from it",
    source: "JSON Lines, https://jsonlines.org",
    defaults: defaults_of::<JsonlConfig>,
    build: |table| {
        let JsonlConfig {} = parse(table)?;
        Ok(Box::<Jsonl>::default())
    },
};

#[cfg(test)]
mod tests {
    use super::super::super::history::read_history;
    use super::super::super::line::Phase;
    use super::*;

    #[test]
    fn every_record_is_in_the_file_at_once_and_reopening_cuts_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(METRICS_FILE);
        let record = |step| Record::new(Phase::Synth, step, 0.5).with("loss/bn", 0.1 * step as f64);
        let mut sink = Jsonl::default();
        assert!(sink.record(&record(0)).is_err());
        sink.open(root.path(), &[]).unwrap();
        for step in 0..3 {
            sink.record(&record(step)).unwrap();
            assert_eq!(read_history(&path).unwrap().len() as u64, step + 1);
        }
        drop(sink);
        let mut again = Jsonl::default();
        again.open(root.path(), &[record(0)]).unwrap();
        again.record(&record(9)).unwrap();
        again.finish().unwrap();
        assert_eq!(read_history(&path).unwrap(), [record(0), record(9)]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("not there");
        assert!(matches!(Jsonl::default().open(&missing, &[]), Err(RecordError::Io { .. })));
    }
}
