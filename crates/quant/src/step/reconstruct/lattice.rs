//! Uniform codes as multiples of a step.

use burn::tensor::{Device, Tensor, TensorData};

use crate::affine::{Affine, Arithmetic};
use crate::error::QuantError;
use crate::grid::Grid;

/// The map of one group, counted from the value 0 instead of from the zero point: `x^ = step * m`, `m = code + offset`.
///
/// Both orders of arithmetic have this form, because zero points are integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lattice {
    map: Affine,
    offset: f32,
    /// The smallest multiple that has a code.
    pub(super) low: f32,
    /// The largest one.
    pub(super) high: f32,
}

impl Lattice {
    /// The lattice of a map.
    pub(super) fn of(map: Affine) -> Self {
        let offset = match map.arithmetic {
            Arithmetic::Multiply => map.zero,
            Arithmetic::Divide => -map.zero,
        };
        Self { map, offset, low: map.low + offset, high: map.high + offset }
    }

    /// A value in steps.
    pub(super) fn place(&self, x: f32) -> f32 {
        match self.map.arithmetic {
            Arithmetic::Multiply => self.map.scale * x,
            Arithmetic::Divide => x / self.map.scale,
        }
    }

    /// The code of a multiple from `low` to `high`.
    pub(super) fn code(&self, multiple: f32) -> i32 {
        (multiple - self.offset) as i32
    }
}

/// All groups of a grid.
pub(super) fn lattices(grid: &Grid) -> Vec<Lattice> {
    (0..grid.groups()).map(|group| Lattice::of(grid.map(group))).collect()
}

/// The steps of all groups, shaped to broadcast over the tensor that the grid is for.
pub(super) fn steps(grid: &Grid, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..grid.groups()).map(|group| grid.map(group).step()).collect();
    let mut shape = [1; 4];
    if let Some(axis) = grid.axis() {
        shape[axis] = grid.groups();
    }
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The same codes and zero points with other steps, one a group.
///
/// # Errors
/// [`QuantError::Grid`] for steps that are not positive and finite.
pub(super) fn with_steps(grid: &Grid, steps: &[f32]) -> Result<Grid, QuantError> {
    let maps: Vec<Affine> = steps
        .iter()
        .enumerate()
        .map(|(group, &step)| {
            let map = grid.map(group);
            let scale = match map.arithmetic {
                Arithmetic::Multiply => 1.0 / step,
                Arithmetic::Divide => step,
            };
            Affine { scale, ..map }
        })
        .collect();
    Grid::new(&maps, grid.bits(), grid.axis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_arithmetic_are_multiples_of_a_step() {
        for map in [
            Affine { arithmetic: Arithmetic::Multiply, scale: 8.0, zero: -3.0, low: -8.0, high: 7.0 },
            Affine { arithmetic: Arithmetic::Divide, scale: 0.125, zero: 11.0, low: 0.0, high: 15.0 },
        ] {
            let lattice = Lattice::of(map);
            assert_eq!((lattice.low, lattice.high), (-11.0, 4.0));
            for multiple in -11..=4 {
                let multiple = multiple as f32;
                let code = lattice.code(multiple);
                assert_eq!(map.value(code as f32), multiple * 0.125);
                assert_eq!(lattice.place(map.value(code as f32)), multiple);
            }
        }
    }

    #[test]
    fn other_steps_scale_the_values_of_the_codes() {
        for arithmetic in [Arithmetic::Multiply, Arithmetic::Divide] {
            let map = |scale| Affine { arithmetic, scale, zero: 2.0, low: 0.0, high: 7.0 };
            let grid = Grid::new(&[map(0.5), map(2.0)], 3, Some(0)).unwrap();
            let other = with_steps(&grid, &[0.25, 4.0]).unwrap();
            for (group, step) in [(0, 0.25), (1, 4.0)] {
                assert_eq!(other.map(group).step(), step);
                let ratio = other.map(group).value(7.0) / grid.map(group).value(7.0);
                assert_eq!(ratio, step / grid.map(group).step());
            }
            assert!(matches!(with_steps(&grid, &[0.0, 1.0]), Err(QuantError::Grid(_))));
        }
    }
}
