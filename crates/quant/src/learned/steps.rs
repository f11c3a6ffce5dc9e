//! Integer multiples of a learned step, for the quantizers that have one.

use burn::tensor::Tensor;

use super::LearnedSite;
use super::size::{size, size_of};
use crate::affine::{Affine, Arithmetic};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::grid::Grid;

/// `x^ = s * clamp(round(x / s), low, high)`, a step for each group.
///
/// # Errors
/// [`QuantError::Grid`] for steps that diverged, [`QuantError::Bits`].
pub(super) fn codec(steps: impl Iterator<Item = f32>, site: &LearnedSite) -> Result<Codec, QuantError> {
    let (low, high) = site.codes();
    let map = |step: f32| Affine { arithmetic: Arithmetic::Divide, scale: size(step), zero: 0.0, low, high };
    Ok(Grid::new(&steps.map(map).collect::<Vec<_>>(), site.bits, site.axis)?.into())
}

/// `g = 1 / sqrt(N * Qp)`: the factor of the gradients of step and offset.
pub(super) fn gradient_scale(site: &LearnedSite, shape: [usize; 4]) -> f64 {
    let (_, high) = site.codes();
    1.0 / (site.share(shape) as f64 * f64::from(high.max(1.0))).sqrt()
}

/// Where `(x - offset) / s` lies.
pub(super) struct Placed {
    /// `s`, with its gradient.
    pub(super) step: Tensor<4>,
    /// 1 where no code is clamped, else 0.
    pub(super) inside: Tensor<4>,
    /// `dx^/ds`: `round(v) - v` inside, the smallest or largest code outside.
    pub(super) slope: Tensor<4>,
}

/// Places the plain values `x` on the codes of a learned step.
pub(super) fn placed(x: Tensor<4>, step: &Tensor<1>, site: &LearnedSite) -> Placed {
    let (low, high) = site.codes();
    let step = size_of(site.spread(step));
    let place = x / step.clone().inner();
    let clamped = place.clone().clamp(low, high);
    let inside = clamped.clone().equal(place.clone()).float();
    let slope = clamped.round() - place * inside.clone();
    Placed { step, inside, slope }
}
