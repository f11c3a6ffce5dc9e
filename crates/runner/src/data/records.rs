//! Files of fixed-length records: label bytes, then the pixels of one 3x32x32 picture.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::error::DataError;

const PIXELS: usize = 3 * 32 * 32;

/// The format of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records {
    /// Number of coarse classes, where a coarse label stands before the fine one.
    pub(super) coarse: Option<usize>,
    /// Number of classes.
    pub(super) classes: usize,
    /// Most records of a file whose number of records is not fixed.
    pub(super) most: usize,
}

/// A file and the number of its records, where that is fixed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordFile {
    pub(super) name: &'static str,
    pub(super) records: Option<usize>,
}

impl Records {
    fn length(&self) -> usize {
        PIXELS + 1 + usize::from(self.coarse.is_some())
    }

    /// Appends a file's pixels and (fine) labels to `content`; `fix` says what to do about a bad file.
    pub(super) fn read(
        &self,
        path: &Path,
        file: &RecordFile,
        fix: &str,
        content: &mut (Vec<u8>, Vec<u16>),
    ) -> Result<(), DataError> {
        let handle = File::open(path).map_err(DataError::io("open", path))?;
        let bytes = handle.metadata().map_err(DataError::io("read", path))?.len();
        let count = self.count(path, file, bytes, fix)?;
        let (pixels, labels) = content;
        pixels.reserve_exact(count * PIXELS);
        labels.reserve_exact(count);
        let mut reader = BufReader::with_capacity(1 << 16, handle);
        let mut record = vec![0u8; self.length()];
        for index in 0..count {
            reader.read_exact(&mut record).map_err(DataError::io("read", path))?;
            let (head, picture) = record.split_at(self.length() - PIXELS);
            let limits = self.coarse.into_iter().chain([self.classes]);
            if let Some((label, limit)) = head.iter().zip(limits).find(|(label, limit)| usize::from(**label) >= *limit)
            {
                let found = format!("label {label} in record {index} (byte {})", index * self.length());
                return Err(DataError::malformed(path, found, format!("labels below {limit}"), fix));
            }
            labels.push(u16::from(head[head.len() - 1]));
            pixels.extend_from_slice(picture);
        }
        Ok(())
    }

    /// The number of records in so many bytes.
    fn count(&self, path: &Path, file: &RecordFile, bytes: u64, fix: &str) -> Result<usize, DataError> {
        let length = self.length() as u64;
        let limit = file.records.unwrap_or(self.most) as u64;
        let right = match file.records {
            Some(_) => bytes == limit * length,
            None => bytes > 0 && bytes.is_multiple_of(length) && bytes <= limit * length,
        };
        if right {
            return Ok((bytes / length) as usize);
        }
        let state = if bytes > limit * length { "too long" } else { "truncated" };
        let expected = match file.records {
            Some(_) => format!("{} bytes ({limit} records of {length})", limit * length),
            None => format!("1 to {limit} whole records of {length} bytes"),
        };
        Err(DataError::malformed(path, format!("{bytes} bytes: {state}"), expected, fix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Records = Records { coarse: Some(20), classes: 100, most: 4 };
    const THREE: RecordFile = RecordFile { name: "x", records: Some(3) };
    const ANY: RecordFile = RecordFile { name: "x", records: None };

    fn records(labels: &[(u8, u8)]) -> Vec<u8> {
        let picture = |index: usize| (0..PIXELS).map(move |byte| (byte + index) as u8);
        labels
            .iter()
            .enumerate()
            .flat_map(|(index, (coarse, fine))| [*coarse, *fine].into_iter().chain(picture(index)))
            .collect()
    }

    fn read(bytes: &[u8], file: &RecordFile) -> Result<(Vec<u8>, Vec<u16>), DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        let mut content = (Vec::new(), Vec::new());
        FINE.read(&path, file, "fetch it", &mut content).map(|()| content)
    }

    #[test]
    fn the_fine_label_and_the_planes_are_read() {
        let (pixels, labels) = read(&records(&[(0, 5), (19, 99), (3, 0)]), &THREE).unwrap();
        assert_eq!(labels, [5, 99, 0]);
        assert_eq!((pixels.len(), pixels[PIXELS], pixels[2 * PIXELS + 1]), (3 * PIXELS, 1, 3));
    }

    #[test]
    fn lengths_that_are_not_right_are_named() {
        let whole = records(&[(0, 1), (0, 2), (0, 3)]);
        let text = |bytes: &[u8], file| read(bytes, file).unwrap_err().to_string();
        assert!(
            text(&whole[1..], &THREE).contains("found 9221 bytes: truncated, expected 9222 bytes (3 records of 3074)")
        );
        assert!(text(&[&whole[..], &[0]].concat(), &THREE).contains("9223 bytes: too long"));
        assert!(text(&whole[1..], &ANY).contains("expected 1 to 4 whole records of 3074 bytes"));
        assert!(text(&[], &ANY).contains("0 bytes: truncated"));
        assert!(text(&records(&[(0, 0); 5]), &ANY).contains("too long"));
        assert_eq!(read(&whole, &ANY).unwrap().1, [1, 2, 3]);
    }

    #[test]
    fn labels_beyond_the_classes_are_named() {
        let text = |labels| read(&records(labels), &ANY).unwrap_err().to_string();
        assert!(
            text(&[(0, 1), (0, 100)]).contains("found label 100 in record 1 (byte 3074), expected labels below 100")
        );
        assert!(text(&[(20, 1)]).contains("found label 20 in record 0 (byte 0), expected labels below 20"));
    }
}
