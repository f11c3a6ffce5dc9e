//! The gradient scaled element by element on flex: one pass back.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{FlexAutodiff, contiguous, from_values, plain, values};

/// As [`crate::ops::scale_gradient`], for an `x` with autodiff.
pub(in crate::ops) fn scale_gradient(x: Tensor<4>, error: Tensor<4>, delta: f64) -> Tensor<4> {
    let dims = x.dims();
    let error = plain(error.without_autodiff().try_into_primitive::<Flex>());
    let (value, node) = plain(x.try_into_primitive::<FlexAutodiff>()).into_parts();
    let output = match Scaling.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((error, dims, delta as f32), value),
        OpsKind::UnTracked(prep) => prep.finish(value),
    };
    Tensor::from_primitive::<FlexAutodiff>(output)
}

#[derive(Debug)]
struct Scaling;

impl Backward<Flex, 1> for Scaling {
    type State = (FlexTensor, [usize; 4], f32);

    /// `dx = g + delta |g| error`.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (error, dims, delta) = ops.state;
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let error = contiguous(&error);
        let scale = |(g, error): (&f32, &f32)| g + delta * g.abs() * error;
        let scaled: Vec<f32> = values(&gradient).par_iter().zip(values(&error)).map(scale).collect();
        grads.register::<Flex>(node.id, from_values(scaled, dims));
    }
}
