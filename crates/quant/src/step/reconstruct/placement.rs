//! Where values lie on the multiples of a learned step.

use blindfold_zoo::ops::{Pointwise, pointwise, sloped};
use blindfold_zoo::{LANES, choose, vectorized};
use burn::tensor::{Tensor, TensorData};

use crate::affine::{FAST_LIMIT, round_small};

/// Fake quantization with a step `s` that has a gradient.
///
/// ```text
/// x^     = s * round(clamp(x / s, low, high))       halves to even
/// dx^/dx = 1 where low <= x / s <= high, else 0
/// dx^/ds = g * (round(x / s) - x / s) there, else g * low or g * high
/// ```
/// Where a value is dropped: `x^ = x`, `dx^/dx = 1`, `dx^/ds = 0`.
#[derive(Debug)]
pub(super) struct Placement {
    /// Smallest multiple.
    pub(super) low: f32,
    /// Largest multiple.
    pub(super) high: f32,
    /// `g`.
    pub(super) scale: f64,
    /// Which values are dropped, in row-major order.
    pub(super) dropped: Option<Vec<bool>>,
}

impl Placement {
    /// `x^`, with gradients for `x` and `step` where they have any.
    ///
    /// With one step for all values, and on flex, this is one pass over them forward and one back; otherwise it is Burn's
    /// operations. The values are equal; zeros may differ in their sign.
    ///
    /// # Shapes
    /// - x and output: the same, which `dropped` has the values of; step: 1 along dimensions that it is repeated along
    pub(super) fn apply(self, x: Tensor<4>, step: &Tensor<4>) -> Tensor<4> {
        pointwise(&x, step, self).unwrap_or_else(|placement| placement.by_tensors(x, step))
    }

    fn by_tensors(self, x: Tensor<4>, step: &Tensor<4>) -> Tensor<4> {
        let tracked = x.is_autodiff() || step.is_autodiff();
        let (plain, size) = (x.clone().without_autodiff(), step.clone().without_autodiff());
        let place = plain.clone() / size.clone();
        let clamped = place.clone().clamp(self.low, self.high);
        let within = clamped.clone().equal(place.clone());
        let (multiple, place) = (clamped.round(), place.mask_fill(within.clone().bool_not(), 0.0));
        let mut inside = within.float();
        let (mut value, mut slope) = (multiple.clone() * size, multiple - place);
        if let Some(dropped) = self.dropped {
            let dropped = Tensor::from_data(TensorData::new(dropped, plain.dims()), &plain.device());
            value = value.mask_where(dropped.clone(), plain);
            slope = slope.mask_fill(dropped.clone(), 0.0);
            inside = inside.mask_fill(dropped, 1.0);
        }
        if tracked { sloped(value, [(x, inside), (step.clone() * self.scale, slope)]) } else { value }
    }

    #[inline(always)]
    fn rounded(&self, first: usize, x: &[f32], s: f32, y: &mut [f32], round: impl Fn(f32) -> f32) {
        let (low, high) = (self.low, self.high);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = round((x / s).clamp(low, high)) * s;
        }
        if let Some(dropped) = &self.dropped {
            for ((y, &x), &passes) in y.iter_mut().zip(x).zip(&dropped[first..]) {
                *y = choose(passes, x, *y);
            }
        }
    }

    /// `dx` of some values, and what they add to `ds / g`.
    #[inline(always)]
    fn slopes<const N: usize>(
        &self,
        x: &[f32; N],
        s: f32,
        g: &[f32; N],
        passes: &[bool; N],
        dx: &mut [f32; N],
        round: impl Fn(f32) -> f32,
    ) -> [f32; N] {
        let mut sums = [0.0; N];
        for index in 0..N {
            let place = x[index] / s;
            let clamped = place.clamp(self.low, self.high);
            let inside = clamped == place;
            let slope = round(clamped) - choose(inside, place, 0.0);
            dx[index] = choose(inside | passes[index], g[index], 0.0);
            sums[index] = choose(passes[index], 0.0, g[index] * slope);
        }
        sums
    }

    #[inline(always)]
    fn summed(
        &self,
        first: usize,
        x: &[f32],
        s: f32,
        g: &[f32],
        dx: &mut [f32],
        round: impl Fn(f32) -> f32 + Copy,
    ) -> f64 {
        let none = [false; LANES];
        let dropped = self.dropped.as_ref().map(|dropped| &dropped[first..first + x.len()]);
        let (rows, rest) = x.as_chunks::<LANES>();
        let (g_rows, g_rest) = g.as_chunks::<LANES>();
        let (dx_rows, dx_rest) = dx.as_chunks_mut::<LANES>();
        let dropped = dropped.map(|dropped| dropped.as_chunks::<LANES>());
        let mut sums = [0.0f32; LANES];
        for (row, ((x, g), dx)) in rows.iter().zip(g_rows).zip(dx_rows).enumerate() {
            let passes = dropped.map_or(&none, |(rows, _)| &rows[row]);
            let own = self.slopes(x, s, g, passes, dx, round);
            for lane in 0..LANES {
                sums[lane] += own[lane];
            }
        }
        let mut last = 0.0f32;
        for (index, ((x, g), dx)) in rest.iter().zip(g_rest).zip(dx_rest).enumerate() {
            let passes = dropped.is_some_and(|(_, rest)| rest[index]);
            let mut own = [0.0];
            last += self.slopes(&[*x], s, &[*g], &[passes], &mut own, round)[0];
            *dx = own[0];
        }
        f64::from(sums.iter().sum::<f32>() + last)
    }

    /// Whether all multiples are small enough for [`round_small`].
    fn is_small(&self) -> bool {
        self.low.abs().max(self.high.abs()) < FAST_LIMIT
    }
}

