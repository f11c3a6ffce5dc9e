//! The folder of one run: `<results>/runs/<experiment>/<method>/seed-<n>/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::atomic::{beside, sweep, write_atomic};
use super::clock::rfc3339;
use super::config_diff::differences_of_runs;
use super::error::RecordError;
use super::lock::Lock;
use super::run_info::{RunIdentity, RunInfo, Status};
use super::sample::SAMPLES_FOLDER;
use super::summary::Summary;

const RUN_FILE: &str = "run.json";
const CONFIG_FILE: &str = "config.toml";
const SUMMARY_FILE: &str = "summary.json";
const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// What a run is opened with.
#[derive(Debug, Clone, Copy)]
pub struct OpenRequest<'a> {
    /// Experiment, method, seed, device.
    pub identity: &'a RunIdentity,
    /// The resolved configuration; written as config.toml.
    pub config: &'a toml::Table,
    /// Its hash ([`config_hash`](super::config_hash)).
    pub config_hash: &'a str,
    /// The command line as typed; written as overrides.txt.
    pub overrides: &'a str,
    /// Where the code lies, for its commit.
    pub work_tree: &'a Path,
    /// Move whatever run is there aside, finished or not.
    pub fresh: bool,
    /// Accuracy can be measured now: make a finished run again whose summary says that it was not.
    pub remeasure: bool,
}

/// What opening found.
#[derive(Debug)]
pub enum Opened {
    /// Nothing, or a run that was moved aside: the run begins.
    New(RunFolder),
    /// An unfinished run of the same configuration, other words about it apart, which goes on from its last checkpoint.
    Resume(RunFolder),
    /// A finished one of the same configuration: there is nothing to do.
    Finished(PathBuf),
}

/// A run folder that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    info: RunInfo,
    _lock: Lock,
}

impl RunFolder {
    /// Where the run of these names lies below the `runs` folder.
    pub fn path_of(runs: &Path, experiment: &str, method: &str, seed: u64) -> PathBuf {
        runs.join(experiment).join(method).join(format!("seed-{seed}"))
    }

    /// Begins, takes up or finds the run at `path`.
    ///
    /// The folder of a new run appears at once, with run.json (status RUNNING), config.toml and overrides.txt in it. A run
    /// whose process was killed still says RUNNING and is taken up like an interrupted one. Where only the words about a run have
    /// changed (summary, source, differences, budget), it is the same run, and its files take the new ones.
    ///
    /// Three runs are moved aside, to `<name>.old-<n>`, and begun anew: any when [`fresh`](OpenRequest::fresh) asks for it; one
    /// of another configuration that FAILED before its first checkpoint, since there is nothing to go on from; with
    /// [`remeasure`](OpenRequest::remeasure), a finished one whose accuracy was not measured.
    ///
    /// # Errors
    /// [`RecordError::Differs`] for a run of another configuration, [`RecordError::Locked`] when another process writes the
    /// folder, [`RecordError::NotARunFolder`], [`RecordError::Format`] for a damaged run.json, [`RecordError::Io`].
    pub fn open(path: &Path, request: OpenRequest<'_>) -> Result<Opened, RecordError> {
        if path.is_dir() && is_empty(path)? {
            fs::remove_dir(path).map_err(RecordError::io("replace the empty folder", path))?;
        }
        if !path.exists() {
            return Self::create(path, request).map(Opened::New);
        }
        if !path.join(RUN_FILE).is_file() {
            return Err(RecordError::NotARunFolder { path: path.to_owned() });
        }
        let lock = Lock::acquire(path)?;
        if request.fresh {
            return Self::replace(path, lock, request);
        }
        let mut info: RunInfo = read_json(&path.join(RUN_FILE))?;
        if info.config_sha256 != request.config_hash {
            if info.status == Status::Failed && !has_checkpoint(path)? {
                return Self::replace(path, lock, request);
            }
            let old = read_table(&path.join(CONFIG_FILE))?;
            let differences = differences_of_runs(&old, request.config);
            if !differences.is_empty() {
                return Err(RecordError::Differs { path: path.to_owned(), differences });
            }
            write_config(&path.join(CONFIG_FILE), request.config)?;
            request.config_hash.clone_into(&mut info.config_sha256);
            write_json(&path.join(RUN_FILE), &info)?;
        }
        if info.status == Status::Completed {
            if request.remeasure && !Self::read_summary(path)?.accuracy_measured {
                return Self::replace(path, lock, request);
            }
            return Ok(Opened::Finished(path.to_owned()));
        }
        for folder in [path.to_owned(), path.join(CHECKPOINTS_FOLDER), path.join(SAMPLES_FOLDER)] {
            sweep(&folder);
        }
        info.resumed += 1;
        info.status = Status::Running;
        (info.ended, info.error) = (None, None);
        info.device.clone_from(&request.identity.device);
        let mut run = Self { path: path.to_owned(), info, _lock: lock };
        run.update(|_| {})?;
        Ok(Opened::Resume(run))
    }

    /// Moves the run at `path` aside, gives its lock back and begins a new one.
    fn replace(path: &Path, lock: Lock, request: OpenRequest<'_>) -> Result<Opened, RecordError> {
        move_aside(path)?;
        drop(lock);
        Self::create(path, request).map(Opened::New)
    }

