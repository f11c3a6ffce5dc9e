//! Names for half-finished work.

use std::path::{Path, PathBuf};

/// A temporary file or folder beside its target, on the same file system; removed when dropped, if it is still there.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// `.NAME.PROCESS.part` beside `target`.
    pub(super) fn beside(target: &Path) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        Self(target.with_file_name(format!(".{name}.{}.part", std::process::id())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the name says that the work is unfinished.
        if self.0.is_dir() {
            let _ = std::fs::remove_dir_all(&self.0);
        } else {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
