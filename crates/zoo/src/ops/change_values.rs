//! A change of each value, without a gradient.

use burn::tensor::{Tensor, TensorData};

/// The tensor with `change` applied to its values in row-major order; in their place where nothing else holds them.
///
/// Without a gradient rule: a tensor on a gradient's way must not be given.
pub fn change_values(x: Tensor<4>, change: impl FnOnce(&mut [f32])) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if !x.is_autodiff() && super::flex::handles(&x) {
        return super::flex::change_values(x, change);
    }
    let (shape, device) = (x.dims(), x.device());
    let mut values: Vec<f32> = x.into_data().iter::<f32>().collect();
    change(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &device)
}
