//! TensorBoard events: a view on metrics.jsonl.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};
use tensorboard_rs::summary_writer::SummaryWriter;

use super::super::error::RecordError;
use super::super::line::Record;
use super::super::sample::{SAMPLES_FOLDER, Sample};
use super::MetricSink;

const PREFIX: &str = "events.out.tfevents.";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TensorBoardConfig {
    /// Whether sample grids are written too.
    images: bool,
}

impl Default for TensorBoardConfig {
    fn default() -> Self {
        Self { images: true }
    }
}

/// One event a metric, with the record's step; one picture a sample, under `samples/<name>`. Numbers become f32; values that
/// are not finite are left out. Opening deletes the events of an earlier life and replays the history, so the file
/// is always a function of metrics.jsonl and samples/ (the events' own wall times aside).
///
/// tensorboard-rs 0.5.9 panics on any fault, in a thread of its own, and truncates a file that an earlier writer of the
/// same second made. Here its panics become errors, the file's records are counted when it closes, and no two writers of a
/// folder share a second.
struct TensorBoard {
    config: TensorBoardConfig,
    open: Option<Open>,
}

struct Open {
    writer: SummaryWriter,
    folder: PathBuf,
    file: PathBuf,
    /// Records written, the file's version header included.
    events: u64,
    shown: BTreeSet<(String, u64)>,
}

fn fault(folder: &Path, reason: impl Into<String>) -> RecordError {
    RecordError::Sink { sink: ENTRY.name, path: folder.to_owned(), reason: reason.into() }
}

/// Runs what may panic inside tensorboard-rs.
fn guarded<T>(folder: &Path, action: &str, run: impl FnOnce() -> T) -> Result<T, RecordError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        fault(
            folder,
            format!("{action} failed (disk full, or the folder was removed?); the metrics are safe in metrics.jsonl"),
        )
    })
}

impl Open {
    fn new(folder: &Path) -> Result<Self, RecordError> {
        let probe = folder.join(".tensorboard-probe");
        fs::write(&probe, b"x").and_then(|()| fs::remove_file(&probe)).map_err(RecordError::io("write in", folder))?;
        let newest = remove_events(folder)?;
        leave_second(newest);
        let writer = guarded(folder, "starting the event writer", || SummaryWriter::new(folder))?;
        let file = await_file(folder).ok_or_else(|| fault(folder, "the event file was not created"));
        match file {
            Ok(file) => Ok(Self { writer, folder: folder.to_owned(), file, events: 1, shown: BTreeSet::new() }),
            Err(error) => {
                let _ = guarded(folder, "closing", || drop(writer));
                Err(error)
            }
        }
    }

    fn record(&mut self, record: &Record) -> Result<(), RecordError> {
        let step = usize::try_from(record.step).unwrap_or(usize::MAX);
        let writer = &mut self.writer;
        let written = guarded(&self.folder, "writing an event", || {
            let mut written = 0;
            for (tag, value) in record.values.iter().filter(|(_, value)| value.is_finite()) {
                writer.add_scalar(tag, *value as f32, step);
                written += 1;
            }
            written
        })?;
        self.events += written;
        Ok(())
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), RecordError> {
        if !self.shown.insert((sample.name().to_owned(), sample.step())) {
            return Ok(());
        }
        // Made square: tensorboard-rs takes the second of its dimensions for the picture's width and calls it height.
        let (side, pixels) = sample.squared();
        let step = usize::try_from(sample.step()).unwrap_or(usize::MAX);
        let tag = format!("samples/{}", sample.name());
        let writer = &mut self.writer;
        guarded(&self.folder, "writing a picture", || writer.add_image(&tag, &pixels, &[3, side, side], step))?;
        self.events += 1;
        Ok(())
    }

    fn close(self) -> Result<(), RecordError> {
        let Self { writer, folder, file, events, .. } = self;
        guarded(&folder, "closing the event file", || drop(writer))?;
        let found = count_frames(&file).map_err(RecordError::io("read back", &file))?;
        if found != events {
            let name = file.display();
            return Err(fault(
                &folder,
                format!("{name} holds {found} of {events} events: rebuild it from metrics.jsonl"),
            ));
        }
        Ok(())
    }
}

