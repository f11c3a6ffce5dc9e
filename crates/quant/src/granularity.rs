//! How many values share a range.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which values of a tensor share one range, and so one scale and zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All values of the tensor.
    PerTensor,
    /// The values of one channel: of one output channel for weights, of one channel over the batch for activations.
    PerChannel,
}

impl Granularity {
    /// The dimension that tells the groups of a weight `[out, in, height, width]` apart.
    pub fn weight_axis(self) -> Option<usize> {
        (self == Self::PerChannel).then_some(0)
    }

    /// The dimension that tells the groups of an activation `[batch, channel, height, width]` apart.
    pub fn activation_axis(self) -> Option<usize> {
        (self == Self::PerChannel).then_some(1)
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerTensor => "per-tensor",
            Self::PerChannel => "per-channel",
        })
    }
}
