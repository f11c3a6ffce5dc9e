//! Memory that a thread keeps from one convolution to the next.

use std::cell::RefCell;
use std::thread::LocalKey;

use super::POINTS;
use super::strip::Strips;
use crate::ops::flex::correlate::{BLOCK, SLACK};
use crate::ops::flex::planes::Geometry;

/// Planes of inputs, and runs of a block of output channels, zero wherever nothing of a row is written.
///
/// The zeros stay where the next convolution has rows of the same length and padding, so that clearing megabytes again for each
/// of them is saved.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    laid_out: Option<Layout>,
    planes: Vec<f32>,
    runs: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    strips: Strips,
    channels: usize,
    width: usize,
    padding: usize,
}

/// Where a thread's buffers lie. They are borrowed for loops that hand nothing to other threads, so never twice.
pub(super) type Kept = LocalKey<RefCell<Buffers>>;

impl Buffers {
    /// Calls `compute(planes, runs)` with the buffers of this thread, laid out for a convolution.
    pub(super) fn lend<R>(
        kept: &'static Kept,
        strips: Strips,
        g: &Geometry,
        compute: impl FnOnce(&mut [f32], &mut [f32]) -> R,
    ) -> R {
        let layout = Layout { strips, channels: g.group_in(), width: g.size[1], padding: g.padding[1] };
        kept.with_borrow_mut(|buffers| {
            if buffers.laid_out != Some(layout) {
                buffers.laid_out = Some(layout);
                let lengths =
                    [layout.channels * POINTS * strips.plane + SLACK, POINTS * BLOCK * (strips.plane + SLACK)];
                for (buffer, length) in [&mut buffers.planes, &mut buffers.runs].into_iter().zip(lengths) {
                    buffer.clear();
                    buffer.resize(length, 0.0);
                }
            }
            compute(&mut buffers.planes, &mut buffers.runs)
        })
    }
}
