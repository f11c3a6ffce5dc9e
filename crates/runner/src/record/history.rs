//! metrics.jsonl read back: whole lines only.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use super::error::RecordError;
use super::line::Record;

/// The file's name in a run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The records of a metrics file, in order. A last line without newline (a process was killed while writing it) is not a
/// record and is left out; a file that is not there has none.
///
/// # Errors
/// [`RecordError::Io`]; [`RecordError::Corrupt`] with the line that is no record.
pub fn read_history(path: &Path) -> Result<Vec<Record>, RecordError> {
    Ok(read_lines(path)?.into_iter().map(|(record, _)| record).collect())
}

/// Cuts the file after its first `keep` records, also removing a half-written last line, and returns those records.
pub(crate) fn truncate_history(path: &Path, keep: u64) -> Result<Vec<Record>, RecordError> {
    let mut lines = read_lines(path)?;
    let found = lines.len() as u64;
    if found < keep {
        return Err(RecordError::CheckpointAhead { path: path.to_owned(), wanted: keep, found });
    }
    lines.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    let length = lines.last().map_or(0, |(_, end)| *end);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.and_then(|file| {
        file.set_len(length)?;
        file.sync_all()
    })
    .map_err(RecordError::io("truncate", path))?;
    Ok(lines.into_iter().map(|(record, _)| record).collect())
}

/// Whether two histories agree bit for bit, times aside ([`Record::timeless`]). NaN equals NaN.
pub fn equal_but_time(a: &[Record], b: &[Record]) -> bool {
    let lines = |records: &[Record]| -> Vec<Option<String>> {
        records.iter().map(|record| record.timeless().to_line().ok()).collect()
    };
    lines(a) == lines(b)
}

/// Every record with the byte offset after its newline.
fn read_lines(path: &Path) -> Result<Vec<(Record, u64)>, RecordError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(RecordError::io("read", path)(error)),
    };
    let mut records = Vec::new();
    let mut offset = 0;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        if piece.last() != Some(&b'\n') {
            break;
        }
        offset += piece.len() as u64;
        let corrupt = |reason: String| RecordError::Corrupt { path: path.to_owned(), line: records.len() + 1, reason };
        let text = std::str::from_utf8(piece).map_err(|error| corrupt(error.to_string()))?;
        let record = Record::from_line(text).map_err(corrupt)?;
        records.push((record, offset));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::line::Phase;
    use super::*;

    fn record(step: u64) -> Record {
        Record::new(Phase::Distill, step, step as f64).with("loss/kl", 1.0 / (step as f64 + 1.0))
    }

    fn file_of(steps: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(METRICS_FILE);
        let text: String = (0..steps).map(|step| record(step).to_line().unwrap() + "\n").collect();
        fs::write(&path, text).unwrap();
        (root, path)
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_whole_lines() {
        let (_root, path) = file_of(4);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let complete = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
            let expected: Vec<Record> = (0..complete).map(record).collect();
            assert_eq!(read_history(&path).unwrap(), expected);
            assert_eq!(truncate_history(&path, complete).unwrap(), expected);
            let left = fs::read(&path).unwrap();
            assert!(left.is_empty() || left.ends_with(b"\n"));
        }
    }

    #[test]
    fn truncating_keeps_the_records_before_the_checkpoint() {
        let (_root, path) = file_of(5);
        assert_eq!(truncate_history(&path, 2).unwrap(), [record(0), record(1)]);
        assert_eq!(read_history(&path).unwrap().len(), 2);
        assert!(matches!(truncate_history(&path, 3), Err(RecordError::CheckpointAhead { wanted: 3, found: 2, .. })));
        assert!(truncate_history(&path, 0).unwrap().is_empty());
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error_with_its_number() {
        let (_root, path) = file_of(3);
        let text = fs::read_to_string(&path).unwrap().replace("\"step\":1", "\"step\":x");
        fs::write(&path, text).unwrap();
        assert!(matches!(read_history(&path), Err(RecordError::Corrupt { line: 2, .. })));
    }

    #[test]
    fn histories_agree_when_only_time_differs() {
        let early: Vec<Record> = (0..3).map(record).collect();
        let mut late = early.clone();
        late[1].wall += 5.0;
        assert!(equal_but_time(&early, &late));
        late[1].values.insert("loss/kl".to_owned(), f64::from_bits(0.5_f64.to_bits() + 1));
        assert!(!equal_but_time(&early, &late));
    }
}
