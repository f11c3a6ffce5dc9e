//! Values changed in place on flex.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::{contiguous, plain};

/// As [`crate::ops::change_values`].
pub(in crate::ops) fn change_values(x: Tensor<4>, change: impl FnOnce(&mut [f32])) -> Tensor<4> {
    Tensor::from_primitive::<Flex>(changed(plain(x.try_into_primitive::<Flex>()), change))
}

/// The tensor with its values changed: where it is the only holder of them no memory is taken.
pub(super) fn changed(x: FlexTensor, change: impl FnOnce(&mut [f32])) -> FlexTensor {
    let whole = x.is_contiguous()
        && x.layout().start_offset() == 0
        && x.bytes().len() == x.layout().num_elements() * size_of::<f32>();
    let mut x = if whole { x } else { contiguous(&x) };
    let count = x.layout().num_elements();
    change(&mut x.storage_mut::<f32>()[..count]);
    x
}
