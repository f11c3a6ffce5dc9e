//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::RecordError;
use super::git::host_name;

const MARK: &str = ".part-";

/// Writes `bytes` to `path` through a temporary file beside it and a rename, so that a reader, or a process killed at
/// any moment, sees the old content or the new, never a part. Missing folders are made.
///
/// # Errors
/// [`RecordError::Io`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(RecordError::io("create folder", parent))?;
    }
    let part = beside(path);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&part);
        return Err(RecordError::io("write", path)(error));
    }
    fs::rename(&part, path).map_err(|error| {
        let _ = fs::remove_file(&part);
        RecordError::io("rename into place", path)(error)
    })
}

/// A name for the temporary stage of `path`, in the same folder, hidden, with this process' id and its machine's name,
/// for machines may share the folder.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut host = host_name().unwrap_or_default();
    host.retain(|c| c.is_ascii_alphanumeric() || c == '-');
    path.with_file_name(format!(".{name}{MARK}{}-{host}", std::process::id()))
}

/// Removes what killed processes left half-written in `folder`. Call it only while holding the folder's lock.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.contains(MARK) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_litter() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b.txt");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let folder_in_the_way = root.path().join("a");
        assert!(matches!(write_atomic(&folder_in_the_way, b"x"), Err(RecordError::Io { .. })));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweeping_removes_the_stages_of_killed_processes_only() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".run.json.part-999999999"), "{").unwrap();
        fs::write(root.path().join(".lock"), "1").unwrap();
        fs::write(root.path().join("run.json"), "{}").unwrap();
        sweep(root.path());
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [".lock", "run.json"]);
    }
}
