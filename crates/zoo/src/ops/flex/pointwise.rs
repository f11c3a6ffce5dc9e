//! A function of each value and of one parameter on flex: one pass forward, one pass back.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{FlexAutodiff, contiguous, from_values, plain, values};
use crate::ops::Pointwise;

/// Values that are handed to a thread together.
const RUN: usize = 1 << 15;

/// As [`crate::ops::pointwise`].
pub(in crate::ops) fn pointwise(x: Tensor<4>, s: Tensor<4>, f: impl Pointwise) -> Tensor<4> {
    let dims = x.dims();
    if !(x.is_autodiff() || s.is_autodiff()) {
        let [x, s] = [x, s].map(|tensor| plain(tensor.try_into_primitive::<Flex>()));
        return Tensor::from_primitive::<Flex>(forward(&contiguous(&x), parameter(&s), &f, dims));
    }
    let (x, x_node) = plain(x.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let (s, s_node) = plain(s.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let (x, s) = (contiguous(&x), parameter(&s));
    let value = forward(&x, s, &f, dims);
    let output = match Function.prepare::<NoCheckpointing>([x_node, s_node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((x, s, Arc::new(f), dims), value),
        OpsKind::UnTracked(prep) => prep.finish(value),
    };
    Tensor::from_primitive::<FlexAutodiff>(output)
}

fn parameter(s: &FlexTensor) -> f32 {
    values(&contiguous(s))[0]
}

fn forward(x: &FlexTensor, s: f32, f: &dyn Pointwise, dims: [usize; 4]) -> FlexTensor {
    let x = values(x);
    let mut output = vec![0.0f32; x.len()];
    let runs = output.par_chunks_mut(RUN).zip(x.par_chunks(RUN)).enumerate();
    runs.for_each(|(run, (y, x))| f.values(run * RUN, x, s, y));
    from_values(output, dims)
}

#[derive(Debug)]
struct Function;

impl Backward<Flex, 2> for Function {
    type State = (FlexTensor, f32, Arc<dyn Pointwise>, [usize; 4]);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (x, s, f, dims) = ops.state;
        let (x, gradient) = (values(&x), values(&gradient));
        let mut output = vec![0.0f32; x.len()];
        let runs = output.par_chunks_mut(RUN).zip(x.par_chunks(RUN)).zip(gradient.par_chunks(RUN)).enumerate();
        let sums: Vec<f64> = runs.map(|(run, ((dx, x), g))| f.gradients(run * RUN, x, s, g, dx)).collect();
        let [x_node, s_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, from_values(output, dims));
        }
        if let Some(node) = s_node {
            let sum = sums.iter().sum::<f64>() as f32;
            grads.register::<Flex>(node.id, from_values(vec![sum], [1; 4]));
        }
    }
}
