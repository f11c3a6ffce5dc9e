//! Ranges that are found while the network runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose values a dynamic range is computed from, each time anew. Without it ranges are static: found by calibration.
///
/// # Source
/// Dynamic quantization as in the usual runtimes; with `per-channel` granularity the ranges of GranQ (Hong et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dynamic {
    /// Of all images that run together. The result of an image then depends on those beside it.
    PerBatch,
    /// Of one image.
    PerImage,
}

impl fmt::Display for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerBatch => "per-batch",
            Self::PerImage => "per-image",
        })
    }
}
