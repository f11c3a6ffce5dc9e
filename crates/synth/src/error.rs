//! What can go wrong while images are made.

use blindfold_zoo::ConfigError;

/// A fault of image synthesis: what, where, what was found, what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// A value of the configuration, or a configuration that does not fit the teacher.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The caller asked to stop.
    #[error("image synthesis was cancelled")]
    Cancelled,
    /// A control that takes real images was asked for without any at hand.
    #[error(
        "this image source chooses among real images, and none were given: fetch the data set or use a source without data"
    )]
    NoRealImages,
    /// Fewer real images than were asked for.
    #[error("`count`: {asked} images were asked for, but `{name}` holds {found}: lower the count")]
    TooFewRealImages {
        /// The data set's name.
        name: String,
        /// How many it holds.
        found: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// Images that the teacher cannot read.
    #[error("{what} has images of shape {found:?} (channel, height, width), but {expected:?} is needed")]
    Shape {
        /// What has them.
        what: String,
        /// Their shape.
        found: [usize; 3],
        /// The shape that is needed.
        expected: [usize; 3],
    },
    /// A network without the statistics that the source matches.
    #[error("`{network}` has no batch norm, so it has no statistics to match: use the source `noise` or `uniform`")]
    NoBatchNorm {
        /// The network's name.
        network: String,
    },
    /// The optimisation diverged.
    #[error("the loss became {loss} at iteration {iteration}: lower `optimizer.lr`")]
    NotFinite {
        /// The loss.
        loss: f64,
        /// The iteration, counted from 1.
        iteration: usize,
    },
    /// Bytes or arrays that do not hold what they should.
    #[error("{what}: {found}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        found: String,
    },
}

impl SynthError {
    pub(crate) fn malformed(what: &str, found: impl std::fmt::Display) -> Self {
        Self::Malformed { what: what.to_owned(), found: found.to_string() }
    }
}
