//! The transforms of rows: of inputs (`B^T`), of products (`A^T`) and of output gradients (`A`).

use pulp::{Simd, WithSimd};

use super::strip::{GAP, Strip};
use super::{POINTS, TILE};
use crate::ops::flex::correlate::BLOCK;

/// Rows of some images: values of an image, and height and width of a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pictures {
    pub(super) image: usize,
    pub(super) size: [usize; 2],
}

impl Pictures {
    /// Where a value lies.
    #[inline(always)]
    fn place(&self, image: usize, channel: usize, row: usize, column: usize) -> usize {
        image * self.image + (channel * self.size[0] + row) * self.size[1] + column
    }
}

/// A vector of the `count` values from `at` on, and zeros.
#[inline(always)]
fn read<S: Simd>(simd: S, from: &[f32], at: usize, count: usize) -> S::f32s {
    match from.get(at..at + S::F32_LANES) {
        Some(values) if count == S::F32_LANES => S::as_simd_f32s(values).0[0],
        Some(values) => {
            let used = simd.mask_between_m32s(0, count as u32).mask();
            simd.select_f32s(used, S::as_simd_f32s(values).0[0], simd.splat_f32s(0.0))
        }
        None => simd.partial_load_f32s(&from[at..at + count]),
    }
}

/// Writes a whole vector.
#[inline(always)]
fn write<S: Simd>(to: &mut [f32], at: usize, value: S::f32s) {
    S::as_mut_simd_f32s(&mut to[at..at + S::F32_LANES]).0[0] = value;
}

/// Writes `B^T x` of some channels into their planes.
///
/// Whole vectors are written, with zeros beyond the row: on the padding and on the row that follows, which comes later. After a strip
/// that is shorter than others there are zeros too, so that no run read from it has values of an earlier strip.
pub(super) struct Spread<'a> {
    pub(super) strip: Strip,
    pub(super) pictures: Pictures,
    pub(super) padding: [usize; 2],
    pub(super) channels: usize,
    pub(super) from: &'a [f32],
    pub(super) planes: &'a mut [f32],
}

impl WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { strip, pictures, padding: [above, left], channels, from, planes } = self;
        let [height, width] = pictures.size;
        let plane = strip.strips.plane;
        let [two, four, minus_four, minus_five] = [2.0, 4.0, -4.0, -5.0].map(|value| simd.splat_f32s(value));
        for plane in planes.chunks_exact_mut(plane).take(channels * POINTS) {
            plane[strip.length()..][..GAP].fill(0.0);
        }
        for channel in 0..channels {
            for (start, image, first) in strip.tiles() {
                for column in (0..width).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(width - column);
                    let mut x = [simd.splat_f32s(0.0); POINTS];
                    for (i, x) in x.iter_mut().enumerate() {
                        let row = (first + i).wrapping_sub(above);
                        if row < height {
                            *x = read(simd, from, pictures.place(image, channel, row, column), count);
                        }
                    }
                    let (a, b) = (simd.mul_add_f32s(minus_four, x[2], x[4]), simd.mul_add_f32s(minus_four, x[1], x[3]));
                    let (c, d) = (simd.sub_f32s(x[4], x[2]), simd.mul_f32s(two, simd.sub_f32s(x[3], x[1])));
                    let points = [
                        simd.mul_add_f32s(four, x[0], simd.mul_add_f32s(minus_five, x[2], x[4])),
                        simd.add_f32s(a, b),
                        simd.sub_f32s(a, b),
                        simd.add_f32s(c, d),
                        simd.sub_f32s(c, d),
                        simd.mul_add_f32s(four, x[1], simd.mul_add_f32s(minus_five, x[3], x[5])),
                    ];
                    for (point, value) in points.into_iter().enumerate() {
                        let to = (point * channels + channel) * plane + start + left + column;
                        write::<S>(planes, to, value);
                    }
                }
            }
        }
    }
}

