//! Tensor operations that a network is run with.
//!
//! On wgpu and ndarray they are Burn's own. On flex they have kernels of ours with hand-written gradients, because there
//! the passes over memory around Burn's matrix products cost more than the products (`docs/performance.md`).

mod affine;
mod change_values;
mod conv;
#[cfg(feature = "flex")]
mod flex;
mod leaky_relu;
mod moments;
mod pointwise;
mod scale_gradient;
mod sloped;
mod substitute;

pub use affine::channel_affine;
pub use change_values::change_values;
pub use conv::conv2d;
pub use leaky_relu::leaky_relu;
pub use moments::{Moments, channel_moments};
pub use pointwise::{Pointwise, pointwise};
pub use scale_gradient::{can_scale_gradients, scale_gradient};
pub use sloped::sloped;
pub use substitute::substitute;
