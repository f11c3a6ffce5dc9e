//! A run's records on their way into all sinks.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::RecordError;
use super::folder::RunFolder;
use super::history::{METRICS_FILE, read_history, truncate_history};
use super::line::Record;
use super::lock::Lock;
use super::sample::{SAMPLES_FOLDER, Sample};
use super::sink::MetricSink;

/// Hands each record to every sink, the truth first.
pub struct Recorder {
    folder: PathBuf,
    sinks: Vec<Box<dyn MetricSink>>,
    position: u64,
}

impl Recorder {
    /// Opens the sinks (from [`build_sinks`](super::build_sinks)) on a run folder. Of the records already there the first
    /// `keep` stay: what [`Self::position`] said when the checkpoint that the run resumes from was written, 0 without one.
    ///
    /// # Errors
    /// [`RecordError::CheckpointAhead`], [`RecordError::Corrupt`], [`RecordError::Io`], [`RecordError::Sink`].
    pub fn open(run: &RunFolder, sinks: Vec<Box<dyn MetricSink>>, keep: u64) -> Result<Self, RecordError> {
        let folder = run.path().to_owned();
        let history = truncate_history(&folder.join(METRICS_FILE), keep)?;
        let mut recorder = Self { folder, sinks, position: keep };
        for sink in &mut recorder.sinks {
            sink.open(&recorder.folder, &history)?;
        }
        Ok(recorder)
    }

    /// Writes one record everywhere.
    ///
    /// # Errors
    /// A sink's fault; [`RecordError::NotFinite`] when a metric is NaN or infinite, after the record was written with null in
    /// its place: the run has failed, and its folder shows where.
    pub fn record(&mut self, record: &Record) -> Result<(), RecordError> {
        for sink in &mut self.sinks {
            sink.record(record)?;
        }
        self.position += 1;
        let tags = record.not_finite();
        if tags.is_empty() {
            return Ok(());
        }
        Err(RecordError::NotFinite { step: record.step, phase: record.phase.name(), tags })
    }

    /// Writes a picture into `samples/` and shows it to every sink.
    ///
    /// # Errors
    /// [`RecordError::Io`] and a sink's fault.
    pub fn sample(&mut self, sample: &Sample) -> Result<(), RecordError> {
        sample.save(&self.folder.join(SAMPLES_FOLDER))?;
        self.sinks.iter_mut().try_for_each(|sink| sink.sample(sample))
    }

    /// Records written so far: a checkpoint stores this, for [`Self::open`].
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Makes the records so far outlast a power cut. Call it before a checkpoint that stores [`Self::position`] is written:
    /// the checkpoint is then never ahead of the records.
    ///
    /// # Errors
    /// A sink's fault: the checkpoint should not be written.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        self.sinks.iter_mut().try_for_each(|sink| sink.sync())
    }

    /// Ends all sinks.
    ///
    /// # Errors
    /// The first fault; the other sinks are ended all the same.
    pub fn finish(mut self) -> Result<(), RecordError> {
        let results: Vec<_> = self.sinks.iter_mut().map(|sink| sink.finish()).collect();
        results.into_iter().collect()
    }
}

