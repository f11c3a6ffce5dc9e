//! Where values lie on the multiples of a step.

use burn::tensor::{Bool, Tensor, TensorData};
use rayon::prelude::*;

use crate::affine::{FAST_LIMIT, round_small};
use crate::host::is_host;

/// Values that are handed to a thread together.
const BLOCK: usize = 1 << 15;

/// Values quantized with a step, and the slopes of their quantization.
///
/// ```text
/// x^     = s * round(clamp(x / s, low, high))       halves to even
/// inside = 1 where low <= x / s <= high, else 0
/// slope  = round(x / s) - x / s there, else low or high
/// ```
/// Where a value is dropped: `x^ = x`, `inside = 1`, `slope = 0`.
#[derive(Debug)]
pub(super) struct Placement {
    /// `x^`.
    pub(super) value: Tensor<4>,
    /// `dx^/dx`.
    pub(super) inside: Tensor<4>,
    /// `dx^/ds`.
    pub(super) slope: Tensor<4>,
}

impl Placement {
    /// Places plain values on the multiples of a step, from the smallest to the largest of them.
    ///
    /// With one step for all values, and on a device whose memory is the host's, this is one pass over them; otherwise
    /// it is Burn's operations. The results are equal; zeros may differ in their sign.
    ///
    /// # Shapes
    /// - x, dropped: the same; step: 1 along dimensions that it is repeated along
    pub(super) fn new(x: Tensor<4>, step: Tensor<4>, bounds: [f32; 2], dropped: Option<Tensor<4, Bool>>) -> Self {
        let placed = Self::on_host(&x, &step, bounds, dropped.as_ref());
        placed.unwrap_or_else(|| Self::by_tensors(x, step, bounds, dropped))
    }

    fn by_tensors(x: Tensor<4>, step: Tensor<4>, [low, high]: [f32; 2], dropped: Option<Tensor<4, Bool>>) -> Self {
        let place = x.clone() / step.clone();
        let clamped = place.clone().clamp(low, high);
        let inside = clamped.clone().equal(place.clone()).float();
        let multiple = clamped.round();
        let (value, slope) = (multiple.clone() * step, multiple - place * inside.clone());
        match dropped {
            Some(dropped) => Self {
                value: value.mask_where(dropped.clone(), x),
                slope: slope.mask_fill(dropped.clone(), 0.0),
                inside: inside.mask_fill(dropped, 1.0),
            },
            None => Self { value, inside, slope },
        }
    }

    fn on_host(x: &Tensor<4>, step: &Tensor<4>, bounds: [f32; 2], dropped: Option<&Tensor<4, Bool>>) -> Option<Self> {
        let (shape, device) = (x.dims(), x.device());
        if !is_host(&device) || step.dims() != [1; 4] {
            return None;
        }
        let (data, mask) = (x.clone().into_data(), dropped.map(|mask| mask.clone().into_data()));
        let values = data.as_slice::<f32>().ok()?;
        let mask = mask.as_ref().map(|mask| mask.as_slice::<bool>()).transpose().ok()?;
        let step = step.clone().into_scalar::<f32>();
        let placed = match bounds.iter().all(|bound| bound.abs() < FAST_LIMIT) {
            true => place(values, mask, step, bounds, round_small),
            false => place(values, mask, step, bounds, f32::round_ties_even),
        };
        let [value, inside, slope] = placed.map(|values| Tensor::from_data(TensorData::new(values, shape), &device));
        Some(Self { value, inside, slope })
    }
}

/// Value, inside and slope of each `x`.
fn place(
    x: &[f32],
    dropped: Option<&[bool]>,
    step: f32,
    [low, high]: [f32; 2],
    round: impl Fn(f32) -> f32 + Copy + Sync,
) -> [Vec<f32>; 3] {
    let [mut value, mut inside, mut slope] = [(); 3].map(|()| vec![0.0f32; x.len()]);
    let blocks = value.par_chunks_mut(BLOCK).zip(inside.par_chunks_mut(BLOCK)).zip(slope.par_chunks_mut(BLOCK));
    blocks.zip(x.par_chunks(BLOCK)).enumerate().for_each(|(block, (((value, inside), slope), x))| {
        let places = value.iter_mut().zip(inside.iter_mut()).zip(slope.iter_mut()).zip(x);
        for (((value, inside), slope), &x) in places {
            let place = x / step;
            let clamped = place.clamp(low, high);
            let (within, multiple) = (if clamped == place { 1.0 } else { 0.0 }, round(clamped));
            (*value, *inside, *slope) = (multiple * step, within, multiple - place * within);
        }
        let Some(dropped) = dropped else { return };
        let places = value.iter_mut().zip(inside).zip(slope).zip(x).zip(&dropped[block * BLOCK..]);
        for ((((value, inside), slope), &x), &passes) in places {
            *value = if passes { x } else { *value };
            *inside = if passes { 1.0 } else { *inside };
            *slope = if passes { 0.0 } else { *slope };
        }
    });
    [value, inside, slope]
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::samples::host_values;

    /// More than two blocks of values around the steps of 0.25: ends, ties and zeros of both signs among them.
    fn values() -> Tensor<4> {
        let special = [0.0, -0.0, 0.125, -0.125, 0.375, 0.625, -0.25, 1.5, 1.625, 1e30, -1e30, 1e-40, -0.0625];
        let other = (0..2 * BLOCK + 1000 - special.len()).map(|index| (index as f32 * 0.7).sin() * 2.5);
        let values: Vec<f32> = special.into_iter().chain(other).collect();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [2, 1, count / 2, 1]), &Device::flex())
    }

    fn parts(Placement { value, inside, slope }: Placement) -> [Vec<f32>; 3] {
        [value, inside, slope].map(host_values)
    }

    #[test]
    fn the_pass_on_the_host_and_tensor_operations_agree() {
        let x = values();
        let count = x.dims().iter().product::<usize>();
        let mask: Vec<bool> = (0..count).map(|index| index * index % 7 < 3).collect();
        let mask = Tensor::<4, Bool>::from_data(TensorData::new(mask, x.dims()), &Device::flex());
        for (step, bounds) in [(0.25, [-1.0, 6.0]), (0.13, [0.0, 15.0]), (1e-7, [-9_000_000.0, -8_999_745.0])] {
            let step = Tensor::<4>::full([1; 4], step, &Device::flex());
            for dropped in [None, Some(mask.clone())] {
                let found = Placement::on_host(&x, &step, bounds, dropped.as_ref()).unwrap();
                assert!(parts(found) == parts(Placement::by_tensors(x.clone(), step.clone(), bounds, dropped)));
            }
        }
    }

    #[test]
    fn every_channel_may_have_a_step_of_its_own() {
        let x: Vec<f32> = vec![0.3, 0.8, 0.3, 0.8];
        let x = Tensor::<4>::from_data(TensorData::new(x, [1, 2, 2, 1]), &Device::flex());
        let steps = Tensor::<4>::from_data(TensorData::new(vec![0.25f32, 0.5], [1, 2, 1, 1]), &Device::flex());
        let Placement { value, inside, .. } = Placement::new(x, steps, [0.0, 2.0], None);
        assert_eq!(host_values(value), [0.25, 0.5, 0.5, 1.0]);
        assert_eq!(host_values(inside), [1.0, 0.0, 1.0, 1.0]);
    }
}
