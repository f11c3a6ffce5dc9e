//! What can go wrong while quantizing.

use blindfold_zoo::{ConfigError, WeightError};

/// A fault while planning, calibrating or applying a quantization.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A fault in the `[quant]` table.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A number of bits that no integer format here has.
    #[error("{0} bits: uniform integer formats have 2 to 8 bits, other formats their own widths")]
    Bits(u8),
    /// A value that is not a number, or infinite.
    #[error(
        "value {index} of {count} is {value}: only finite values can be quantized; look for a diverged training or a broken checkpoint"
    )]
    NotFinite {
        /// Place of the first such value in row-major order.
        index: usize,
        /// How many values there are.
        count: usize,
        /// The value.
        value: f32,
    },
    /// No values to take a range from.
    #[error("there are no values to take a range from")]
    Empty,
    /// Bounds that are not `min <= max`, not finite, or too far apart for `f32`.
    #[error("[{min}, {max}] is not a range: it needs finite bounds with min <= max, and a width that f32 can hold")]
    Range {
        /// Lower bound as found.
        min: f32,
        /// Upper bound as found.
        max: f32,
    },
    /// Values in another number of groups than expected.
    #[error(
        "{found} groups of values where {expected} were expected: the granularity or the layer's shape has changed"
    )]
    Groups {
        /// Groups that the grid or the observer has.
        expected: usize,
        /// Groups found.
        found: usize,
    },
    /// A grid (from a checkpoint) that does not hold together.
    #[error("a stored grid is broken: {0}")]
    Grid(String),
    /// Calibration ended before any image was seen.
    #[error("calibration saw no images: give it at least one batch")]
    NoImages,
    /// Layers that the plan names and the network does not have.
    #[error("the plan was made for another network: it names {}, which `{network}` does not have", .missing.join(", "))]
    OtherNetwork {
        /// The network at hand.
        network: String,
        /// The names that it lacks.
        missing: Vec<String>,
    },
    /// Stored activation grids that are not those of the plan.
    #[error("the stored grids are not those of the plan: missing {missing:?}, left over {unused:?}")]
    OtherGrids {
        /// Sites of the plan without a grid.
        missing: Vec<String>,
        /// Grids of no site of the plan.
        unused: Vec<String>,
    },
    /// Stored weights that do not fit the network.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// A stored state that cannot be read or written.
    #[error("the stored quantized network {0}")]
    State(String),
    /// The user asked to stop.
    #[error("stopped")]
    Cancelled,
    /// Bits that cannot be allocated.
    #[error("bits cannot be allocated: {0}")]
    Allocation(String),
    /// A network whose error cannot be bounded.
    #[error("its error cannot be bounded: {0}")]
    Bound(String),
    /// What the audit found wrong.
    #[error("the quantized network is not what the plan says:\n{}", .0.join("\n"))]
    Audit(Vec<String>),
    /// A fault at a named layer.
    #[error("`{place}`: {source}")]
    At {
        /// The layer.
        place: String,
        /// The fault.
        source: Box<QuantError>,
    },
}

impl QuantError {
    /// The same error with the layer at which it happened; a wish to stop stays one.
    pub fn at(self, place: &str) -> Self {
        match self {
            Self::Cancelled => Self::Cancelled,
            error => Self::At { place: place.to_owned(), source: Box::new(error) },
        }
    }
}
