//! What can go wrong with a run's records.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::config_diff::Difference;

/// A fault in reading or writing a run's records: what, where, what was found, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", .path.display(), remedy(.source))]
    Io {
        /// What was attempted, such as `write`.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} line {line}: {reason}: repair the line or start the run afresh with --fresh", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What was found.
        reason: String,
    },
    /// A JSON or TOML file of the run folder cannot be read or written.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// A metric became NaN or infinite. The record is written, with null in its place.
    #[error("step {step} ({phase}): {} not finite: lower the learning rate, or look at the inputs of that term", is_are(.tags))]
    NotFinite {
        /// The record's step.
        step: u64,
        /// The record's phase.
        phase: &'static str,
        /// The tags at fault.
        tags: Vec<String>,
    },
    /// A tag that would collide with a key of the record itself.
    #[error("metric tag `{tag}` is a key of every record: rename it, for instance to `train/{tag}`")]
    ReservedTag {
        /// The tag.
        tag: String,
    },
    /// A checkpoint says that more records were written than there are.
    #[error("{}: the checkpoint stands after {wanted} records, the file has {found}: start the run afresh with --fresh", .path.display())]
    CheckpointAhead {
        /// The metrics file.
        path: PathBuf,
        /// Records that the checkpoint counts.
        wanted: u64,
        /// Complete records in the file.
        found: u64,
    },
    /// The folder holds a run of another configuration.
    #[error("{} holds a run of another configuration:{}\nuse another --out, or --fresh to move the old run aside", .path.display(), listed(.differences))]
    Differs {
        /// The run folder.
        path: PathBuf,
        /// The keys that differ; empty when only the hash does.
        differences: Vec<Difference>,
    },
    /// Another process writes this folder.
    #[error("{} is being written by {holder}: wait for it, stop it, or use another --out", .path.display())]
    Locked {
        /// The run folder.
        path: PathBuf,
        /// What the lock file says, such as `process 4711 on host lab`.
        holder: String,
    },
    /// Something else stands where the run folder should be.
    #[error("{} exists but is not a run folder (no run.json): remove it, or use another --out", .path.display())]
    NotARunFolder {
        /// The path.
        path: PathBuf,
    },
    /// A metric sink failed; `metrics.jsonl` is untouched by that.
    #[error("metric sink `{sink}` in {}: {reason}", .path.display())]
    Sink {
        /// The sink's name.
        sink: &'static str,
        /// The run folder.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A sample grid of the wrong form.
    #[error("sample `{name}`: {reason}")]
    Sample {
        /// The sample's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A figure cannot be drawn.
    #[error("cannot draw {what}: {reason}")]
    Plot {
        /// The figure's title.
        what: String,
        /// What is missing.
        reason: String,
    },
}

/// What to do about a system's answer that the user can do something about.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ": free some space and type the same again; finished runs are whole, this one goes on from its checkpoint"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            ": change the rights there, or choose another folder (--out for results, BLINDFOLD_ROOT for the repository)"
        }
        ErrorKind::FileTooLarge => ": this system allows no file of that size (ulimit -f, or the file system)",
        _ => "",
    }
}

fn is_are(tags: &[String]) -> String {
    let names: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
    format!("{} {}", names.join(", "), if tags.len() == 1 { "is" } else { "are" })
}

fn listed(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return " no key differs, but the hash does (its config.toml was edited, or another version wrote it)"
            .to_owned();
    }
    differences.iter().map(|difference| format!("\n  {difference}")).collect()
}

impl RecordError {
    /// Wraps the system's answer; made for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps a parser's answer; made for `map_err`.
    pub(crate) fn format<E: Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::Format { path, reason: error.to_string() }
    }

    /// Whether nothing at all can be written any more: the disk is full, or the folder is not for this user to write.
    pub fn is_storage(&self) -> bool {
        use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kinds = [StorageFull, QuotaExceeded, ReadOnlyFilesystem, PermissionDenied];
        matches!(self, Self::Io { source, .. } if kinds.contains(&source.kind()))
    }

    /// Whether the user can mend it by typing something else (exit code 2), rather than the run having failed (1).
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::Locked { .. } | Self::NotARunFolder { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refused_is_said_with_place_and_remedy() {
        let error = |kind: ErrorKind| RecordError::io("write", Path::new("runs/a/run.json"))(io::Error::from(kind));
        let full = error(ErrorKind::StorageFull);
        let text = full.to_string();
        assert!(text.starts_with("cannot write runs/a/run.json: ") && text.contains("free some space"), "{text}");
        assert!(full.is_storage() && !full.is_usage());
        assert!(error(ErrorKind::ReadOnlyFilesystem).to_string().contains("--out"));
        assert!(!error(ErrorKind::NotFound).is_storage());
    }
}
