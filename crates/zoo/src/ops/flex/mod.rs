//! The operations on the flex device: kernels over plain `f32` slices, and their gradients.

mod affine;
mod change_values;
mod conv;
mod correlate;
mod moments;
mod planes;
mod pointwise;
mod scale_gradient;
mod sloped;
mod substitute;
mod winograd;

use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{DType, Tensor, TensorData};

pub(super) use affine::channel_affine;
pub(super) use change_values::change_values;
pub(super) use conv::conv2d;
pub(super) use moments::channel_moments;
pub(super) use pointwise::pointwise;
pub(super) use scale_gradient::scale_gradient;
pub(super) use sloped::sloped;
pub(super) use substitute::substitute;

type FlexAutodiff = Autodiff<Flex>;

/// Whether the tensor is an `f32` tensor of the flex device.
pub(super) fn handles<const D: usize>(x: &Tensor<D>) -> bool {
    fn is_flex(device: &DispatchDevice) -> bool {
        match device {
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(device) => is_flex(device),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
    x.dtype() == DType::F32 && is_flex(x.device().as_dispatch())
}

/// The values in row-major order.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

fn from_values(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

fn plain<T>(result: Result<T, burn::tensor::PrimitiveConversionError>) -> T {
    result.expect("`handles` has checked that the tensor is an f32 tensor of the flex device")
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor was made contiguous, and `handles` has checked that it is f32")
}
