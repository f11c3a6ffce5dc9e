//! Convolution on flex: forward, input gradient and weight gradient.
//!
//! All three are written over phase planes (see [`super::planes`]): the input gradient of stride `s` is, phase by phase, a
//! convolution of the output gradient with the flipped kernel values of that phase, so nothing is multiplied by zeros
//! and nothing is scattered. Each image is computed apart and the weight gradient is summed over fixed
//! groups of images in order, so the result does not depend on the number of threads.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use super::correlate::{BLOCK, Correlate, Products, SLACK};
use super::planes::Geometry;
use super::{FlexAutodiff, contiguous, from_values, plain, values, winograd};

/// Images whose weight gradients are summed before the sums of groups are added.
const GROUP: usize = 8;
/// Output positions that are multiplied before the sums over positions are taken: small images are taken together, and
/// as many as stay in the nearest cache.
const POSITIONS: usize = 1024;

/// As [`crate::ops::conv2d`].
pub(in crate::ops) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
) -> Tensor<4> {
    let geometry = geometry(&x, &weight, stride, padding, groups);
    let tracked = x.is_autodiff() || weight.is_autodiff() || bias.as_ref().is_some_and(Tensor::is_autodiff);
    if tracked {
        return differentiable(x.autodiff(), weight.autodiff(), bias.map(Tensor::autodiff), geometry);
    }
    let bias = bias.map(|bias| plain(bias.try_into_primitive::<Flex>()));
    let x = plain(x.try_into_primitive::<Flex>());
    let weight = plain(weight.try_into_primitive::<Flex>());
    Tensor::from_primitive::<Flex>(forward(&x, &weight, bias.as_ref(), geometry))
}

fn geometry(x: &Tensor<4>, weight: &Tensor<4>, stride: [usize; 2], padding: [usize; 2], groups: usize) -> Geometry {
    let [batch, channels_in, height, width] = x.dims();
    let [channels_out, group_in, kernel_h, kernel_w] = weight.dims();
    assert!(
        group_in * groups == channels_in && channels_out % groups == 0,
        "conv2d: weight {:?} with {groups} groups does not fit an input of {channels_in} channels",
        weight.dims()
    );
    Geometry {
        batch,
        channels_in,
        channels_out,
        groups,
        size: [height, width],
        kernel: [kernel_h, kernel_w],
        stride,
        padding,
    }
}

