//! A tensor that a learned quantizer quantizes.

use burn::tensor::{Tensor, TensorData};

use crate::audit::Role;

/// What a learned quantizer knows of its tensor besides the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedSite {
    /// A layer's weight or its output.
    pub role: Role,
    /// Bits of a code.
    pub bits: u8,
    /// The dimension that tells groups apart, in the shape in which the tensor is quantized; none: one group.
    pub axis: Option<usize>,
    /// Number of groups, each with parameters of its own.
    pub groups: usize,
    /// Whether values may be negative: always for weights; for activations as calibration saw them.
    pub signed: bool,
}

impl LearnedSite {
    /// Smallest and largest integer code: `-2^(b-1)` and `2^(b-1) - 1`, unsigned `0` and `2^b - 1`.
    pub fn codes(&self) -> (f32, f32) {
        let half = f32::from(1u16 << self.bits.saturating_sub(1).min(8));
        if self.signed { (-half, half - 1.0) } else { (0.0, self.steps()) }
    }

    /// Steps between the smallest and the largest code: `2^b - 1`.
    pub fn steps(&self) -> f32 {
        f32::from((1u16 << self.bits.min(8)) - 1)
    }

    /// Values that share a parameter: of the whole weight, or of one image's activation.
    pub fn share(&self, shape: [usize; 4]) -> usize {
        let [first, rest @ ..] = shape;
        let values = match self.role {
            Role::Weight => first * rest.iter().product::<usize>(),
            Role::Activation => rest.iter().product(),
        };
        (values / self.groups.max(1)).max(1)
    }

    /// A parameter of one value a group, shaped to broadcast over the tensor.
    pub fn spread(&self, parameter: &Tensor<1>) -> Tensor<4> {
        let mut shape = [1; 4];
        if let Some(axis) = self.axis {
            shape[axis] = self.groups;
        }
        parameter.clone().reshape(shape)
    }

    /// Constants, one a group, on the plain device of `like` and shaped to broadcast over it.
    pub fn constants(&self, values: Vec<f32>, like: &Tensor<4>) -> Tensor<4> {
        let count = values.len();
        let device = like.device().inner();
        self.spread(&Tensor::from_data(TensorData::new(values, [count]), &device))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn site(role: Role, bits: u8, axis: Option<usize>, groups: usize, signed: bool) -> LearnedSite {
        LearnedSite { role, bits, axis, groups, signed }
    }

    #[test]
    fn codes_are_those_of_the_width() {
        assert_eq!(site(Role::Weight, 4, None, 1, true).codes(), (-8.0, 7.0));
        assert_eq!(site(Role::Activation, 4, None, 1, false).codes(), (0.0, 15.0));
        assert_eq!(site(Role::Activation, 8, None, 1, false).codes(), (0.0, 255.0));
        assert_eq!(site(Role::Weight, 8, None, 1, true).steps(), 255.0);
    }

    #[test]
    fn a_batch_shares_its_parameters_and_does_not_count() {
        assert_eq!(site(Role::Activation, 4, None, 1, false).share([7, 3, 4, 5]), 60);
        assert_eq!(site(Role::Activation, 4, Some(1), 3, false).share([7, 3, 4, 5]), 20);
        assert_eq!(site(Role::Weight, 4, None, 1, true).share([7, 3, 4, 5]), 420);
        assert_eq!(site(Role::Weight, 4, Some(0), 7, true).share([7, 3, 4, 5]), 60);
    }

    #[test]
    fn a_parameter_lies_along_the_axis() {
        let values = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &Device::flex());
        assert_eq!(site(Role::Activation, 4, Some(1), 3, false).spread(&values).dims(), [1, 3, 1, 1]);
        let one = Tensor::<1>::from_floats([1.0], &Device::flex());
        assert_eq!(site(Role::Activation, 4, None, 1, false).spread(&one).dims(), [1, 1, 1, 1]);
    }
}
