//! log.txt: what a run said, in its folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

static TARGET: Mutex<Option<File>> = Mutex::new(None);

/// While it lives, log lines go into the run's log.txt too.
pub(crate) struct RunLog;

impl RunLog {
    /// Appends to `log.txt` in the folder; a folder that cannot be written is reported by those who write results there.
    pub(crate) fn open(folder: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(folder.join("log.txt"));
        *TARGET.lock().unwrap_or_else(PoisonError::into_inner) = file.ok();
        Self
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        *TARGET.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The writer that the log is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLogWriter;

impl Write for RunLogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match TARGET.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for RunLogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