fn differentiable(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, geometry: Geometry) -> Tensor<4> {
    let (x, x_node) = plain(x.try_into_primitive::<FlexAutodiff>()).into_parts();
    let (weight, weight_node) = plain(weight.try_into_primitive::<FlexAutodiff>()).into_parts();
    let output = match bias {
        Some(bias) => {
            let (bias, bias_node) = plain(bias.try_into_primitive::<FlexAutodiff>()).into_parts();
            let value = forward(&x, &weight, Some(&bias), geometry);
            match ConvBackward.prepare::<NoCheckpointing>([x_node, weight_node, bias_node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish((x, weight, geometry), value),
                OpsKind::UnTracked(prep) => prep.finish(value),
            }
        }
        None => {
            let value = forward(&x, &weight, None, geometry);
            match ConvBackward.prepare::<NoCheckpointing>([x_node, weight_node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish((x, weight, geometry), value),
                OpsKind::UnTracked(prep) => prep.finish(value),
            }
        }
    };
    Tensor::from_primitive::<FlexAutodiff>(output)
}

#[derive(Debug)]
struct ConvBackward;

impl<const N: usize> Backward<Flex, N> for ConvBackward {
    type State = (FlexTensor, FlexTensor, Geometry);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (x, weight, geometry) = ops.state;
        let mut parents = ops.parents.into_iter();
        if let Some(node) = parents.next().flatten() {
            grads.register::<Flex>(node.id, input_gradient(&gradient, &weight, geometry));
        }
        if let Some(node) = parents.next().flatten() {
            grads.register::<Flex>(node.id, weight_gradient(&x, &gradient, geometry));
        }
        if let Some(node) = parents.next().flatten() {
            grads.register::<Flex>(node.id, bias_gradient(&gradient, geometry));
        }
    }
}

/// For each block of channels, a row of `BLOCK` values for each tap.
pub(super) type Blocks = Vec<Vec<[f32; BLOCK]>>;

/// One phase of the input gradient: which pixels, the taps that reach them, and their values for each group.
struct Phase {
    place: [usize; 2],
    offsets: Vec<usize>,
    blocks: Vec<Blocks>,
}

/// Kernel values regrouped for [`Correlate`]: for each block of output channels, a row of `BLOCK` values for each tap.
fn blocks(channels: usize, taps: usize, value: impl Fn(usize, usize) -> f32) -> Blocks {
    (0..channels)
        .step_by(BLOCK)
        .map(|first| {
            (0..taps)
                .map(|tap| std::array::from_fn(|c| if first + c < channels { value(first + c, tap) } else { 0.0 }))
                .collect()
        })
        .collect()
}

fn forward(x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>, g: Geometry) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let (x, weight) = (values(&x), values(&weight));
    let bias = bias.as_ref().map(values);
    let ([out_h, out_w], [_, columns]) = (g.out(), g.plane());
    if winograd::suits(&g) {
        let kernel = winograd::Kernel::new(&g, |group, out, from, u, v| {
            weight[(((group * g.group_out() + out) * g.group_in() + from) * 3 + u) * 3 + v]
        });
        return from_values(winograd::convolve(x, &kernel, bias, g), [g.batch, g.channels_out, out_h, out_w]);
    }
    let (taps, offsets) = (g.taps(), g.tap_offsets());
    let blocks: Vec<_> = (0..g.groups)
        .map(|group| blocks(g.group_out(), taps, |channel, tap| weight[(group * g.group_out() + channel) * taps + tap]))
        .collect();
    let length = (out_h - 1) * columns + out_w;
    let pitch = length + SLACK;
    let image_in = g.channels_in * g.size[0] * g.size[1];
    let (group_in, group_out) = (g.group_in() * g.size[0] * g.size[1], g.group_out() * out_h * out_w);
    let mut output = vec![0.0f32; g.batch * g.channels_out * out_h * out_w];
    let arch = Arch::new();
    output.par_chunks_exact_mut((g.channels_out * out_h * out_w).max(1)).enumerate().for_each_init(
        || (vec![0.0; g.group_in() * g.channel_planes() + SLACK], vec![0.0; BLOCK * pitch]),
        |(planes, sums), (n, image)| {
            let input = &x[n * image_in..(n + 1) * image_in];
            for (group, image) in image.chunks_exact_mut(group_out).enumerate() {
                g.split(&input[group * group_in..(group + 1) * group_in], planes);
                for (block, image) in blocks[group].iter().zip(image.chunks_mut(BLOCK * out_h * out_w)) {
                    let channels = image.len() / (out_h * out_w);
                    let out = &mut sums[..];
                    arch.dispatch(Correlate {
                        planes,
                        offsets: &offsets,
                        weights: block,
                        channels,
                        length,
                        pitch,
                        out,
                    });
                    for (c, picture) in image.chunks_exact_mut(out_h * out_w).enumerate() {
                        let rows = sums[c * pitch..].chunks(columns);
                        for (line, row) in picture.chunks_exact_mut(out_w).zip(rows) {
                            line.copy_from_slice(&row[..out_w]);
                        }
                    }
                }
            }
            if let Some(bias) = bias {
                for (picture, bias) in image.chunks_exact_mut(out_h * out_w).zip(bias) {
                    picture.iter_mut().for_each(|value| *value += bias);
                }
            }
        },
    );
    from_values(output, [g.batch, g.channels_out, out_h, out_w])
}

