//! How many values share a range.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which values of a tensor share one range, and so one scale and zero point.
///
/// In TOML `"per-tensor"`, `"per-channel"` or `{ per-group = 64 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All values of the tensor.
    PerTensor,
    /// The values of one channel: of one output channel for weights, of one channel over the batch for activations.
    PerChannel,
    /// Weights alone: so many neighbouring values of the row of one output channel (input channel by input channel, each row
    /// by row); where they do not divide the row, the largest number below them that does.
    PerGroup(usize),
}

impl Granularity {
    /// The shape in which a weight `[out, in / groups, height, width]` is quantized, and the dimension of it that tells its
    /// groups apart. Both hold the same values in the same order.
    pub fn weight_view(self, shape: [usize; 4]) -> ([usize; 4], Option<usize>) {
        let [out, channels, height, width] = shape;
        match self {
            Self::PerTensor => (shape, None),
            Self::PerChannel => (shape, Some(0)),
            Self::PerGroup(size) => {
                let row = channels * height * width;
                let size = (1..=size.clamp(1, row.max(1))).rev().find(|size| row.is_multiple_of(*size)).unwrap_or(1);
                ([out * row / size, size, 1, 1], Some(0))
            }
        }
    }

    /// The dimension that tells the groups of an activation `[batch, channel, height, width]` apart.
    pub fn activation_axis(self) -> Option<usize> {
        (self == Self::PerChannel).then_some(1)
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerTensor => f.write_str("per-tensor"),
            Self::PerChannel => f.write_str("per-channel"),
            Self::PerGroup(size) => write!(f, "per-group of {size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Granularity;

    #[test]
    fn groups_divide_the_rows() {
        let shape = [16, 3, 3, 3];
        assert_eq!(Granularity::PerGroup(9).weight_view(shape), ([48, 9, 1, 1], Some(0)));
        assert_eq!(Granularity::PerGroup(8).weight_view(shape), ([144, 3, 1, 1], Some(0)));
        assert_eq!(Granularity::PerGroup(1000).weight_view(shape), ([16, 27, 1, 1], Some(0)));
        assert_eq!(Granularity::PerChannel.weight_view(shape), (shape, Some(0)));
        assert_eq!(Granularity::PerTensor.weight_view(shape), (shape, None));
    }

    #[test]
    fn all_forms_are_read_and_written() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Holder {
            granularity: Granularity,
        }
        for (text, granularity) in [
            ("granularity = \"per-tensor\"", Granularity::PerTensor),
            ("granularity = { per-group = 64 }", Granularity::PerGroup(64)),
        ] {
            let holder: Holder = toml::from_str(text).unwrap();
            assert_eq!(holder.granularity, granularity);
            let again: Holder = toml::from_str(&toml::to_string(&holder).unwrap()).unwrap();
            assert_eq!(again.granularity, granularity);
        }
    }
}
