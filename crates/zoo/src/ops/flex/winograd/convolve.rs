//! The convolution itself: the forward pass, and with the kernel turned round the input gradient.

use std::cell::RefCell;

use pulp::Arch;
use rayon::prelude::*;

use super::Kernel;
use super::buffers::Buffers;
use super::strip::Strips;
use super::transform::{Gather, Pictures, Spread};
use crate::ops::flex::correlate::{BLOCK, Correlate, SLACK};
use crate::ops::flex::planes::Geometry;

/// Positions of a strip: rows long enough for whole vectors, planes short enough for the second cache.
const POSITIONS: usize = 288;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// `out[n,o] = sum_i kernel[o,i] (*) x[n,i] + bias[o]`, values in row-major order.
pub(in crate::ops::flex) fn convolve(x: &[f32], kernel: &Kernel, bias: Option<&[f32]>, g: Geometry) -> Vec<f32> {
    let [out_h, out_w] = g.out();
    let strips = Strips::new(&g, POSITIONS);
    let offsets = strips.offsets(g.group_in());
    let pitch = strips.plane + SLACK;
    let from = Pictures { image: g.channels_in * g.size[0] * g.size[1], size: g.size };
    let to = Pictures { image: g.channels_out * out_h * out_w, size: [out_h, out_w] };
    let mut output = vec![0.0f32; g.batch * to.image];
    let arch = Arch::new();
    // Each output value is the same sum whatever lies beside it, so chunks may depend on the number of threads.
    let together = strips.images().min(g.batch.div_ceil(rayon::current_num_threads())).max(1);
    output.par_chunks_mut((together * to.image).max(1)).enumerate().for_each(|(chunk, output)| {
        Buffers::lend(&BUFFERS, strips, &g, |planes, sums| {
            let images = output.len() / to.image;
            for (group, kernel) in kernel.groups.iter().enumerate() {
                let start = chunk * together * from.image + group * g.group_in() * g.size[0] * g.size[1];
                for strip in strips.of(images) {
                    arch.dispatch(Spread {
                        strip,
                        pictures: from,
                        padding: g.padding,
                        channels: g.group_in(),
                        from: &x[start..],
                        planes: &mut planes[..],
                    });
                    for first in (0..g.group_out()).step_by(BLOCK) {
                        let channels = BLOCK.min(g.group_out() - first);
                        for (point, blocks) in kernel.iter().enumerate() {
                            arch.dispatch(Correlate {
                                planes: &planes[point * g.group_in() * strips.plane..],
                                offsets: &offsets,
                                weights: &blocks[first / BLOCK],
                                channels,
                                length: strip.length(),
                                pitch,
                                out: &mut sums[point * BLOCK * pitch..],
                            });
                        }
                        arch.dispatch(Gather {
                            strip,
                            pictures: to,
                            first: group * g.group_out() + first,
                            channels,
                            bias,
                            sums: &sums[..],
                            pitch,
                            output: &mut output[..],
                        });
                    }
                }
            }
        });
    });
    output
}