impl MetricSink for TensorBoard {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn open(&mut self, folder: &Path, history: &[Record]) -> Result<(), RecordError> {
        let mut open = Open::new(folder)?;
        for record in history {
            open.record(record)?;
        }
        if self.config.images && !history.is_empty() {
            for sample in Sample::read_all(&folder.join(SAMPLES_FOLDER))? {
                open.sample(&sample)?;
            }
        }
        self.open = Some(open);
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), RecordError> {
        match &mut self.open {
            Some(open) => open.record(record),
            None => Err(fault(Path::new(""), "a record came before the sink was opened")),
        }
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), RecordError> {
        match &mut self.open {
            Some(open) if self.config.images => open.sample(sample),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        self.open.take().map_or(Ok(()), Open::close)
    }
}

impl Drop for TensorBoard {
    /// A writer whose thread has died panics when dropped: it must not do so in the middle of another error.
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = guarded(&open.folder, "closing", || drop(open.writer));
        }
    }
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)).map(|entry| entry.path()).collect()
}

/// Deletes the event files and returns the latest second that one of them is named after.
fn remove_events(folder: &Path) -> Result<Option<u64>, RecordError> {
    let mut newest = None;
    for path in event_files(folder) {
        fs::remove_file(&path).map_err(RecordError::io("remove", &path))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let second =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()).and_then(|text| text.parse().ok());
        newest = newest.max(second);
    }
    Ok(newest)
}

/// Waits until the clock shows another second than `second`, so that a TensorBoard that is open now sees a new file.
fn leave_second(second: Option<u64>) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let began = Instant::now();
    while second == Some(now()) && began.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The writer makes its file in a thread of its own, a moment later.
