//! Gzipped tar archives, unpacked beside their target and renamed.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::error::DataError;
use super::recorded;
use super::scratch::Scratch;

/// Unpacks the files of `folder` in a gzipped tar archive into `home/folder`, and records their digests there.
///
/// Everything goes to a temporary folder first. Where `home/folder` exists already, the files are moved into it one by
/// one and others in it stay.
///
/// # Errors
/// [`DataError::Malformed`] for an archive that is damaged, holds a path outside of its own folder, anything but plain
/// files and folders, more than `most_bytes` or no file of `folder`; [`DataError::Io`].
pub(super) fn unpack(archive: &Path, home: &Path, folder: &str, most_bytes: u64) -> Result<PathBuf, DataError> {
    let target = home.join(folder);
    let scratch = Scratch::beside(&target);
    std::fs::create_dir_all(scratch.path()).map_err(DataError::io("create", scratch.path()))?;
    let names = extract(archive, scratch.path(), folder, most_bytes)?;
    if names.is_empty() {
        return Err(bad(archive, format!("no file in {folder}/"), format!("the files of {folder}/")));
    }
    recorded::write(scratch.path(), recorded::UNPACKED, &names)?;
    if target.is_dir() {
        for name in names.iter().map(String::as_str).chain([recorded::UNPACKED]) {
            let place = target.join(name);
            std::fs::rename(scratch.path().join(name), &place).map_err(DataError::io("replace", &place))?;
        }
    } else {
        std::fs::rename(scratch.path(), &target).map_err(DataError::io("rename the unpacked files to", &target))?;
    }
    Ok(target)
}

/// Extracts the files that lie directly in `folder`, and returns their names.
fn extract(archive: &Path, into: &Path, folder: &str, most_bytes: u64) -> Result<Vec<String>, DataError> {
    let broken = |error: std::io::Error| bad(archive, error.to_string(), "a gzipped tar archive".to_owned());
    let file = File::open(archive).map_err(DataError::io("open", archive))?;
    let mut reader = Archive::new(GzDecoder::new(file));
    let (mut names, mut total) = (Vec::new(), 0u64);
    for entry in reader.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let parts = plain_parts(&path)
            .ok_or_else(|| bad(archive, format!("the path {}", path.display()), format!("paths within {folder}/")))?;
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous => {}
            other => {
                let found = format!("{} of kind {other:?}", path.display());
                return Err(bad(archive, found, "plain files and folders only".to_owned()));
            }
        }
        total = total.saturating_add(entry.size());
        if total > most_bytes {
            return Err(bad(archive, format!("more than {most_bytes} bytes"), "less".to_owned()));
        }
        let [first, name] = parts.as_slice() else { continue };
        if first == folder {
            let place = into.join(name);
            let mut file = File::create(&place).map_err(DataError::io("create", &place))?;
            std::io::copy(&mut entry, &mut file).map_err(broken)?;
            file.sync_all().map_err(DataError::io("write", &place))?;
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// The path's components, if all are plain names.
fn plain_parts(path: &Path) -> Option<Vec<String>> {
    path.components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        })
        .collect()
}

fn bad(archive: &Path, found: String, expected: String) -> DataError {
    DataError::malformed(archive, found, expected, "nothing was unpacked: delete the archive and fetch it again")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// An archive with files of this content; names are written raw, so that bad ones can be made.
    fn archive(home: &Path, files: &[(&str, &[u8])]) -> PathBuf {
        let path = home.join("a.tar.gz");
        let mut builder = Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, content) in files {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    #[test]
    fn files_arrive_with_their_digests_and_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let archive = archive(home.path(), &[("data/x.bin", b"abc"), ("other/y.bin", b"no")]);
        for _ in 0..2 {
            let folder = unpack(&archive, home.path(), "data", 100).unwrap();
            assert_eq!(std::fs::read(folder.join("x.bin")).unwrap(), b"abc");
            assert!(recorded::check(&folder, recorded::UNPACKED, "x.bin").unwrap());
            std::fs::write(folder.join("mine"), "kept").unwrap();
        }
        assert!(home.path().join("data/mine").exists());
        // The archive and the folder: nothing temporary is left, nothing of `other`.
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn paths_that_lead_outside_are_refused_and_leave_nothing() {
        for name in ["../evil", "data/../../evil", "/evil"] {
            let home = tempfile::tempdir().unwrap();
            let archive = archive(home.path(), &[("data/x.bin", b"abc"), (name, b"evil")]);
            let text = unpack(&archive, home.path(), "data", 100).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("nothing was unpacked"), "{text}");
            assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "{name}");
        }
    }

    #[test]
    fn too_much_too_little_and_half_archives_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = archive(home.path(), &[("data/x.bin", &[7; 500])]);
        assert!(unpack(&path, home.path(), "data", 499).unwrap_err().to_string().contains("more than 499 bytes"));
        assert!(unpack(&path, home.path(), "none", 500).unwrap_err().to_string().contains("no file in none/"));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(unpack(&path, home.path(), "data", 500).is_err());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
