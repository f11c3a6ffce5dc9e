//! What `blindfold data list | fetch | verify | where` does; printing is the program's.

use std::fmt;
use std::path::PathBuf;

use blindfold_zoo::{ConfigError, Family};
use serde::Serialize;

use super::archive;
use super::catalogue::{Packing, Publication};
use super::dataset::{DataSet, Split};
use super::error::DataError;
use super::fetch::{Download, fetch};
use super::home::DataHome;
use super::recorded;
use super::verify::Verification;

/// One line of `data list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataStatus {
    /// The data set.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// `[channels, height, width]`, where it is known without reading a file.
    pub shape: Option<[usize; 3]>,
    /// Number of classes, likewise.
    pub classes: Option<usize>,
    /// The splits whose files are at hand.
    pub splits: Vec<Split>,
    /// Bytes that `fetch` would download; none where there is nothing to fetch.
    pub download_bytes: Option<u64>,
    /// The publisher's page.
    pub page: Option<String>,
    /// Terms, as far as the publisher states them.
    pub licence: Option<String>,
}

impl fmt::Display for DataStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let splits: Vec<&str> = self.splits.iter().map(|split| split.name()).collect();
        let state = match (splits.is_empty(), self.download_bytes) {
            (false, _) => format!("at hand: {}", splits.join(", ")),
            (true, Some(bytes)) => format!("not at hand; fetch downloads {:.1} MB", bytes as f64 / 1e6),
            (true, None) => "not at hand".to_owned(),
        };
        write!(f, "{:<14} {state:<40} {}", self.name, self.summary)
    }
}

/// The state of every data set of a family.
///
/// # Errors
/// [`ConfigError`] if a data set does not build from its own defaults.
pub fn list(family: &Family<dyn DataSet>, home: &DataHome) -> Result<Vec<DataStatus>, ConfigError> {
    let status = |entry: &blindfold_zoo::Entry<dyn DataSet>| {
        let data = (entry.build)((entry.defaults)())?;
        let (shape, classes) = data.form().unzip();
        let publication = data.publication();
        Ok(DataStatus {
            name: entry.name.to_owned(),
            summary: entry.summary.to_owned(),
            shape,
            classes,
            splits: Split::ALL.into_iter().filter(|split| data.has(*split, home)).collect(),
            download_bytes: publication.map(Publication::bytes),
            page: publication.map(|publication| publication.page.to_owned()),
            licence: publication.map(|publication| publication.licence.to_owned()),
        })
    };
    family.entries().iter().map(status).collect()
}

/// Checks a data set's files; see [`DataSet::verify`].
///
/// # Errors
/// As [`DataSet::verify`].
pub fn verify(data: &dyn DataSet, home: &DataHome) -> Result<Verification, DataError> {
    Ok(Verification { name: data.name().to_owned(), files: data.verify(home)? })
}

/// Unpacked archives are at most so many times their packed size; it is 1.1 for pictures.
const MOST_EXPANSION: u64 = 4;

/// Downloads a data set into the data folder, and unpacks it there; `progress` is told the file and its bytes so far.
///
/// Files that are there already and hold their checksum are not downloaded again. Returns the data set's folder.
///
/// # Errors
/// [`DataError::Config`] for a data set that nobody publishes; otherwise as [`fetch()`] and as an archive's faults.
pub fn fetch_data_set(
    data: &dyn DataSet,
    home: &DataHome,
    progress: &mut dyn FnMut(&Download, u64),
) -> Result<PathBuf, DataError> {
    let publication = data.publication().ok_or_else(|| {
        let fix = "it is computed or your own: there is nothing to fetch";
        DataError::Config(ConfigError::invalid("name", data.name(), fix))
    })?;
    obtain(publication, home, &complete(data, home), progress)
}

/// The published files that are there and good already, by verification: files packed anew are among them.
fn complete(data: &dyn DataSet, home: &DataHome) -> Vec<PathBuf> {
    data.verify(home).map(|reports| reports.into_iter().map(|report| report.path).collect()).unwrap_or_default()
}

