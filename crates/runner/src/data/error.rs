//! What can be wrong with data files.

use std::path::{Path, PathBuf};

use blindfold_zoo::ConfigError;

/// A fault of a data file or of its download: which one, what was found, what was expected, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing is there.
    #[error("{what} is not at hand: there is no {}; {fix}", .path.display())]
    Missing {
        /// What was looked for.
        what: String,
        /// Where.
        path: PathBuf,
        /// What to do.
        fix: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: found {found}, expected {expected}; {fix}", .path.display())]
    Malformed {
        /// The file or folder.
        path: PathBuf,
        /// What stands in it.
        found: String,
        /// What should.
        expected: String,
        /// What to do.
        fix: String,
    },
    /// The file's bytes are not the expected ones.
    #[error("{}: {algorithm} is {found}, expected {expected}; {fix}", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// `MD5` or `SHA-256`.
        algorithm: &'static str,
        /// The file's, in hexadecimal.
        found: String,
        /// The published one.
        expected: String,
        /// What to do.
        fix: String,
    },
    /// The address did not deliver.
    #[error("cannot download {url}: {found}; {fix}")]
    Download {
        /// The address.
        url: String,
        /// What came instead.
        found: String,
        /// What to do.
        fix: String,
    },
    /// A name or table in the config is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl DataError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn malformed(
        path: &Path,
        found: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Malformed { path: path.to_owned(), found: found.into(), expected: expected.into(), fix: fix.into() }
    }

    /// True if the data are merely absent, so that an experiment goes on without them.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
