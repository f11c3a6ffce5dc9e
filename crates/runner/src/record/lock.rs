//! One writer a run folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::error::RecordError;
use super::git::host_name;

const LOCK_FILE: &str = ".lock";

/// The right to write a run folder, held until dropped.
///
/// The operating system's lock on `.lock` decides, so a killed process holds nothing, however it died, and its process id
/// may be anyone's by now; the id in the file is for people. The file stays: to delete it could take a lock from
/// somebody who has just opened it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    pub(crate) fn acquire(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(RecordError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim().to_owned() } else { "another process".to_owned() };
                return Err(RecordError::Locked { path: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(RecordError::io("lock", &path)(error)),
        }
        let host = host_name().unwrap_or_else(|| "unknown".to_owned());
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "process {} on host {host}", std::process::id()));
        written.map_err(RecordError::io("write", &path))?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_second_writer_is_refused_and_told_who_the_first_is() {
        let root = tempfile::tempdir().unwrap();
        let first = Lock::acquire(root.path()).unwrap();
        let text = Lock::acquire(root.path()).unwrap_err().to_string();
        assert!(text.contains(&format!("written by process {} on host", std::process::id())), "{text}");
        drop(first);
        Lock::acquire(root.path()).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(LOCK_FILE), "process 999999999 on host elsewhere").unwrap();
        let _lock = Lock::acquire(root.path()).unwrap();
        let text = fs::read_to_string(root.path().join(LOCK_FILE)).unwrap();
        assert!(text.starts_with(&format!("process {} on", std::process::id())), "{text}");
    }
}
