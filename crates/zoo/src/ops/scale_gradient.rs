//! A gradient that is scaled element by element, by its own sign.

use burn::tensor::{Device, Tensor};

/// The value of `x`; a gradient `g` becomes `g * (1 + delta * sign(g) * error)` on its way back.
///
/// The factor depends on the gradient itself, so that no composition of other operations has it. On devices that
/// [`can_scale_gradients`] denies, the gradient passes as it is.
///
/// # Shapes
/// - x, error and output: the same; `error` is a constant
///
/// # Source
/// Lee, Kim, Ham: Network Quantization with Element-wise Gradient Scaling, CVPR 2021, section 3.
pub fn scale_gradient(x: Tensor<4>, error: Tensor<4>, delta: f64) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if x.is_autodiff() && super::flex::handles(&x) {
        return super::flex::scale_gradient(x, error, delta);
    }
    let _ = (error, delta);
    x
}

/// Whether [`scale_gradient`] scales on that device: on flex alone.
pub fn can_scale_gradients(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    if super::flex::handles(&Tensor::<1>::zeros([1], device)) {
        return true;
    }
    let _ = device;
    false
}
