//! Kernel values at the points of the transform.

use super::POINTS;
use crate::ops::flex::conv::Blocks;
use crate::ops::flex::correlate::BLOCK;
use crate::ops::flex::planes::Geometry;

/// `G w`, and for weight gradients `G^T`.
const G: [[f32; 3]; POINTS] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Transformed kernel values, regrouped for [`crate::ops::flex::correlate::Correlate`].
pub(in crate::ops::flex) struct Kernel {
    /// For each group of channels and each point, taps (channel, kernel column).
    pub(super) groups: Vec<[Blocks; POINTS]>,
}

impl Kernel {
    /// `value(group, out, in, row, column)` is a kernel value, channels counted within their group.
    pub(in crate::ops::flex) fn new(g: &Geometry, value: impl Fn(usize, usize, usize, usize, usize) -> f32) -> Self {
        let groups = (0..g.groups).map(|group| {
            let mut points: [Blocks; POINTS] = std::array::from_fn(|_| Vec::new());
            for first in (0..g.group_out()).step_by(BLOCK) {
                let channels = BLOCK.min(g.group_out() - first);
                let mut block: [Vec<[f32; BLOCK]>; POINTS] =
                    std::array::from_fn(|_| Vec::with_capacity(g.group_in() * 3));
                for from in 0..g.group_in() {
                    for v in 0..3 {
                        let mut rows = [[0.0; BLOCK]; 3];
                        for (u, row) in rows.iter_mut().enumerate() {
                            for (c, to) in row[..channels].iter_mut().enumerate() {
                                *to = value(group, first + c, from, u, v);
                            }
                        }
                        for (taps, g) in block.iter_mut().zip(G) {
                            taps.push(std::array::from_fn(|c| {
                                g[0] * rows[0][c] + g[1] * rows[1][c] + g[2] * rows[2][c]
                            }));
                        }
                    }
                }
                points.iter_mut().zip(block).for_each(|(point, block)| point.push(block));
            }
            points
        });
        Self { groups: groups.collect() }
    }
}

/// `G^T` at a kernel row: the gradient of a kernel value from those at the points.
pub(super) fn kernel_gradient(points: [f32; POINTS], row: usize) -> f32 {
    points.iter().zip(G).map(|(point, g)| point * g[row]).sum()
}
