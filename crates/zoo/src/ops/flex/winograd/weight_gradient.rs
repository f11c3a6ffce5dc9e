//! The weight gradient.

use std::cell::RefCell;

use pulp::Arch;
use rayon::prelude::*;

use super::POINTS;
use super::buffers::Buffers;
use super::kernel::kernel_gradient;
use super::strip::Strips;
use super::transform::{Pictures, Scatter, Spread};
use crate::ops::flex::correlate::{BLOCK, Products, SLACK};
use crate::ops::flex::planes::Geometry;

/// Positions that are multiplied before the sums over positions are taken.
const POSITIONS: usize = 576;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// `dw[o,i,u,v] = sum_{n,h,w} gradient[n,o,h,w] x[n,i,h+u-p,w+v-p]`, values in row-major order.
pub(in crate::ops::flex) fn weight_gradient(x: &[f32], gradient: &[f32], g: Geometry) -> Vec<f32> {
    let [out_h, out_w] = g.out();
    let strips = Strips::new(&g, POSITIONS.max(g.size[1] + g.padding[1]));
    let taps = g.group_in() * 3;
    let offsets = strips.offsets(g.group_in());
    let blocks = g.group_out().div_ceil(BLOCK);
    let pitch = strips.plane + SLACK;
    let from = Pictures { image: g.channels_in * g.size[0] * g.size[1], size: g.size };
    let to = Pictures { image: g.channels_out * out_h * out_w, size: [out_h, out_w] };
    // Of the sizes alone, so that the sums do not depend on the number of threads.
    let together = strips.images();
    let arch = Arch::new();
    let partial: Vec<Vec<[f32; BLOCK]>> = (0..g.batch.div_ceil(together))
        .into_par_iter()
        .map(|chunk| {
            Buffers::lend(&BUFFERS, strips, &g, |planes, runs| {
                let mut sums = vec![[0.0f32; BLOCK]; g.groups * blocks * POINTS * taps];
                let images = together.min(g.batch - chunk * together);
                let (x, gradient) = (&x[chunk * together * from.image..], &gradient[chunk * together * to.image..]);
                for strip in strips.of(images) {
                    for group in 0..g.groups {
                        arch.dispatch(Spread {
                            strip,
                            pictures: from,
                            padding: g.padding,
                            channels: g.group_in(),
                            from: &x[group * g.group_in() * g.size[0] * g.size[1]..],
                            planes: &mut planes[..],
                        });
                        for block in 0..blocks {
                            let channels = (g.group_out() - block * BLOCK).min(BLOCK);
                            for (row, run) in runs.chunks_exact_mut(pitch).enumerate() {
                                let used = if row % BLOCK < channels { strip.length() } else { 0 };
                                run[used..].fill(0.0);
                            }
                            arch.dispatch(Scatter {
                                strip,
                                pictures: to,
                                first: group * g.group_out() + block * BLOCK,
                                channels,
                                from: gradient,
                                runs: &mut runs[..],
                                pitch,
                            });
                            for point in 0..POINTS {
                                let at = ((group * blocks + block) * POINTS + point) * taps;
                                arch.dispatch(Products {
                                    planes: &planes[point * g.group_in() * strips.plane..],
                                    stride: 0,
                                    images: 1,
                                    offsets: &offsets,
                                    runs: &runs[point * BLOCK * pitch..],
                                    channels,
                                    length: strip.length(),
                                    pitch,
                                    out: &mut sums[at..at + taps],
                                });
                            }
                        }
                    }
                }
                sums
            })
        })
        .collect();
    let mut sums = vec![[0.0f32; BLOCK]; g.groups * blocks * POINTS * taps];
    for partial in &partial {
        for (sum, partial) in sums.iter_mut().zip(partial) {
            sum.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
        }
    }
    let mut output = Vec::with_capacity(g.channels_out * taps * 3);
    for channel in 0..g.channels_out {
        let (group, out) = (channel / g.group_out(), channel % g.group_out());
        let block = (group * blocks + out / BLOCK) * POINTS;
        for from in 0..g.group_in() {
            for tap in 0..9 {
                let points =
                    std::array::from_fn(|point| sums[(block + point) * taps + from * 3 + tap % 3][out % BLOCK]);
                output.push(kernel_gradient(points, tap / 3));
            }
        }
    }
    output
}
