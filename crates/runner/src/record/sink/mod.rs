//! Metric sinks: where records go. `jsonl` is the truth; the others are functions of it.

mod csv;
mod jsonl;
mod tensorboard;
#[cfg(test)]
mod tfrecord;

use std::path::Path;

use blindfold_zoo::{ConfigError, Entry, Family};

use super::error::RecordError;
use super::line::Record;
use super::sample::Sample;

/// Takes a run's records as they come.
///
/// A sink is built from its own TOML table, then opened once on a run folder. It must leave the same files behind whether
/// it saw a run from its start, or was opened in the middle with the records so far as `history`.
pub trait MetricSink: Send {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Starts in `folder`, which exists and belongs to this process. `history` is what metrics.jsonl holds already; whatever
    /// the sink wrote for later records in an earlier life is to be undone.
    ///
    /// # Errors
    /// [`RecordError::Io`] or [`RecordError::Sink`] when the folder cannot be written.
    fn open(&mut self, folder: &Path, history: &[Record]) -> Result<(), RecordError>;

    /// Takes one record.
    ///
    /// # Errors
    /// [`RecordError::Io`] or [`RecordError::Sink`] when it could not be written.
    fn record(&mut self, record: &Record) -> Result<(), RecordError>;

    /// Takes one picture, whose PNG stands in the run folder already.
    ///
    /// # Errors
    /// As [`Self::record`].
    fn sample(&mut self, _sample: &Sample) -> Result<(), RecordError> {
        Ok(())
    }

    /// Makes what was recorded so far outlast a power cut. A sink whose files are made from metrics.jsonl need not: they are
    /// rebuilt.
    ///
    /// # Errors
    /// As [`Self::record`].
    fn sync(&mut self) -> Result<(), RecordError> {
        Ok(())
    }

    /// Ends: everything is in its file after this.
    ///
    /// # Errors
    /// As [`Self::record`].
    fn finish(&mut self) -> Result<(), RecordError>;
}

/// Every sink of this program.
pub const BUILTIN_SINKS: &[Entry<dyn MetricSink>] = &[jsonl::ENTRY, tensorboard::ENTRY, csv::ENTRY];

/// Builds the sinks of these names with their defaults, `jsonl` first.
///
/// # Errors
/// Unknown names with near matches; a name that stands twice; `jsonl` missing, since everything else is rebuilt from it.
pub fn build_sinks(family: &Family<dyn MetricSink>, names: &[String]) -> Result<Vec<Box<dyn MetricSink>>, ConfigError> {
    if !names.iter().any(|name| name == "jsonl") {
        let found = format!("[{}]", names.join(", "));
        return Err(ConfigError::invalid("sinks", found, "add \"jsonl\": the other sinks are made from it"));
    }
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(ConfigError::invalid("sinks", format!("\"{}\" twice", twice.1), "name each sink once"));
    }
    let mut sinks: Vec<_> =
        names.iter().map(|name| family.build(name, toml::Table::new())).collect::<Result<_, _>>()?;
    sinks.sort_by_key(|sink| sink.name() != "jsonl");
    Ok(sinks)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn family() -> Family<dyn MetricSink> {
        Family::new("metric sink", BUILTIN_SINKS).unwrap()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_file_of_this_folder_stands_in_the_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/record/sink");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|stem| stem != "mod" && stem != "tfrecord")
            .collect();
        files.sort();
        let mut table: Vec<&str> = BUILTIN_SINKS.iter().map(|entry| entry.name).collect();
        table.sort_unstable();
        assert_eq!(files, table);
    }

    #[test]
    fn defaults_build_each_sink_under_its_name_and_unknown_keys_do_not() {
        for entry in BUILTIN_SINKS {
            assert_eq!((entry.build)((entry.defaults)()).unwrap().name(), entry.name);
            let unknown = toml::Table::from_iter([("colour".to_owned(), toml::Value::Boolean(true))]);
            assert!((entry.build)(unknown).is_err(), "{}", entry.name);
        }
    }

    #[test]
    fn jsonl_is_required_and_comes_first() {
        let sinks = build_sinks(&family(), &names(&["csv", "jsonl"])).unwrap();
        assert_eq!(sinks.iter().map(|sink| sink.name()).collect::<Vec<_>>(), ["jsonl", "csv"]);
        assert!(build_sinks(&family(), &names(&["csv"])).err().unwrap().to_string().contains("add \"jsonl\""));
        assert!(build_sinks(&family(), &names(&["jsonl", "jsonl"])).is_err());
        assert!(
            build_sinks(&family(), &names(&["jsonl", "tensorbord"])).err().unwrap().to_string().contains("tensorboard")
        );
    }
}
