//! Digests kept beside the data: `SHA256SUMS`, as `sha256sum` writes and checks it.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use super::checksum::Checksum;
use super::error::DataError;

/// Record of the files that were unpacked from an archive whose published checksum was right; in their folder.
pub(super) const UNPACKED: &str = ".unpacked.sha256";

/// Record of whatever a person put into the data folder; in the data folder.
pub(super) const SUMS: &str = "SHA256SUMS";

/// Writes `record` into `folder` for these of its files.
pub(super) fn write(folder: &Path, record: &str, names: &[String]) -> Result<(), DataError> {
    let mut text = String::new();
    for name in names {
        let path = folder.join(name);
        let file = File::open(&path).map_err(DataError::io("open", &path))?;
        let digest = Checksum::sha256("").digest(file).map_err(DataError::io("read", &path))?;
        let _ = writeln!(text, "{digest}  {name}");
    }
    let path = folder.join(record);
    std::fs::write(&path, text).map_err(DataError::io("write", &path))
}

/// Holds `folder/name` against `folder/record`; false if there is no such record or it does not list the file.
pub(super) fn check(folder: &Path, record: &str, name: &str) -> Result<bool, DataError> {
    let path = folder.join(record);
    if !path.is_file() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
    let listed = text.lines().filter_map(|line| line.split_once("  ")).find(|(_, listed)| *listed == name);
    let Some((digest, _)) = listed else { return Ok(false) };
    let fix = format!(
        "the file is damaged or another than {} says: delete it and fetch it again, or correct that line",
        path.display()
    );
    Checksum::Sha256(Cow::Owned(digest.to_owned())).check(&folder.join(name), fix)?;
    Ok(true)
}

/// True if there is a record and every file that it lists is there unchanged.
pub(super) fn holds(folder: &Path, record: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(record)) else { return false };
    let mut names = text.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).peekable();
    names.peek().is_some() && names.all(|name| check(folder, record, name).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_file_is_accepted_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), "abc").unwrap();
        assert!(!check(folder.path(), SUMS, "a.bin").unwrap());
        write(folder.path(), SUMS, &["a.bin".to_owned()]).unwrap();
        assert!(check(folder.path(), SUMS, "a.bin").unwrap());
        assert!(!check(folder.path(), SUMS, "b.bin").unwrap());
        assert!(holds(folder.path(), SUMS) && !holds(folder.path(), UNPACKED));
        std::fs::write(folder.path().join("a.bin"), "abd").unwrap();
        assert!(matches!(check(folder.path(), SUMS, "a.bin"), Err(DataError::Checksum { .. })));
        assert!(!holds(folder.path(), SUMS));
    }
}
