//! Scale and shift for each channel on flex: one pass forward, one pass back.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::change_values::changed;
use super::{FlexAutodiff, contiguous, from_values, plain, values};
use crate::{lane_product, lane_sum, vectorized};

/// As [`crate::ops::channel_affine`].
pub(in crate::ops) fn channel_affine(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<4> {
    let dims = x.dims();
    if !(x.is_autodiff() || scale.is_autodiff() || shift.is_autodiff()) {
        let [x, scale, shift] = [
            plain(x.try_into_primitive::<Flex>()),
            plain(scale.try_into_primitive::<Flex>()),
            plain(shift.try_into_primitive::<Flex>()),
        ];
        return Tensor::from_primitive::<Flex>(in_place(x, &scale, &shift, dims));
    }
    let (x, x_node) = plain(x.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let (scale, scale_node) = plain(scale.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let (shift, shift_node) = plain(shift.autodiff().try_into_primitive::<FlexAutodiff>()).into_parts();
    let value = forward(&x, &scale, &shift, dims);
    let output =
        match AffineBackward.prepare::<NoCheckpointing>([x_node, scale_node, shift_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, scale, dims), value),
            OpsKind::UnTracked(prep) => prep.finish(value),
        };
    Tensor::from_primitive::<FlexAutodiff>(output)
}

#[derive(Debug)]
struct AffineBackward;

impl Backward<Flex, 3> for AffineBackward {
    type State = (FlexTensor, FlexTensor, [usize; 4]);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (x, scale, dims) = ops.state;
        let [x_node, scale_node, shift_node] = ops.parents;
        if scale_node.is_some() || shift_node.is_some() {
            let (scale_gradient, shift_gradient) = parameter_gradients(&x, &gradient, dims);
            if let Some(node) = scale_node {
                grads.register::<Flex>(node.id, scale_gradient);
            }
            if let Some(node) = shift_node {
                grads.register::<Flex>(node.id, shift_gradient);
            }
        }
        if let Some(node) = x_node {
            let scale = contiguous(&scale);
            let result = map_channels(&gradient, dims, |channel, from, to| {
                let scale = values(&scale)[channel];
                vectorized(move || to.iter_mut().zip(from).for_each(|(to, from)| *to = scale * from));
            });
            grads.register::<Flex>(node.id, result);
        }
    }
}

fn in_place(
    x: FlexTensor,
    scale: &FlexTensor,
    shift: &FlexTensor,
    [_, channels, height, width]: [usize; 4],
) -> FlexTensor {
    let (scale, shift) = (contiguous(scale), contiguous(shift));
    let (scale, shift) = (values(&scale), values(&shift));
    let area = (height * width).max(1);
    changed(x, |x| {
        x.par_chunks_exact_mut(area * channels.max(1)).for_each(|image| {
            for ((picture, &scale), &shift) in image.chunks_exact_mut(area).zip(scale).zip(shift) {
                vectorized(move || picture.iter_mut().for_each(|value| *value = scale * *value + shift));
            }
        });
    })
}

fn forward(x: &FlexTensor, scale: &FlexTensor, shift: &FlexTensor, dims: [usize; 4]) -> FlexTensor {
    let (x, scale, shift) = (contiguous(x), contiguous(scale), contiguous(shift));
    map_channels(&x, dims, |channel, from, to| {
        let (scale, shift) = (values(&scale)[channel], values(&shift)[channel]);
        vectorized(move || to.iter_mut().zip(from).for_each(|(to, from)| *to = scale * from + shift));
    })
}

fn map_channels(
    x: &FlexTensor,
    [batch, channels, height, width]: [usize; 4],
    map: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) -> FlexTensor {
    let area = (height * width).max(1);
    let mut output = vec![0.0f32; batch * channels * height * width];
    output.par_chunks_exact_mut(area * channels).zip(values(x).par_chunks_exact(area * channels)).for_each(
        |(to, from)| {
            for (channel, (to, from)) in to.chunks_exact_mut(area).zip(from.chunks_exact(area)).enumerate() {
                map(channel, from, to);
            }
        },
    );
    from_values(output, [batch, channels, height, width])
}

fn parameter_gradients(x: &FlexTensor, gradient: &FlexTensor, dims: [usize; 4]) -> (FlexTensor, FlexTensor) {
    let x = contiguous(x);
    let [_, channels, height, width] = dims;
    let area = (height * width).max(1);
    let sums: Vec<(f32, f32)> = values(&x)
        .par_chunks_exact(area)
        .zip(values(gradient).par_chunks_exact(area))
        .map(|(x, gradient)| vectorized(|| (lane_product(x, gradient), lane_sum(gradient, |value| value))))
        .collect();
    let mut scale = vec![0.0; channels];
    let mut shift = vec![0.0; channels];
    for (index, (product, sum)) in sums.into_iter().enumerate() {
        scale[index % channels] += product;
        shift[index % channels] += sum;
    }
    (from_values(scale, [channels]), from_values(shift, [channels]))
}
