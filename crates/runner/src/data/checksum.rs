//! Published checksums, computed while a file streams by.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::error::DataError;

/// What a publisher states about a file's bytes, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Guards against damage, not against malice; some publishers give nothing else.
    Md5(Cow<'static, str>),
    /// Guards against both.
    Sha256(Cow<'static, str>),
}

impl Checksum {
    /// A published MD5.
    pub const fn md5(hex: &'static str) -> Self {
        Self::Md5(Cow::Borrowed(hex))
    }

    /// A published SHA-256.
    pub const fn sha256(hex: &'static str) -> Self {
        Self::Sha256(Cow::Borrowed(hex))
    }

    /// `MD5` or `SHA-256`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// The published digest.
    pub fn expected(&self) -> &str {
        match self {
            Self::Md5(hex) | Self::Sha256(hex) => hex,
        }
    }

    /// A hasher of the same algorithm.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Md5(_) => Hasher::Md5(Md5::new()),
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
        }
    }

    /// The digest of all that a reader yields, in this checksum's algorithm.
    ///
    /// # Errors
    /// The reader's own.
    pub fn digest(&self, mut reader: impl Read) -> std::io::Result<String> {
        let mut hasher = self.hasher();
        std::io::copy(&mut reader, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// Holds a file against the checksum; `fix` says what to do where they differ.
    ///
    /// # Errors
    /// [`DataError::Checksum`], [`DataError::Io`].
    pub fn check(&self, path: &Path, fix: impl Into<String>) -> Result<(), DataError> {
        let file = File::open(path).map_err(DataError::io("open", path))?;
        let found = self.digest(file).map_err(DataError::io("read", path))?;
        self.compare(path, found, fix)
    }

    pub(super) fn compare(&self, path: &Path, found: String, fix: impl Into<String>) -> Result<(), DataError> {
        if found.eq_ignore_ascii_case(self.expected()) {
            return Ok(());
        }
        Err(DataError::Checksum {
            path: path.to_owned(),
            algorithm: self.algorithm(),
            found,
            expected: self.expected().to_owned(),
            fix: fix.into(),
        })
    }
}

/// A running digest; bytes are written into it.
pub enum Hasher {
    /// MD5, RFC 1321.
    Md5(Md5),
    /// SHA-256, FIPS 180-4.
    Sha256(Sha256),
}

impl Hasher {
    /// The digest in lower-case hexadecimal.
    pub fn finish(self) -> String {
        match self {
            Self::Md5(hasher) => hex(&hasher.finalize()),
            Self::Sha256(hasher) => hex(&hasher.finalize()),
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_equal_the_standards_test_vectors() {
        let md5 = Checksum::md5("900150983cd24fb0d6963f7d28e17f72");
        let sha = Checksum::sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for checksum in [md5, sha] {
            assert_eq!(checksum.digest(&b"abc"[..]).unwrap(), checksum.expected());
        }
    }

    #[test]
    fn a_wrong_file_is_named_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abd").unwrap();
        let error = Checksum::md5("900150983cd24fb0d6963f7d28e17f72").check(&path, "delete it").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("MD5 is 4911e516e5aa21d327512e0c8b197616"), "{text}");
        assert!(text.contains("expected 900150983cd24fb0d6963f7d28e17f72; delete it"), "{text}");
    }
}