fn input_gradient(gradient: &FlexTensor, weight: &FlexTensor, g: Geometry) -> FlexTensor {
    let weight = contiguous(weight);
    let (gradient, weight) = (values(gradient), values(&weight));
    let ([out_h, out_w], [rows, columns]) = (g.out(), g.plane());
    if winograd::suits(&g) {
        let turned = g.turned();
        let kernel = winograd::Kernel::new(&turned, |group, to, from, u, v| {
            weight[(((group * g.group_out() + from) * g.group_in() + to) * 3 + 2 - u) * 3 + 2 - v]
        });
        let output = winograd::convolve(gradient, &kernel, None, turned);
        return from_values(output, [g.batch, g.channels_in, g.size[0], g.size[1]]);
    }
    let reach = [0, 1].map(|d| (g.kernel[d] - 1) / g.stride[d]);
    let (pitch_in, height_in) = (columns + reach[1], rows + reach[0]);
    let plane_in = height_in * pitch_in;
    let length = (rows - 1) * pitch_in + columns;
    let pitch = length + SLACK;
    let phases: Vec<Phase> = (0..g.stride[0])
        .flat_map(|a| (0..g.stride[1]).map(move |b| [a, b]))
        .map(|phase| {
            let kernel_pixels: Vec<[usize; 2]> = (phase[0]..g.kernel[0])
                .step_by(g.stride[0])
                .flat_map(|u| (phase[1]..g.kernel[1]).step_by(g.stride[1]).map(move |v| [u, v]))
                .collect();
            let taps: Vec<(usize, [usize; 2])> =
                (0..g.group_out()).flat_map(|o| kernel_pixels.iter().map(move |&pixel| (o, pixel))).collect();
            let offsets = taps
                .iter()
                .map(|&(o, [u, v])| o * plane_in + (reach[0] - u / g.stride[0]) * pitch_in + reach[1] - v / g.stride[1])
                .collect();
            let blocks = (0..g.groups)
                .map(|group| {
                    blocks(g.group_in(), taps.len(), |channel, tap| {
                        let (o, [u, v]) = taps[tap];
                        let row = (group * g.group_out() + o) * g.group_in() + channel;
                        weight[(row * g.kernel[0] + u) * g.kernel[1] + v]
                    })
                })
                .collect();
            Phase { place: phase, offsets, blocks }
        })
        .collect();
    let picture_in = g.size[0] * g.size[1];
    let mut output = vec![0.0f32; g.batch * g.channels_in * picture_in];
    let arch = Arch::new();
    output.par_chunks_exact_mut((g.channels_in * picture_in).max(1)).enumerate().for_each_init(
        || (vec![0.0; g.group_out() * plane_in + SLACK], vec![0.0; BLOCK * pitch]),
        |(planes, sums), (n, image)| {
            for (group, image) in image.chunks_exact_mut(g.group_in() * picture_in).enumerate() {
                for o in 0..g.group_out() {
                    let from = (n * g.channels_out + group * g.group_out() + o) * out_h * out_w;
                    for (row, line) in gradient[from..from + out_h * out_w].chunks_exact(out_w).enumerate() {
                        let start = o * plane_in + (row + reach[0]) * pitch_in + reach[1];
                        planes[start..start + out_w].copy_from_slice(line);
                    }
                }
                for Phase { place, offsets, blocks } in &phases {
                    for (block, image) in blocks[group].iter().zip(image.chunks_mut(BLOCK * picture_in)) {
                        let channels = image.len() / picture_in;
                        let out = &mut sums[..];
                        arch.dispatch(Correlate { planes, offsets, weights: block, channels, length, pitch, out });
                        for (c, picture) in image.chunks_exact_mut(picture_in).enumerate() {
                            g.join_phase(&sums[c * pitch..], pitch_in, *place, picture);
                        }
                    }
                }
            }
        },
    );
    from_values(output, [g.batch, g.channels_in, g.size[0], g.size[1]])
}

