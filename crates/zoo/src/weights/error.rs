//! What can be wrong with weights.

use std::fmt::Write as _;
use std::path::PathBuf;

/// A fault of a weight file, or of the match between its tensors and a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The file cannot be read or is not what its ending says.
    #[error("{}: {what}; {fix}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What to do.
        fix: String,
    },
    /// The tensors are not those of the network.
    #[error("the weights do not fit the network {network}:{}", list(.missing, .unused, .misshaped))]
    Mismatch {
        /// The network's name.
        network: String,
        /// Tensors that the network needs and the file lacks, each with its near matches among the unused ones.
        missing: Vec<(String, Vec<String>)>,
        /// Tensors of the file that the network has no place for.
        unused: Vec<String>,
        /// Tensors whose shape differs: name, the network's shape, the file's shape.
        misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
}

const SHOWN: usize = 12;

fn list(
    missing: &[(String, Vec<String>)],
    unused: &[String],
    misshaped: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let mut text = String::new();
    let mut part = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        let _ = write!(text, "\n  {title} ({}):", lines.len());
        for line in lines.iter().take(SHOWN) {
            let _ = write!(text, "\n    {line}");
        }
        if lines.len() > SHOWN {
            let _ = write!(text, "\n    and {} more", lines.len() - SHOWN);
        }
    };
    let with_hint = |(name, near): &(String, Vec<String>)| match near.first() {
        Some(best) => format!("{name} (the file has `{best}`)"),
        None => name.clone(),
    };
    part("missing from the file", missing.iter().map(with_hint).collect());
    part("not used by the network", unused.to_vec());
    let shapes = |(name, wanted, found): &(String, Vec<usize>, Vec<usize>)| {
        format!("{name}: the network has {wanted:?}, the file {found:?}")
    };
    part("of another shape", misshaped.iter().map(shapes).collect());
    text
}