/// Makes the files of these sinks anew from the metrics.jsonl and the pictures of a run folder that nobody writes at the
/// moment.
///
/// # Errors
/// [`RecordError::Io`] when there is no metrics.jsonl, [`RecordError::Locked`] while the run goes on; in both cases the files
/// stay as they are. Faults of reading and of the sinks.
pub fn rebuild(folder: &Path, sinks: &mut [Box<dyn MetricSink>]) -> Result<(), RecordError> {
    let metrics = folder.join(METRICS_FILE);
    fs::metadata(&metrics).map_err(RecordError::io("read", &metrics))?;
    let _lock = Lock::acquire(folder)?;
    let history = read_history(&metrics)?;
    let samples = Sample::read_all(&folder.join(SAMPLES_FOLDER))?;
    for sink in sinks {
        sink.open(folder, &history)?;
        samples.iter().try_for_each(|sample| sink.sample(sample))?;
        sink.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::Family;

    use super::super::folder::tests::open_new;
    use super::super::line::Phase;
    use super::super::sink::{BUILTIN_SINKS, build_sinks};
    use super::*;

    fn sinks(names: &[&str]) -> Vec<Box<dyn MetricSink>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        build_sinks(&Family::new("metric sink", BUILTIN_SINKS).unwrap(), &names).unwrap()
    }

    fn record(step: u64) -> Record {
        Record::new(Phase::Distill, step, 0.0).with("loss/kl", 0.1 * step as f64)
    }

    #[test]
    fn a_resumed_run_leaves_the_files_of_an_undisturbed_one() {
        let root = tempfile::tempdir().unwrap();
        let mut run = open_new(&root.path().join("killed"));
        let mut recorder = Recorder::open(&run, sinks(&["jsonl", "tensorboard", "csv"]), 0).unwrap();
        for step in 0..7 {
            recorder.record(&record(step)).unwrap();
        }
        let checkpoint = 4;
        drop(recorder);
        let path = run.path().join(METRICS_FILE);
        let torn = fs::read_to_string(&path).unwrap() + r#"{"step":7,"phase":"dis"#;
        fs::write(&path, torn).unwrap();

        let mut recorder = Recorder::open(&run, sinks(&["jsonl", "tensorboard", "csv"]), checkpoint).unwrap();
        assert_eq!(recorder.position(), 4);
        for step in 4..10 {
            recorder.record(&record(step)).unwrap();
        }
        recorder.finish().unwrap();

        run = open_new(&root.path().join("undisturbed"));
        let mut recorder = Recorder::open(&run, sinks(&["csv", "jsonl"]), 0).unwrap();
        for step in 0..10 {
            recorder.record(&record(step)).unwrap();
        }
        recorder.finish().unwrap();
        for name in [METRICS_FILE, "metrics.csv"] {
            let read = |folder: &str| fs::read(root.path().join(folder).join(name)).unwrap();
            assert_eq!(read("killed"), read("undisturbed"), "{name}");
        }
    }

    #[test]
    fn syncing_reaches_every_sink_and_its_fault_is_reported() {
        struct Full;
        impl MetricSink for Full {
            fn name(&self) -> &'static str {
                "full"
            }

            fn open(&mut self, _folder: &Path, _history: &[Record]) -> Result<(), RecordError> {
                Ok(())
            }

            fn record(&mut self, _record: &Record) -> Result<(), RecordError> {
                Ok(())
            }

            fn sync(&mut self) -> Result<(), RecordError> {
                Err(RecordError::Sink { sink: "full", path: PathBuf::new(), reason: "disk full".to_owned() })
            }

            fn finish(&mut self) -> Result<(), RecordError> {
                Ok(())
            }
        }
        let root = tempfile::tempdir().unwrap();
        let run = open_new(&root.path().join("run"));
        let mut sinks = sinks(&["jsonl", "csv"]);
        sinks.iter_mut().for_each(|sink| sink.sync().unwrap());
        sinks.push(Box::new(Full));
        let mut recorder = Recorder::open(&run, sinks, 0).unwrap();
        recorder.record(&record(0)).unwrap();
        assert!(recorder.sync().unwrap_err().to_string().contains("disk full"));
        recorder.sinks.pop();
        recorder.sync().unwrap();
        assert_eq!(recorder.position(), 1);
    }

    #[test]
    fn a_metric_that_is_not_a_number_is_written_as_null_and_reported() {
        let root = tempfile::tempdir().unwrap();
        let run = open_new(&root.path().join("run"));
        let mut recorder = Recorder::open(&run, sinks(&["jsonl"]), 0).unwrap();
        let error = recorder.record(&record(8).with("loss/bn", f64::NAN)).unwrap_err();
        assert!(error.to_string().starts_with("step 8 (distill): `loss/bn` is not finite"), "{error}");
        recorder.finish().unwrap();
        assert!(read_history(&run.path().join(METRICS_FILE)).unwrap()[0].values["loss/bn"].is_nan());
    }

    #[test]
    fn views_are_rebuilt_from_the_truth_but_not_under_a_running_process() {
        let root = tempfile::tempdir().unwrap();
        let run = open_new(&root.path().join("run"));
        let path = run.path().to_owned();
        let mut recorder = Recorder::open(&run, sinks(&["jsonl"]), 0).unwrap();
        recorder.record(&record(1)).unwrap();
        recorder.finish().unwrap();
        let mut views = sinks(&["jsonl", "csv"]).split_off(1);
        assert!(matches!(rebuild(&path, &mut views), Err(RecordError::Locked { .. })));
        drop(run);
        rebuild(&path, &mut views).unwrap();
        assert_eq!(
            fs::read_to_string(path.join("metrics.csv")).unwrap(),
            "step,phase,epoch,wall,loss/kl\n1,distill,,0,0.1\n"
        );
        fs::remove_file(path.join(METRICS_FILE)).unwrap();
        assert!(matches!(rebuild(&path, &mut views), Err(RecordError::Io { .. })));
        assert!(path.join("metrics.csv").exists(), "without the truth its views are all there is");
    }
}
