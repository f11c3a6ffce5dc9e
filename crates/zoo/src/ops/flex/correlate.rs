//! The two inner loops of all convolutions: a weighted sum of shifted runs, and the products of shifted runs.

use pulp::{Simd, WithSimd};

/// Output channels that are computed together.
pub(super) const BLOCK: usize = 4;
/// Vectors of each output channel that are computed together.
const VECTORS: usize = 3;
/// What a buffer needs beyond its last value, since runs are read in whole vectors.
pub(super) const SLACK: usize = VECTORS * 16;

/// `out[c][p] = sum_k weights[k][c] * planes[offsets[k] + p]` for `p < length`.
///
/// `planes` reaches at least [`SLACK`] beyond the last position read; `out` has `BLOCK` rows of `pitch >= length + SLACK`.
pub(super) struct Correlate<'a> {
    pub(super) planes: &'a [f32],
    pub(super) offsets: &'a [usize],
    pub(super) weights: &'a [[f32; BLOCK]],
    pub(super) length: usize,
    pub(super) pitch: usize,
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let run = VECTORS * S::F32_LANES;
        let mut start = 0;
        while start < self.length {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; BLOCK];
            for (&offset, weights) in self.offsets.iter().zip(self.weights) {
                let from = offset + start;
                let (x, _) = S::as_simd_f32s(&self.planes[from..from + run]);
                let x = [x[0], x[1], x[2]];
                for channel in 0..BLOCK {
                    let weight = simd.splat_f32s(weights[channel]);
                    for vector in 0..VECTORS {
                        sums[channel][vector] = simd.mul_add_f32s(weight, x[vector], sums[channel][vector]);
                    }
                }
            }
            for (channel, sums) in sums.iter().enumerate() {
                let to = channel * self.pitch + start;
                let (out, _) = S::as_mut_simd_f32s(&mut self.out[to..to + run]);
                out[..VECTORS].copy_from_slice(sums);
            }
            start += run;
        }
    }
}

/// `out[k][c] += sum_{p < length} runs[c * pitch + p] * planes[offsets[k] + p]`.
///
/// Positions from `length` to the next whole vector must be zero in `runs`; `planes` reaches [`SLACK`] beyond.
pub(super) struct Products<'a> {
    pub(super) planes: &'a [f32],
    pub(super) offsets: &'a [usize],
    pub(super) runs: &'a [f32],
    pub(super) length: usize,
    pub(super) pitch: usize,
    pub(super) out: &'a mut [[f32; BLOCK]],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let steps = self.length.div_ceil(lanes);
        // Slices of one length, taken before the loop, leave no bound to check inside it.
        let runs: [&[S::f32s]; BLOCK] = std::array::from_fn(|c| {
            &S::as_simd_f32s(&self.runs[c * self.pitch..c * self.pitch + steps * lanes]).0[..steps]
        });
        for (offsets, out) in self.offsets.chunks(VECTORS).zip(self.out.chunks_mut(VECTORS)) {
            let x: [&[S::f32s]; VECTORS] = std::array::from_fn(|k| {
                let offset = offsets[k.min(offsets.len() - 1)];
                &S::as_simd_f32s(&self.planes[offset..offset + steps * lanes]).0[..steps]
            });
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; BLOCK];
            for step in 0..steps {
                let x = [x[0][step], x[1][step], x[2][step]];
                for channel in 0..BLOCK {
                    let run = runs[channel][step];
                    for vector in 0..VECTORS {
                        sums[channel][vector] = simd.mul_add_f32s(run, x[vector], sums[channel][vector]);
                    }
                }
            }
            for (vector, out) in out.iter_mut().enumerate() {
                for channel in 0..BLOCK {
                    out[channel] += simd.reduce_sum_f32s(sums[channel][vector]);
                }
            }
        }
    }
}