impl Pointwise for Placement {
    fn values(&self, first: usize, x: &[f32], s: f32, y: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || match self.is_small() {
                true => self.rounded(first, x, s, y, round_small),
                false => self.rounded(first, x, s, y, f32::round_ties_even),
            },
        );
    }

    fn gradients(&self, first: usize, x: &[f32], s: f32, g: &[f32], dx: &mut [f32]) -> f64 {
        let sum = vectorized(
            #[inline(always)]
            || match self.is_small() {
                true => self.summed(first, x, s, g, dx, round_small),
                false => self.summed(first, x, s, g, dx, f32::round_ties_even),
            },
        );
        self.scale * sum
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::samples::host_values;

    /// More than two runs of values around the steps of 0.25: ends, ties and zeros of both signs among them.
    fn values() -> Vec<f32> {
        let special =
            [0.0, -0.0, 0.125, -0.125, 0.375, 0.625, -0.25, 1.5, 1.625, 1e30, -1e30, 1e-40, -0.0625, f32::INFINITY];
        let other = (0..66_523 - special.len()).map(|index| (index as f32 * 0.7).sin() * 2.5);
        special.into_iter().chain(other).collect()
    }

    fn tensor(values: &[f32], device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, values.len(), 1]), device)
    }

    #[test]
    fn the_pass_on_the_host_and_tensor_operations_agree() {
        let (values, device) = (values(), Device::flex().autodiff());
        let g: Vec<f32> = (0..values.len()).map(|index| (index as f32 * 0.3).cos()).collect();
        let mask: Vec<bool> = (0..values.len()).map(|index| index * index % 7 < 3).collect();
        for (step, low, high) in [(0.25, -1.0, 6.0), (0.13, 0.0, 15.0), (1e-7, -9_000_000.0, -8_999_745.0)] {
            for dropped in [None, Some(mask.clone())] {
                let run = |apply: &dyn Fn(Placement, Tensor<4>, &Tensor<4>) -> Tensor<4>| {
                    let x = tensor(&values, &device).require_grad();
                    let step = Tensor::<4>::full([1; 4], step, &device).require_grad();
                    let placement = Placement { low, high, scale: 0.5, dropped: dropped.clone() };
                    let y = apply(placement, x.clone(), &step);
                    let gradients = (y.clone() * tensor(&g, &device)).sum().backward();
                    let [dx, ds] = [x, step].map(|leaf| host_values(leaf.grad(&gradients).unwrap()));
                    (host_values(y.inner()), dx, f64::from(ds[0]))
                };
                let (y, dx, ds) = run(&|placement, x, step| placement.apply(x, step));
                let (y_plain, dx_plain, ds_plain) = run(&|placement, x, step| placement.by_tensors(x, step));
                assert!(y == y_plain && dx == dx_plain);
                let size: f64 =
                    g.iter().map(|g| f64::from(g.abs())).sum::<f64>() * f64::from(low.abs().max(high)) * 0.5;
                assert!((ds - ds_plain).abs() < 1e-6 * size, "{ds} {ds_plain} of {size}");
            }
        }
    }

    #[test]
    fn every_channel_may_have_a_step_of_its_own() {
        let x = Tensor::<4>::from_data(TensorData::new(vec![0.3f32, 0.8, 0.3, 0.8], [1, 2, 2, 1]), &Device::flex());
        let steps = Tensor::<4>::from_data(TensorData::new(vec![0.25f32, 0.5], [1, 2, 1, 1]), &Device::flex());
        let placement = Placement { low: 0.0, high: 2.0, scale: 1.0, dropped: None };
        assert_eq!(host_values(placement.apply(x, &steps)), [0.25, 0.5, 0.5, 1.0]);
    }
}
