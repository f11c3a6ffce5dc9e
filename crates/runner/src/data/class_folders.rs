//! Class folders of PNG files, read in an order that does not depend on the file system.

use std::path::{Path, PathBuf};

use blindfold_synth::RealImages;
use image::ImageReader;
use rayon::prelude::*;

use super::dataset::Split;
use super::error::DataError;
use super::verify::{Evidence, FileReport};

/// Pixels of a whole split, at most.
const MOST_BYTES: usize = 8 << 30;

/// Splits as folders of class folders of PNG files.
#[derive(Debug)]
pub(super) struct ClassFolders {
    pub(super) root: PathBuf,
    /// Names of the folders of the training, test and subset splits.
    pub(super) splits: [String; 3],
    pub(super) channels: usize,
    /// Shape and number of classes, where they are fixed; otherwise they are those of the files.
    pub(super) form: Option<([usize; 3], usize)>,
}

impl ClassFolders {
    pub(super) fn folder(&self, split: Split) -> PathBuf {
        let [train, test, subset] = &self.splits;
        self.root.join(match split {
            Split::Train => train,
            Split::Test => test,
            Split::Subset => subset,
        })
    }

    /// Reads a split. Classes are the names of the class folders of all splits, in order (numbers by value), so that a
    /// class that one split lacks shifts no label.
    pub(super) fn load(&self, split: Split, name: &str) -> Result<RealImages, DataError> {
        let classes = self.classes()?;
        let root = self.folder(split);
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            let folder = root.join(class);
            if folder.is_dir() {
                files.extend(pictures(&folder)?.into_iter().map(|path| (path, label as u16)));
            }
        }
        let Some((first, _)) = files.first() else {
            return Err(DataError::malformed(&root, "no PNG file", "one folder of PNG files a class", "add images"));
        };
        let shape = match self.form {
            Some((shape, _)) => shape,
            None => {
                let (width, height) = dimensions(first)?;
                [self.channels, height, width]
            }
        };
        let area: usize = shape.iter().product();
        let bytes = area.checked_mul(files.len()).filter(|bytes| *bytes <= MOST_BYTES).ok_or_else(|| {
            let found = format!("{} images of {shape:?}", files.len());
            DataError::malformed(
                &root,
                found,
                format!("at most {MOST_BYTES} bytes of pixels"),
                "use smaller images or fewer",
            )
        })?;
        let mut pixels = vec![0u8; bytes];
        pixels.par_chunks_mut(area).zip(&files).try_for_each(|(place, (path, _))| decode(path, shape, place))?;
        let labels = files.into_iter().map(|(_, label)| label).collect();
        Ok(RealImages { shape, pixels, labels, classes: classes.len(), name: name.to_owned() })
    }

    pub(super) fn verify(&self, split: Split, name: &str) -> Result<FileReport, DataError> {
        let images = self.load(split, name)?;
        let count = images.labels.len();
        let [channels, height, width] = images.shape;
        let detail = format!("{count} PNG files of {width}x{height}x{channels} in {} classes", images.classes);
        Ok(FileReport { path: self.folder(split), images: count, evidence: Evidence::Structure, detail })
    }

    fn classes(&self) -> Result<Vec<String>, DataError> {
        let mut names = Vec::new();
        for split in Split::ALL {
            let folder = self.folder(split);
            if folder.is_dir() {
                names.extend(
                    entries(&folder)?.into_iter().filter(|path| path.is_dir()).filter_map(|path| file_name(&path)),
                );
            }
        }
        match names.iter().map(|name| name.parse::<u64>().ok()).collect::<Option<Vec<u64>>>() {
            Some(_) => names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone())),
            None => names.sort(),
        }
        names.dedup();
        let most = usize::from(u16::MAX);
        let expected = match self.form {
            Some((_, classes)) if classes != names.len() => format!("{classes} class folders"),
            None if names.is_empty() || names.len() > most => format!("1 to {most} class folders"),
            _ => return Ok(names),
        };
        let found = format!("{} class folders", names.len());
        Err(DataError::malformed(&self.root, found, expected, "put one folder a class into each split's folder"))
    }
}

/// The files and folders of a folder, sorted; hidden ones are left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        let path = entry.map_err(DataError::io("list", folder))?.path();
        if file_name(&path).is_some_and(|name| !name.starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
}

fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let paths = entries(folder)?;
    let png = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    match paths.iter().find(|path| !png(path)) {
        Some(other) => {
            Err(DataError::malformed(other, "something other than a PNG file", "PNG files only", "move or convert it"))
        }
        None => Ok(paths),
    }
}

fn dimensions(path: &Path) -> Result<(usize, usize), DataError> {
    let reader = ImageReader::open(path).map_err(DataError::io("open", path))?;
    let (width, height) = reader.into_dimensions().map_err(|error| undecodable(path, &error))?;
    Ok((width as usize, height as usize))
}

fn undecodable(path: &Path, error: &image::ImageError) -> DataError {
    DataError::malformed(path, error.to_string(), "a PNG image", "replace or remove the file")
}

/// Decodes a picture into planes of bytes; its size is checked before anything is allocated for it.
fn decode(path: &Path, shape: [usize; 3], place: &mut [u8]) -> Result<(), DataError> {
    let [channels, height, width] = shape;
    let (found_width, found_height) = dimensions(path)?;
    if (found_width, found_height) != (width, height) {
        let found = format!("{found_width}x{found_height} pixels");
        return Err(DataError::malformed(path, found, format!("{width}x{height}"), "scale all images to one size"));
    }
    let reader = ImageReader::open(path).map_err(DataError::io("open", path))?;
    let picture = reader.decode().map_err(|error| undecodable(path, &error))?;
    let interleaved = if channels == 1 { picture.into_luma8().into_raw() } else { picture.into_rgb8().into_raw() };
    for (index, value) in interleaved.into_iter().enumerate() {
        place[index % channels * height * width + index / channels] = value;
    }
    Ok(())
}