/// Writes `A^T` of the products of a block of channels, plus bias, into the output of their images.
///
/// What the vector of a narrow row has beyond it is overwritten, since the rows of a channel are written in order.
pub(super) struct Gather<'a> {
    pub(super) strip: Strip,
    pub(super) pictures: Pictures,
    /// First channel of the block, within the image.
    pub(super) first: usize,
    pub(super) channels: usize,
    pub(super) bias: Option<&'a [f32]>,
    /// For each point, [`BLOCK`] rows of `pitch` values.
    pub(super) sums: &'a [f32],
    pub(super) pitch: usize,
    pub(super) output: &'a mut [f32],
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { strip, pictures, first: first_channel, channels, bias, sums, pitch, output } = self;
        let [height, width] = pictures.size;
        let [two, four, eight] = [2.0, 4.0, 8.0].map(|value| simd.splat_f32s(value));
        for c in 0..channels {
            let channel = first_channel + c;
            let bias = simd.splat_f32s(bias.map_or(0.0, |bias| bias[channel]));
            for (start, image, first) in strip.tiles() {
                let end = pictures.place(image, channel + 1, 0, 0);
                for column in (0..width).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(width - column);
                    let mut m = [simd.splat_f32s(0.0); POINTS];
                    for (point, m) in m.iter_mut().enumerate() {
                        *m = read(simd, sums, (point * BLOCK + c) * pitch + start + column, S::F32_LANES);
                    }
                    let (a, b) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
                    let (c, d) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
                    let rows = [
                        simd.add_f32s(simd.add_f32s(m[0], a), c),
                        simd.mul_add_f32s(two, d, b),
                        simd.mul_add_f32s(four, c, a),
                        simd.add_f32s(simd.mul_add_f32s(eight, d, b), m[5]),
                    ];
                    for (row, value) in (first..height).zip(rows) {
                        let (to, value) = (pictures.place(image, channel, row, column), simd.add_f32s(value, bias));
                        if count == S::F32_LANES || (column == 0 && to + S::F32_LANES <= end) {
                            write::<S>(output, to, value);
                        } else {
                            simd.partial_store_f32s(&mut output[to..to + count], value);
                        }
                    }
                }
            }
        }
    }
}

/// Writes `A dy` of a block of channels into their runs.
pub(super) struct Scatter<'a> {
    pub(super) strip: Strip,
    pub(super) pictures: Pictures,
    /// First channel of the block, within the image.
    pub(super) first: usize,
    pub(super) channels: usize,
    pub(super) from: &'a [f32],
    /// For each point, [`BLOCK`] rows of `pitch` values.
    pub(super) runs: &'a mut [f32],
    pub(super) pitch: usize,
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { strip, pictures, first: first_channel, channels, from, runs, pitch } = self;
        let [height, width] = pictures.size;
        let [two, four, eight] = [2.0, 4.0, 8.0].map(|value| simd.splat_f32s(value));
        for c in 0..channels {
            for (start, image, first) in strip.tiles() {
                for column in (0..width).step_by(S::F32_LANES) {
                    let count = S::F32_LANES.min(width - column);
                    let mut y = [simd.splat_f32s(0.0); TILE];
                    for (i, y) in y.iter_mut().enumerate() {
                        if first + i < height {
                            *y = read(simd, from, pictures.place(image, first_channel + c, first + i, column), count);
                        }
                    }
                    let (even, odd) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
                    let (far_even, far_odd) =
                        (simd.mul_add_f32s(four, y[2], y[0]), simd.mul_add_f32s(eight, y[3], simd.mul_f32s(two, y[1])));
                    let points = [
                        y[0],
                        simd.add_f32s(even, odd),
                        simd.sub_f32s(even, odd),
                        simd.add_f32s(far_even, far_odd),
                        simd.sub_f32s(far_even, far_odd),
                        y[3],
                    ];
                    for (point, value) in points.into_iter().enumerate() {
                        let to = (point * BLOCK + c) * pitch + start + column;
                        write::<S>(runs, to, value);
                    }
                }
            }
        }
    }
}