fn weight_gradient(x: &FlexTensor, gradient: &FlexTensor, g: Geometry) -> FlexTensor {
    let x = contiguous(x);
    let (x, gradient) = (values(&x), values(gradient));
    if winograd::suits(&g) {
        let output = winograd::weight_gradient(x, gradient, g);
        return from_values(output, [g.channels_out, g.group_in(), g.kernel[0], g.kernel[1]]);
    }
    let ([out_h, out_w], [_, columns]) = (g.out(), g.plane());
    let (taps, offsets) = (g.taps(), g.tap_offsets());
    let length = (out_h - 1) * columns + out_w;
    let pitch = length + SLACK;
    let image_in = g.channels_in * g.size[0] * g.size[1];
    let group_in = g.group_in() * g.size[0] * g.size[1];
    let group_blocks = g.group_out().div_ceil(BLOCK);
    let stride = g.group_in() * g.channel_planes();
    let together = (POSITIONS / length).clamp(1, GROUP);
    let arch = Arch::new();
    let partial: Vec<Vec<[f32; BLOCK]>> = (0..g.batch.div_ceil(GROUP))
        .into_par_iter()
        .map(|group_of_images| {
            let mut sums = vec![[0.0f32; BLOCK]; g.groups * group_blocks * taps];
            let mut planes = vec![0.0; together * stride + SLACK];
            let mut runs = vec![0.0; together * BLOCK * pitch];
            let end = ((group_of_images + 1) * GROUP).min(g.batch);
            for first in (group_of_images * GROUP..end).step_by(together) {
                let images = together.min(end - first);
                for group in 0..g.groups {
                    for (n, planes) in (first..first + images).zip(planes.chunks_mut(stride)) {
                        let from = n * image_in + group * group_in;
                        g.split(&x[from..from + group_in], planes);
                    }
                    for block in 0..group_blocks {
                        let channels = (g.group_out() - block * BLOCK).min(BLOCK);
                        for (index, run) in runs.chunks_exact_mut(pitch).take(images * BLOCK).enumerate() {
                            let (n, c) = (first + index / BLOCK, index % BLOCK);
                            if c >= channels {
                                run.fill(0.0);
                                continue;
                            }
                            let channel = group * g.group_out() + block * BLOCK + c;
                            let from = (n * g.channels_out + channel) * out_h * out_w;
                            for (row, line) in gradient[from..from + out_h * out_w].chunks_exact(out_w).enumerate() {
                                run[row * columns..row * columns + out_w].copy_from_slice(line);
                            }
                        }
                        let at = (group * group_blocks + block) * taps;
                        let (planes, offsets, runs, out) =
                            (&planes[..], &offsets[..], &runs[..], &mut sums[at..at + taps]);
                        arch.dispatch(Products { planes, stride, images, offsets, runs, channels, length, pitch, out });
                    }
                }
            }
            sums
        })
        .collect();
    let mut output = vec![0.0f32; g.channels_out * taps];
    for sums in &partial {
        for group in 0..g.groups {
            for channel in 0..g.group_out() {
                let row = &mut output[(group * g.group_out() + channel) * taps..][..taps];
                let from = (group * group_blocks + channel / BLOCK) * taps;
                for (value, sum) in row.iter_mut().zip(&sums[from..from + taps]) {
                    *value += sum[channel % BLOCK];
                }
            }
        }
    }
    from_values(output, [g.channels_out, g.group_in(), g.kernel[0], g.kernel[1]])
}

fn bias_gradient(gradient: &FlexTensor, g: Geometry) -> FlexTensor {
    let [out_h, out_w] = g.out();
    let mut output = vec![0.0f32; g.channels_out];
    for image in values(gradient).chunks_exact((g.channels_out * out_h * out_w).max(1)) {
        for (sum, picture) in output.iter_mut().zip(image.chunks_exact(out_h * out_w)) {
            *sum += picture.iter().sum::<f32>();
        }
    }
    from_values(output, [g.channels_out])
}
