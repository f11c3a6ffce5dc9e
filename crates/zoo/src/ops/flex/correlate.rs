//! The two inner loops of all convolutions: a weighted sum of shifted runs, and the products of shifted runs.

use pulp::{Simd, WithSimd};

/// Output channels that are computed together where the processor has 32 vector registers.
pub(super) const BLOCK: usize = 8;
/// Output channels that are computed together where it has 16.
const HALF: usize = BLOCK / 2;
/// Vectors of each output channel that are computed together.
const VECTORS: usize = 3;
/// What a buffer needs beyond its last value, since runs are read in whole vectors.
pub(super) const SLACK: usize = VECTORS * 16;

/// A loop that computes several output channels together.
trait ByChannels {
    /// Output channels that there are, at most [`BLOCK`].
    fn count(&self) -> usize;

    /// `C` channels from `first` on.
    fn channels<S: Simd, const C: usize>(&mut self, simd: S, first: usize);

    /// All channels, as many together as the processor has registers for.
    #[inline(always)]
    fn all<S: Simd>(&mut self, simd: S) {
        if self.count() <= HALF {
            self.channels::<S, HALF>(simd, 0);
        } else if S::F32_LANES == 16 {
            self.channels::<S, BLOCK>(simd, 0);
        } else {
            self.channels::<S, HALF>(simd, 0);
            self.channels::<S, HALF>(simd, HALF);
        }
    }
}

/// `out[c][p] = sum_k weights[k][c] * planes[offsets[k] + p]` for `p < length`, `c < channels`.
///
/// `planes` reaches at least [`SLACK`] beyond the last position read; `out` has `BLOCK` rows of `pitch >= length + SLACK`.
pub(super) struct Correlate<'a> {
    pub(super) planes: &'a [f32],
    pub(super) offsets: &'a [usize],
    pub(super) weights: &'a [[f32; BLOCK]],
    pub(super) channels: usize,
    pub(super) length: usize,
    pub(super) pitch: usize,
    pub(super) out: &'a mut [f32],
}

impl Correlate<'_> {
    /// `C` channels from `first` on, at `V` vectors of positions from `start` on.
    #[inline(always)]
    fn tile<S: Simd, const C: usize, const V: usize>(&mut self, simd: S, first: usize, start: usize) {
        let run = V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; C];
        for (&offset, weights) in self.offsets.iter().zip(self.weights) {
            let from = offset + start;
            let (x, _) = S::as_simd_f32s(&self.planes[from..from + run]);
            let x: [S::f32s; V] = std::array::from_fn(|vector| x[vector]);
            for channel in 0..C {
                let weight = simd.splat_f32s(weights[first + channel]);
                for vector in 0..V {
                    sums[channel][vector] = simd.mul_add_f32s(weight, x[vector], sums[channel][vector]);
                }
            }
        }
        for (channel, sums) in sums.iter().enumerate() {
            let to = (first + channel) * self.pitch + start;
            let (out, _) = S::as_mut_simd_f32s(&mut self.out[to..to + run]);
            out[..V].copy_from_slice(sums);
        }
    }
}

impl ByChannels for Correlate<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn channels<S: Simd, const C: usize>(&mut self, simd: S, first: usize) {
        let lanes = S::F32_LANES;
        let mut start = 0;
        while start + (VECTORS - 1) * lanes < self.length {
            self.tile::<S, C, VECTORS>(simd, first, start);
            start += VECTORS * lanes;
        }
        if start + lanes < self.length {
            self.tile::<S, C, 2>(simd, first, start);
        } else if start < self.length {
            self.tile::<S, C, 1>(simd, first, start);
        }
    }
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.all(simd);
    }
}

/// `out[k][c] += sum_n sum_{p < length} runs[(n * BLOCK + c) * pitch + p] * planes[n * stride + offsets[k] + p]`, for
/// `c < channels` and the images `n`.
///
/// Positions from `length` to the next whole vector must be zero in `runs`; `planes` reaches [`SLACK`] beyond. A value that is
/// not finite makes NaN of the sums of its neighbours too, since the zeros are multiplied by what follows a plane.
pub(super) struct Products<'a> {
    pub(super) planes: &'a [f32],
    pub(super) stride: usize,
    pub(super) images: usize,
    pub(super) offsets: &'a [usize],
    pub(super) runs: &'a [f32],
    pub(super) channels: usize,
    pub(super) length: usize,
    pub(super) pitch: usize,
    pub(super) out: &'a mut [[f32; BLOCK]],
}

impl ByChannels for Products<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn channels<S: Simd, const C: usize>(&mut self, simd: S, first: usize) {
        let lanes = S::F32_LANES;
        let steps = self.length.div_ceil(lanes);
        for (offsets, out) in self.offsets.chunks(VECTORS).zip(self.out.chunks_mut(VECTORS)) {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; C];
            for image in 0..self.images {
                // Slices of one length, taken before the loop, leave no bound to check inside it.
                let runs: [&[S::f32s]; C] = std::array::from_fn(|c| {
                    let from = (image * BLOCK + first + c) * self.pitch;
                    &S::as_simd_f32s(&self.runs[from..from + steps * lanes]).0[..steps]
                });
                let x: [&[S::f32s]; VECTORS] = std::array::from_fn(|k| {
                    let from = image * self.stride + offsets[k.min(offsets.len() - 1)];
                    &S::as_simd_f32s(&self.planes[from..from + steps * lanes]).0[..steps]
                });
                for step in 0..steps {
                    let x: [S::f32s; VECTORS] = std::array::from_fn(|k| x[k][step]);
                    for channel in 0..C {
                        let run = runs[channel][step];
                        for vector in 0..VECTORS {
                            sums[channel][vector] = simd.mul_add_f32s(run, x[vector], sums[channel][vector]);
                        }
                    }
                }
            }
            for (vector, out) in out.iter_mut().enumerate() {
                for channel in 0..C {
                    out[first + channel] += simd.reduce_sum_f32s(sums[channel][vector]);
                }
            }
        }
    }
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.all(simd);
    }
}
