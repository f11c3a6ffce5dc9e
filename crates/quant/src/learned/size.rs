//! Parameters that are sizes.

use burn::tensor::Tensor;

/// What a smaller size is taken to be.
pub(super) const LEAST: f32 = 1e-8;

/// A parameter as a size: its magnitude, at least [`LEAST`]. What is not a number stays so, for the codec to refuse.
///
/// An optimizer may carry a step or a clip past zero; the quantizer goes on with the mirrored one, as if it had been
/// reflected there.
pub(super) fn size(parameter: f32) -> f32 {
    let magnitude = parameter.abs();
    if magnitude < LEAST { LEAST } else { magnitude }
}

/// The same of a tensor, with its gradient.
pub(super) fn size_of(parameter: Tensor<4>) -> Tensor<4> {
    parameter.abs().clamp_min(LEAST)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn sizes_are_positive_and_faults_stay() {
        assert_eq!([0.5, -0.25, 0.0, -0.0].map(size), [0.5, 0.25, LEAST, LEAST]);
        assert!(size(f32::NAN).is_nan() && size(f32::INFINITY).is_infinite());
        let values = Tensor::<1>::from_floats([0.5, -0.25, 0.0], &Device::flex()).reshape([3, 1, 1, 1]);
        let leaf = values.autodiff().require_grad();
        let sizes = size_of(leaf.clone());
        assert_eq!(sizes.clone().inner().into_data().try_to_vec::<f32>().unwrap(), [0.5, 0.25, LEAST]);
        let gradient = leaf.grad(&sizes.sum().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient, [1.0, -1.0, 0.0]);
    }
}
