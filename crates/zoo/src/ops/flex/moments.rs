//! Mean and variance for each image and channel on flex: one read forward, one pass back.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, s};
use rayon::prelude::*;

use super::{FlexAutodiff, contiguous, from_values, plain, values};
use crate::ops::Moments;
use crate::{lane_sum, vectorized};

/// As [`crate::ops::channel_moments`]; the sum of squares is divided by `divisor`.
pub(in crate::ops) fn channel_moments(x: Tensor<4>, divisor: usize) -> Moments {
    let dims = x.dims();
    let [batch, channels, ..] = dims;
    let both: Tensor<3> = if x.is_autodiff() {
        let (x, node) = plain(x.try_into_primitive::<FlexAutodiff>()).into_parts();
        let value = forward(&x, dims, divisor);
        let output = match MomentsBackward.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, value.clone(), dims, divisor), value),
            OpsKind::UnTracked(prep) => prep.finish(value),
        };
        Tensor::from_primitive::<FlexAutodiff>(output)
    } else {
        Tensor::from_primitive::<Flex>(forward(&plain(x.try_into_primitive::<Flex>()), dims, divisor))
    };
    let part = |index: usize| both.clone().slice(s![index..index + 1, .., ..]).reshape([batch, channels]);
    Moments { mean: part(0), var: part(1) }
}

/// `[2, batch, channel]`: the means, then the variances.
fn forward(x: &FlexTensor, [batch, channels, height, width]: [usize; 4], divisor: usize) -> FlexTensor {
    let x = contiguous(x);
    let area = height * width;
    let moments: Vec<(f32, f32)> = values(&x)
        .par_chunks_exact(area.max(1))
        .map(|picture| {
            let mean = vectorized(|| lane_sum(picture, |value| value)) / area as f32;
            let square = vectorized(|| lane_sum(picture, |value| (value - mean) * (value - mean)));
            (mean, square / divisor as f32)
        })
        .collect();
    let (means, vars): (Vec<f32>, Vec<f32>) = moments.into_iter().unzip();
    from_values([means, vars].concat(), [2, batch, channels])
}

#[derive(Debug)]
struct MomentsBackward;

impl Backward<Flex, 1> for MomentsBackward {
    type State = (FlexTensor, FlexTensor, [usize; 4], usize);

    /// `dx = g_mean / K + 2 g_var (x - mean) / divisor`.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (x, moments, [batch, channels, height, width], divisor) = ops.state;
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let (x, area, count) = (contiguous(&x), height * width, batch * channels);
        let (gradient, moments) = (values(&gradient), values(&moments));
        let mut output = vec![0.0f32; count * area];
        output.par_chunks_exact_mut(area.max(1)).zip(values(&x).par_chunks_exact(area.max(1))).enumerate().for_each(
            |(index, (to, from))| {
                let slope = 2.0 * gradient[count + index] / divisor as f32;
                let constant = gradient[index] / area as f32 - slope * moments[index];
                vectorized(move || to.iter_mut().zip(from).for_each(|(to, from)| *to = slope * from + constant));
            },
        );
        grads.register::<Flex>(node.id, from_values(output, [batch, channels, height, width]));
    }
}
