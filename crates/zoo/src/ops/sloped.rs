//! A value whose slopes are given.

use burn::tensor::Tensor;

/// The value of `value` (without gradient) with a given slope by each of two variables: `y = value`, `dy/dv = slope`.
///
/// The gradients are those of `a * slope_a + b * slope_b`, whose value is not computed.
///
/// # Shapes
/// - value, slopes and output: the same; a variable: the same, or 1 along dimensions that it is repeated along
pub fn sloped(value: Tensor<4>, by: [(Tensor<4>, Tensor<4>); 2]) -> Tensor<4> {
    let value = value.without_autodiff();
    #[cfg(feature = "flex")]
    if super::flex::handles(&value) {
        return super::flex::sloped(value, by);
    }
    let [(a, slope_a), (b, slope_b)] = by;
    super::substitute(a.autodiff() * slope_a + b.autodiff() * slope_b, value)
}
