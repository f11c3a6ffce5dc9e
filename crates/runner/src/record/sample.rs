//! Pictures of a run: grids of synthetic images.

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};

use super::atomic::write_atomic;
use super::error::RecordError;

/// The folder of pictures within a run folder.
pub(crate) const SAMPLES_FOLDER: &str = "samples";

/// A grid of images at one step, `samples/<name>-<step>.png`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    name: String,
    step: u64,
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

impl Sample {
    /// A picture from its width, its height and interleaved 8-bit RGB, rows first: what [`blindfold_synth::grid`] returns.
    ///
    /// # Errors
    /// [`RecordError::Sample`] when the length is not 3 x width x height, the picture is empty, or the name is not made of
    /// letters, digits, `-` and `_`.
    pub fn new(name: &str, step: u64, (width, height, rgb): (usize, usize, Vec<u8>)) -> Result<Self, RecordError> {
        let wrong = |reason: String| Err(RecordError::Sample { name: name.to_owned(), reason });
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return wrong("its name is a file's: use letters, digits, `-` and `_`".to_owned());
        }
        if rgb.is_empty() || rgb.len() != 3 * height * width {
            return wrong(format!("{} bytes for 3 x {width} x {height}", rgb.len()));
        }
        Ok(Self { name: name.to_owned(), step, height, width, rgb })
    }

    /// What it shows, such as `zeroq`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Side and RGB of the picture padded with white below or at its right to a square.
    pub(crate) fn squared(&self) -> (usize, Vec<u8>) {
        let side = self.height.max(self.width);
        let mut rgb = vec![255; 3 * side * side];
        for (row, line) in self.rgb.chunks_exact(3 * self.width).enumerate() {
            rgb[3 * side * row..][..line.len()].copy_from_slice(line);
        }
        (side, rgb)
    }

    /// Writes the PNG into `folder` and returns its path.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::Format`].
    pub fn save(&self, folder: &Path) -> Result<PathBuf, RecordError> {
        let path = folder.join(format!("{}-{:06}.png", self.name, self.step));
        let too_large =
            || RecordError::Sample { name: self.name.clone(), reason: "larger than a PNG can be".to_owned() };
        let (width, height) = (u32::try_from(self.width), u32::try_from(self.height));
        let (Ok(width), Ok(height)) = (width, height) else { return Err(too_large()) };
        let picture = RgbImage::from_raw(width, height, self.rgb.clone()).ok_or_else(too_large)?;
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png).map_err(RecordError::format(&path))?;
        write_atomic(&path, png.get_ref())?;
        Ok(path)
    }

    /// Every picture of `folder` that [`Self::save`] wrote, by name and step; none when there is no such folder.
    pub(crate) fn read_all(folder: &Path) -> Result<Vec<Self>, RecordError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(RecordError::io("list", folder)(error)),
        };
        let mut samples = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".png"));
            let Some((name, step)) = stem.and_then(|stem| stem.rsplit_once('-')) else { continue };
            let Ok(step) = step.parse() else { continue };
            let picture = image::open(&path).map_err(RecordError::format(&path))?.to_rgb8();
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            samples.push(Self::new(name, step, (width, height, picture.into_raw()))?);
        }
        samples.sort_by(|a, b| (&a.name, a.step).cmp(&(&b.name, b.step)));
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_becomes_square_below_or_at_its_right() {
        let wide = Sample::new("a", 0, (2, 1, vec![1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(wide.squared(), (2, vec![1, 2, 3, 4, 5, 6, 255, 255, 255, 255, 255, 255]));
        let tall = Sample::new("a", 0, (1, 2, vec![1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(tall.squared(), (2, vec![1, 2, 3, 255, 255, 255, 4, 5, 6, 255, 255, 255]));
    }

    #[test]
    fn pictures_read_back_from_their_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(SAMPLES_FOLDER);
        assert_eq!(Sample::read_all(&folder).unwrap(), []);
        let late = Sample::new("zeroq-kd", 1_000_000, (2, 1, vec![9; 6])).unwrap();
        let early = Sample::new("zeroq-kd", 3, (1, 2, vec![1, 2, 3, 4, 5, 6])).unwrap();
        assert!(late.save(&folder).unwrap().ends_with("zeroq-kd-1000000.png"));
        early.save(&folder).unwrap();
        std::fs::write(folder.join("note.txt"), "not a picture").unwrap();
        assert_eq!(Sample::read_all(&folder).unwrap(), [early, late]);
    }

    #[test]
    fn wrong_forms_are_errors() {
        assert!(Sample::new("a/b", 0, (1, 1, vec![0; 3])).is_err());
        assert!(Sample::new("a", 0, (1, 1, vec![0; 4])).is_err());
    }
}