fn await_file(folder: &Path) -> Option<PathBuf> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if let Some(file) = event_files(folder).pop() {
            return Some(file);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Whole records of a TFRecord file: length (u64), its CRC (u32), the data, their CRC (u32).
fn count_frames(path: &Path) -> std::io::Result<u64> {
    let bytes = fs::read(path)?;
    let (mut at, mut frames) = (0_usize, 0);
    while let Some(Ok(length)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let Ok(length) = usize::try_from(u64::from_le_bytes(length)) else { break };
        match at.checked_add(length).and_then(|sum| sum.checked_add(16)) {
            Some(end) if end <= bytes.len() => at = end,
            _ => break,
        }
        frames += 1;
    }
    Ok(frames)
}

/// The plugin.
pub(crate) const ENTRY: Entry<dyn MetricSink> = Entry {
    name: "tensorboard",
    summary: "TensorBoard events in the run folder: scalars and sample grids",
    source: "TensorFlow event files, through tensorboard-rs 0.5.9",
    defaults: defaults_of::<TensorBoardConfig>,
    build: |table| Ok(Box::new(TensorBoard { config: parse(table)?, open: None })),
};

#[cfg(test)]
mod tests {
    use super::super::super::history::METRICS_FILE;
    use super::super::super::line::Phase;
    use super::super::super::recorder::rebuild;
    use super::super::tfrecord::{Event, read_events};
    use super::*;

    fn sink() -> Box<dyn MetricSink> {
        (ENTRY.build)(toml::Table::new()).unwrap()
    }

    fn record(step: u64) -> Record {
        Record::new(Phase::Distill, step, 0.0).with("loss/kl", 1.0 / (step as f64 + 1.0)).with("lr", 0.1)
    }

    fn events(folder: &Path) -> Vec<Event> {
        let files = event_files(folder);
        assert_eq!(files.len(), 1, "{files:?}");
        read_events(&files[0]).unwrap()
    }

    #[test]
    fn the_events_read_back_with_tags_steps_values_and_valid_checksums() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = sink();
        sink.open(root.path(), &[]).unwrap();
        for step in 0..50 {
            sink.record(&record(step)).unwrap();
        }
        sink.record(&Record::new(Phase::Distill, 50, 0.0).with("loss/kl", f64::NAN).with("lr", 0.05)).unwrap();
        sink.finish().unwrap();

        let events = events(root.path());
        assert_eq!(events[0].version.as_deref(), Some("brain.Event:2"));
        let of = |tag: &str| events.iter().filter(|event| event.tag.as_deref() == Some(tag)).collect::<Vec<_>>();
        assert_eq!((events.len(), of("loss/kl").len(), of("lr").len()), (1 + 50 + 51, 50, 51));
        for (step, event) in of("loss/kl").into_iter().enumerate() {
            assert_eq!((event.step, event.value), (step as u64, Some((1.0 / (step as f64 + 1.0)) as f32)));
        }
    }

    #[test]
    fn reopening_in_the_same_second_leaves_what_an_undisturbed_run_leaves() {
        let (undisturbed, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let all: Vec<Record> = (0..20).map(record).collect();
        let mut whole = sink();
        whole.open(undisturbed.path(), &[]).unwrap();
        all.iter().for_each(|record| whole.record(record).unwrap());
        whole.finish().unwrap();

        let mut first = sink();
        first.open(resumed.path(), &[]).unwrap();
        all[..15].iter().for_each(|record| first.record(record).unwrap());
        drop(first);
        let mut second = sink();
        second.open(resumed.path(), &all[..10]).unwrap();
        all[10..].iter().for_each(|record| second.record(record).unwrap());
        second.finish().unwrap();
        assert_eq!(events(resumed.path()), events(undisturbed.path()));
    }

    #[test]
    fn a_picture_is_shown_once_and_again_after_reopening() {
        let root = tempfile::tempdir().unwrap();
        let sample = Sample::new("images", 3, (3, 2, vec![200; 18])).unwrap();
        let mut first = sink();
        first.open(root.path(), &[]).unwrap();
        sample.save(&root.path().join(SAMPLES_FOLDER)).unwrap();
        first.sample(&sample).unwrap();
        first.sample(&sample).unwrap();
        first.finish().unwrap();
        let picture = |folder: &Path| {
            let found: Vec<Event> = events(folder).into_iter().filter(|event| event.image.is_some()).collect();
            assert_eq!(found.len(), 1);
            (found[0].tag.clone(), found[0].step, found[0].image.clone().unwrap())
        };
        let (tag, step, (width, height, png)) = picture(root.path());
        assert_eq!((tag.as_deref(), step, width, height), (Some("samples/images"), 3, 3, 3));
        let decoded = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!((decoded.get_pixel(0, 0).0, decoded.get_pixel(0, 2).0), ([200; 3], [255; 3]));

        let mut again = sink();
        again.open(root.path(), &[record(0)]).unwrap();
        again.sample(&sample).unwrap();
        again.finish().unwrap();
        assert_eq!(picture(root.path()).2.2, png);
    }

    #[test]
    fn rebuilding_keeps_the_pictures_even_of_a_run_without_records() {
        for records in [vec![], vec![record(0)]] {
            let root = tempfile::tempdir().unwrap();
            let lines: String = records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
            fs::write(root.path().join(METRICS_FILE), lines).unwrap();
            for step in [0, 3] {
                let sample = Sample::new("images", step, (2, 2, vec![90; 12])).unwrap();
                sample.save(&root.path().join(SAMPLES_FOLDER)).unwrap();
            }
            rebuild(root.path(), &mut [sink()]).unwrap();
            let events = events(root.path());
            let pictures: Vec<u64> =
                events.iter().filter(|event| event.image.is_some()).map(|event| event.step).collect();
            assert_eq!((pictures, events.len()), (vec![0, 3], 1 + 2 * records.len() + 2));
        }
    }

    #[test]
    fn faults_of_the_folder_are_errors_not_panics() {
        let root = tempfile::tempdir().unwrap();
        let not_a_folder = root.path().join("file");
        fs::write(&not_a_folder, "").unwrap();
        assert!(matches!(sink().open(&not_a_folder, &[]), Err(RecordError::Io { .. })));

        let mut lost = sink();
        lost.open(root.path(), &[]).unwrap();
        lost.record(&record(0)).unwrap();
        let file = event_files(root.path()).pop().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&file, b"").unwrap();
        let text = lost.finish().unwrap_err().to_string();
        assert!(text.contains("of 3 events: rebuild it"), "{text}");
    }

    #[test]
    fn a_dead_writer_thread_becomes_an_error() {
        let folder = Path::new("/somewhere");
        let error = guarded(folder, "writing an event", || panic!("write error")).unwrap_err();
        assert!(error.to_string().contains("metrics are safe"), "{error}");
    }
}
