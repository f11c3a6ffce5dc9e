//! Winograd's minimal filtering `F(4, 3)` along the columns, for 3 x 3 convolutions of stride 1.
//!
//! Four output rows come of six input rows: with the kernel rows `w`, the input rows `x` and, for each of the three kernel columns,
//! `y = A^T ((G w) * (B^T x))`, which takes 6 products where the plain sum takes 12. Along the rows the taps stay shifted runs,
//! as in [`super::conv`], so that whole rows are transformed and nothing is shuffled. The input gradient is a convolution of this
//! kind itself; the weight gradient is `G^T ((A dy) * (B^T x))`, summed over tiles.
//!
//! Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
//! Networks, CVPR 2016, section 4 (there in two dimensions). In `f32` the error of 16 to 64 channels is 2.5 times that of the plain
//! sum: 2e-7 to 4e-7 of the output's standard deviation. A value that is not finite makes NaN of the other rows of its tile.

mod buffers;
mod convolve;
mod kernel;
mod strip;
mod transform;
mod weight_gradient;

use super::planes::Geometry;

pub(super) use convolve::convolve;
pub(super) use kernel::Kernel;
pub(super) use weight_gradient::weight_gradient;

/// Output rows of a tile.
const TILE: usize = 4;
/// Products for each column of a tile.
const POINTS: usize = 6;
/// Channels, in and out, from which the transforms cost less than they save.
const CHANNELS: usize = 8;

/// Whether a convolution is of the kind that gains by it.
pub(super) fn suits(g: &Geometry) -> bool {
    g.kernel == [3, 3]
        && g.stride == [1, 1]
        && g.padding.iter().all(|&padding| padding <= 2)
        && g.group_in().min(g.group_out()) >= CHANNELS
        && g.out()[0] >= TILE - 1
}
