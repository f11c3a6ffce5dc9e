//! The idx format of MNIST and its relatives, plain or gzipped.
//!
//! Four bytes of magic number (`0 0 8 d`: unsigned bytes in `d` dimensions), `d` sizes of four bytes, most significant
//! first, then the values.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::error::DataError;

/// Reads a file of exactly these sizes; `fix` says what to do about a bad one.
///
/// # Errors
/// [`DataError::Malformed`] for another magic number, other sizes, too few or too many bytes; [`DataError::Io`].
pub(super) fn read<const D: usize>(path: &Path, sizes: [usize; D], fix: &str) -> Result<Vec<u8>, DataError> {
    let mut reader = open(path)?;
    let mut bytes = |buffer: &mut [u8], part: &str| {
        reader.read_exact(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                DataError::malformed(path, format!("the end within {part}"), "a whole file", fix)
            }
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                DataError::malformed(path, format!("{error} in {part}"), "an idx file, plain or gzipped", fix)
            }
            _ => DataError::io("read", path)(error),
        })
    };
    let mut word = [0u8; 4];
    bytes(&mut word, "the magic number")?;
    let magic = [0, 0, 8, D as u8];
    if word != magic {
        let show = |word: [u8; 4]| format!("magic number {:#010x}", u32::from_be_bytes(word));
        return Err(DataError::malformed(path, show(word), show(magic), fix));
    }
    let mut found = [0usize; D];
    for size in &mut found {
        bytes(&mut word, "the sizes")?;
        *size = u32::from_be_bytes(word) as usize;
    }
    if found != sizes {
        return Err(DataError::malformed(path, format!("sizes {found:?}"), format!("sizes {sizes:?}"), fix));
    }
    let mut values = vec![0u8; sizes.iter().product()];
    bytes(&mut values, "the values")?;
    if bytes(&mut [0], "the values").is_ok() {
        return Err(DataError::malformed(path, "more bytes than its sizes say", "a whole file", fix));
    }
    Ok(values)
}

/// The file's plain bytes, unzipped where its name ends in `.gz`.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let file = BufReader::new(File::open(path).map_err(DataError::io("open", path))?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(GzDecoder::new(file)));
    }
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const IMAGES: [u8; 16] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];

    fn text(name: &str, content: &[u8]) -> String {
        read_named(name, content).unwrap_err().to_string()
    }

    fn read_named(name: &str, content: &[u8]) -> Result<Vec<u8>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read(&path, [2, 1, 3], "fetch it")
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same_values() {
        let whole = [&IMAGES[..], &[1, 2, 3, 4, 5, 6]].concat();
        assert_eq!(read_named("x", &whole).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(read_named("x.gz", &gzip(&whole)).unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn bad_files_are_named() {
        let whole = [&IMAGES[..], &[1, 2, 3, 4, 5, 6]].concat();
        assert!(
            text("x", &[0, 0, 8, 1, 0]).contains("found magic number 0x00000801, expected magic number 0x00000803")
        );
        assert!(text("x", &whole[..21]).contains("the end within the values"));
        assert!(text("x", &whole[..9]).contains("the end within the sizes"));
        assert!(text("x", &[&whole[..], &[7]].concat()).contains("more bytes than its sizes say"));
        let mut huge = whole.clone();
        huge[4] = 0xff;
        assert!(text("x", &huge).contains("found sizes [4278190082, 1, 3], expected sizes [2, 1, 3]"));
        let zipped = gzip(&whole);
        assert!(text("x.gz", &zipped[..zipped.len() - 12]).contains("the end within"));
        assert!(text("x.gz", &whole).contains("expected an idx file"));
    }
}