fn obtain(
    publication: &Publication,
    home: &DataHome,
    complete: &[PathBuf],
    progress: &mut dyn FnMut(&Download, u64),
) -> Result<PathBuf, DataError> {
    let folder = home.join(publication.folder);
    for download in publication.downloads {
        match publication.packing {
            Packing::Files if complete.contains(&folder.join(download.file_name.as_ref())) => {}
            Packing::Files => {
                fetch(download, &folder, &mut |done| progress(download, done))?;
            }
            Packing::TarGz if recorded::holds(&folder, recorded::UNPACKED) => {}
            Packing::TarGz => {
                let archive = fetch(download, home.path(), &mut |done| progress(download, done))?;
                archive::unpack(&archive, home.path(), publication.folder, MOST_EXPANSION * download.bytes)?;
                std::fs::remove_file(&archive).map_err(DataError::io("remove the unpacked", &archive))?;
            }
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;
    use crate::data::{Checksum, family};

    #[test]
    fn an_empty_folder_has_the_computed_sets_and_says_how_to_get_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let home = DataHome::new(folder.path());
        let family = family().unwrap();
        let all = list(&family, &home).unwrap();
        let here: Vec<&str> = all.iter().filter(|s| !s.splits.is_empty()).map(|s| s.name.as_str()).collect();
        assert_eq!(here, ["shapes10", "shapes100"]);
        for name in ["cifar10", "cifar100", "mnist", "fashion-mnist"] {
            let data = family.build(name, toml::Table::new()).unwrap();
            let text = verify(data.as_ref(), &home).unwrap_err().to_string();
            assert!(text.contains(&format!("`blindfold data fetch {name}`")), "{text}");
            assert!(data.load(Split::Test, &home).unwrap_err().is_missing());
        }
        let shapes = family.build("shapes10", toml::Table::new()).unwrap();
        let text = fetch_data_set(shapes.as_ref(), &home, &mut |_, _| {}).unwrap_err().to_string();
        assert!(text.contains("nothing to fetch"), "{text}");
    }

    #[test]
    fn an_archive_is_fetched_unpacked_and_removed() {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        builder.append_data(&mut header, "set/x.bin", &b"abc"[..]).unwrap();
        let archive = builder.into_inner().unwrap().finish().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
        let download = Download {
            url: url.into(),
            file_name: "set.tar.gz".into(),
            checksum: Checksum::Sha256(Checksum::sha256("").digest(&archive[..]).unwrap().into()),
            bytes: archive.len() as u64,
        };
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", archive.len());
            socket.write_all(&[head.as_bytes(), &archive].concat()).unwrap();
        });
        let publication = Publication {
            name: "set",
            page: "",
            licence: "",
            folder: "set",
            packing: Packing::TarGz,
            downloads: Box::leak(Box::new([download])),
        };
        let folder = tempfile::tempdir().unwrap();
        let home = DataHome::new(folder.path().join("new"));
        let path = obtain(&publication, &home, &[], &mut |_, _| {}).unwrap();
        server.join().unwrap();
        assert_eq!(std::fs::read(path.join("x.bin")).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        // The server is gone: what was unpacked must do.
        assert_eq!(obtain(&publication, &home, &[], &mut |_, _| {}).unwrap(), path);
    }

    #[test]
    fn the_data_at_hand_verify_where_there_are_any() {
        let home = DataHome::from_environment().unwrap();
        let family = family().unwrap();
        for status in list(&family, &home).unwrap().into_iter().filter(|status| status.name != "image-folder") {
            let data = family.build(&status.name, toml::Table::new()).unwrap();
            if status.splits.is_empty() {
                continue;
            }
            assert!(verify(data.as_ref(), &home).unwrap().files.iter().all(|file| file.images > 0));
            if let Some(form) = data.form().filter(|_| data.has(Split::Test, &home)) {
                let images = data.load(Split::Test, &home).unwrap();
                assert_eq!((images.shape, images.classes), form);
                assert_eq!(images.pixels.len(), images.labels.len() * images.shape.iter().product::<usize>());
            }
        }
    }
}
