//! metrics.csv: the whole run as one wide table, for spreadsheets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::super::atomic::write_atomic;
use super::super::error::RecordError;
use super::super::history::{METRICS_FILE, read_history};
use super::super::line::Record;
use super::super::table::csv_cell;
use super::MetricSink;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CsvConfig {}

/// Writes the table when the run ends, from metrics.jsonl: a row a record, a column a tag in alphabetical order, empty where
/// a record lacks the tag or its value was not finite.
#[derive(Default)]
struct Csv {
    folder: Option<PathBuf>,
}

impl MetricSink for Csv {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn open(&mut self, folder: &Path, _history: &[Record]) -> Result<(), RecordError> {
        self.folder = Some(folder.to_owned());
        Ok(())
    }

    fn record(&mut self, _record: &Record) -> Result<(), RecordError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        let Some(folder) = self.folder.take() else { return Ok(()) };
        let records = read_history(&folder.join(METRICS_FILE))?;
        write_atomic(&folder.join("metrics.csv"), wide(&records).as_bytes())
    }
}

fn wide(records: &[Record]) -> String {
    let tags: BTreeSet<&str> = records.iter().flat_map(|record| record.values.keys().map(String::as_str)).collect();
    let mut text = String::from("step,phase,epoch,wall");
    for tag in &tags {
        text.push(',');
        text += &csv_cell(tag);
    }
    text.push('\n');
    for record in records {
        let epoch = record.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        text += &format!("{},{},{epoch},{}", record.step, record.phase, record.wall);
        for tag in &tags {
            text.push(',');
            if let Some(value) = record.values.get(*tag).filter(|value| value.is_finite()) {
                text += &value.to_string();
            }
        }
        text.push('\n');
    }
    text
}

/// The plugin.
pub(crate) const ENTRY: Entry<dyn MetricSink> = Entry {
    name: "csv",
    summary: "metrics.csv, a wide table written when the run ends",
    source: "RFC 4180",
    defaults: defaults_of::<CsvConfig>,
    build: |table| {
        let CsvConfig {} = parse(table)?;
        Ok(Box::<Csv>::default())
    },
};

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::line::Phase;
    use super::*;

    #[test]
    fn the_table_has_a_column_for_each_tag() {
        let root = tempfile::tempdir().unwrap();
        let records = [
            Record::new(Phase::Distill, 0, 0.5).with("loss/kl", 0.1 + 0.2).with("a,b", 1.0),
            Record::new(Phase::Eval, 1, 1.0).at_epoch(4).with("loss/kl", f64::NAN).with("eval/top1", 90.0),
        ];
        let text: String = records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
        fs::write(root.path().join(METRICS_FILE), text).unwrap();
        let mut sink = Csv::default();
        sink.open(root.path(), &[]).unwrap();
        sink.finish().unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("metrics.csv")).unwrap(),
            "step,phase,epoch,wall,\"a,b\",eval/top1,loss/kl\n\
             0,distill,,0.5,1,,0.30000000000000004\n\
             1,eval,4,1,,90,\n"
        );
    }
}
