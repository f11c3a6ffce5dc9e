//! A value with given slopes on flex: no pass over memory forward, one for each variable back.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, broadcast_shape};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use super::{FlexAutodiff, contiguous, from_values, plain, values};

/// As [`crate::ops::sloped`], for a value without autodiff.
pub(in crate::ops) fn sloped(value: Tensor<4>, by: [(Tensor<4>, Tensor<4>); 2]) -> Tensor<4> {
    let dims = value.dims();
    let [(a, slope_a), (b, slope_b)] = by;
    let shapes = [a.shape(), b.shape()];
    let slopes = [slope_a, slope_b].map(|slope| plain(slope.without_autodiff().try_into_primitive::<Flex>()));
    let (_, a) = plain(a.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let (_, b) = plain(b.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let value = plain(value.try_into_primitive::<Flex>());
    let output = match Slopes.prepare::<NoCheckpointing>([a, b]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((slopes, shapes, dims), value),
        OpsKind::UnTracked(prep) => prep.finish(value),
    };
    Tensor::from_primitive::<FlexAutodiff>(output)
}

#[derive(Debug)]
struct Slopes;

impl Backward<Flex, 2> for Slopes {
    type State = ([FlexTensor; 2], [Shape; 2], [usize; 4]);

    /// `dv = g * slope`, summed along the dimensions that `v` is repeated along.
    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (slopes, shapes, dims) = ops.state;
        for ((node, slope), shape) in ops.parents.into_iter().zip(&slopes).zip(&shapes) {
            let Some(node) = node else { continue };
            let slope = contiguous(slope);
            let product: Vec<f32> =
                values(&gradient).par_iter().zip(values(&slope)).map(|(g, slope)| g * slope).collect();
            grads.register::<Flex>(node.id, broadcast_shape::<Flex>(from_values(product, dims), shape));
        }
    }
}