    fn create(path: &Path, request: OpenRequest<'_>) -> Result<Self, RecordError> {
        let stage = beside(path);
        if stage.exists() {
            fs::remove_dir_all(&stage).map_err(RecordError::io("remove", &stage))?;
        }
        let info = RunInfo::begin(request.identity, request.config_hash, request.work_tree);
        write_json(&stage.join(RUN_FILE), &info)?;
        write_config(&stage.join(CONFIG_FILE), request.config)?;
        write_atomic(&stage.join("overrides.txt"), format!("{}\n", request.overrides).as_bytes())?;
        for name in [CHECKPOINTS_FOLDER, SAMPLES_FOLDER] {
            let folder = stage.join(name);
            fs::create_dir_all(&folder).map_err(RecordError::io("create folder", &folder))?;
        }
        let lock = Lock::acquire(&stage)?;
        if let Err(error) = fs::rename(&stage, path) {
            drop(lock);
            let _ = fs::remove_dir_all(&stage);
            // Somebody else's folder appeared meanwhile: its lock says whose.
            return Err(match Lock::acquire(path) {
                Err(locked @ RecordError::Locked { .. }) => locked,
                _ => RecordError::io("create run folder", path)(error),
            });
        }
        Ok(Self { path: path.to_owned(), info, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What run.json says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Writes a file of the folder whole or not at all, by its relative path such as `checkpoints/last.bin`.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), RecordError> {
        write_atomic(&self.path.join(relative), bytes)
    }

    /// Changes run.json, in memory and on disk.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn update(&mut self, change: impl FnOnce(&mut RunInfo)) -> Result<(), RecordError> {
        change(&mut self.info);
        write_json(&self.path.join(RUN_FILE), &self.info)
    }

    /// Writes summary.json, then, as the last thing, the status COMPLETED.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn complete(mut self, summary: &Summary) -> Result<PathBuf, RecordError> {
        write_json(&self.path.join(SUMMARY_FILE), summary)?;
        self.end(Status::Completed, None)?;
        Ok(self.path)
    }

    /// Marks the run as stopped by the user.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn interrupt(mut self) -> Result<PathBuf, RecordError> {
        self.end(Status::Interrupted, None)?;
        Ok(self.path)
    }

    /// Marks the run as ended by an error.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn fail(mut self, error: &str) -> Result<PathBuf, RecordError> {
        self.end(Status::Failed, Some(error.to_owned()))?;
        Ok(self.path)
    }

    fn end(&mut self, status: Status, error: Option<String>) -> Result<(), RecordError> {
        self.update(|info| {
            info.status = status;
            info.error = error;
            info.ended = Some(rfc3339(SystemTime::now()));
        })
    }

    /// Whether the run of a folder, whose run.json says `info`, is that of a configuration with this hash, whatever the words
    /// about it.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::Format`] for its config.toml.
    pub fn is_of(path: &Path, info: &RunInfo, config: &toml::Table, config_hash: &str) -> Result<bool, RecordError> {
        Ok(info.config_sha256 == config_hash
            || differences_of_runs(&read_table(&path.join(CONFIG_FILE))?, config).is_empty())
    }

    /// The run.json of a folder, without taking it.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::Format`].
    pub fn read_info(path: &Path) -> Result<RunInfo, RecordError> {
        read_json(&path.join(RUN_FILE))
    }

    /// The summary.json of a finished run.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::Format`].
    pub fn read_summary(path: &Path) -> Result<Summary, RecordError> {
        read_json(&path.join(SUMMARY_FILE))
    }
}

fn is_empty(path: &Path) -> Result<bool, RecordError> {
    Ok(fs::read_dir(path).map_err(RecordError::io("list", path))?.next().is_none())
}

/// Whether there is a checkpoint to go on from; a half-written one (hidden) is none.
fn has_checkpoint(path: &Path) -> Result<bool, RecordError> {
    let folder = path.join(CHECKPOINTS_FOLDER);
    match fs::read_dir(&folder) {
        Ok(entries) => Ok(entries.flatten().any(|entry| !entry.file_name().to_string_lossy().starts_with('.'))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(RecordError::io("list", &folder)(error)),
    }
}

fn move_aside(path: &Path) -> Result<(), RecordError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let free = (1_u32..).map(|n| path.with_file_name(format!("{name}.old-{n}"))).find(|aside| !aside.exists());
    let aside = free.expect("among four thousand million names one is free");
    fs::rename(path, aside).map_err(RecordError::io("move aside", path))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = fs::read(path).map_err(RecordError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(RecordError::format(path))
}

fn read_table(path: &Path) -> Result<toml::Table, RecordError> {
    let text = fs::read_to_string(path).map_err(RecordError::io("read", path))?;
    text.parse().map_err(RecordError::format::<toml::de::Error>(path))
}

fn write_config(path: &Path, config: &toml::Table) -> Result<(), RecordError> {
    let text = toml::to_string_pretty(config).map_err(RecordError::format(path))?;
    write_atomic(path, text.as_bytes())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let mut text = serde_json::to_string_pretty(value).map_err(RecordError::format(path))?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

#[cfg(test)]
#[path = "folder_tests.rs"]
pub(super) mod tests;
