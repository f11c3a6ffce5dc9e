//! The codes of a whole tensor.

use blindfold_zoo::ops::change_values;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::affine::{Affine, Arithmetic};
use crate::change_groups::change_groups;
use crate::error::QuantError;
use crate::host::is_host;
use crate::precision::checked_bits;

/// Integer codes for a tensor: an affine map for each group, all with the same codes.
///
/// A plain value (serde), so that a checkpoint holds it: it is the frozen outcome of a calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Grid {
    bits: u8,
    axis: Option<usize>,
    arithmetic: Arithmetic,
    low: f32,
    high: f32,
    scale: Vec<f32>,
    zero: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    bits: u8,
    axis: Option<usize>,
    arithmetic: Arithmetic,
    low: f32,
    high: f32,
    scale: Vec<f32>,
    zero: Vec<f32>,
}

impl TryFrom<Fields> for Grid {
    type Error = QuantError;

    fn try_from(fields: Fields) -> Result<Self, QuantError> {
        let Fields { bits, axis, arithmetic, low, high, scale, zero } = fields;
        if scale.len() != zero.len() {
            return Err(QuantError::Grid(format!("{} scales and {} zero points", scale.len(), zero.len())));
        }
        let maps: Vec<Affine> =
            scale.into_iter().zip(zero).map(|(scale, zero)| Affine { arithmetic, scale, zero, low, high }).collect();
        Self::new(&maps, bits, axis)
    }
}

impl Grid {
    /// A grid of one map for each index along `axis`, or of one map for the whole tensor.
    ///
    /// # Errors
    /// [`QuantError::Bits`]; [`QuantError::Grid`] when the maps do not share arithmetic and codes, have more codes than
    /// `2^bits`, a scale that is not positive and finite, a zero point that is no integer, or are not one where `axis` is none.
    pub fn new(maps: &[Affine], bits: u8, axis: Option<usize>) -> Result<Self, QuantError> {
        checked_bits(bits)?;
        let broken = |reason: String| Err(QuantError::Grid(reason));
        let Some(first) = maps.first() else { return Err(QuantError::Empty) };
        if axis.is_none() && maps.len() != 1 || axis.is_some_and(|axis| axis > 3) {
            return broken(format!("{} groups along axis {axis:?}", maps.len()));
        }
        let Affine { arithmetic, low, high, .. } = *first;
        let integral = |x: f32| x.is_finite() && x.fract() == 0.0;
        if !(integral(low) && integral(high) && low <= high && high - low < f32::from(1u16 << bits)) {
            return broken(format!("codes from {low} to {high} in {bits} bits"));
        }
        for map in maps {
            if (map.arithmetic, map.low, map.high) != (arithmetic, low, high) {
                return broken("its groups have different codes".to_owned());
            }
            if !(map.scale.is_finite() && map.scale > 0.0 && integral(map.zero)) {
                return broken(format!("scale {} with zero point {}", map.scale, map.zero));
            }
        }
        let scale = maps.iter().map(|map| map.scale).collect();
        let zero = maps.iter().map(|map| map.zero).collect();
        Ok(Self { bits, axis, arithmetic, low, high, scale, zero })
    }

    /// Number of bits of a code.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The dimension that tells the groups apart; none where the whole tensor is one group.
    pub fn axis(&self) -> Option<usize> {
        self.axis
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.scale.len()
    }

    /// The map of one group.
    pub fn map(&self, group: usize) -> Affine {
        let Self { arithmetic, low, high, .. } = *self;
        Affine { arithmetic, scale: self.scale[group], zero: self.zero[group], low, high }
    }

    /// Numbers of 32 bits that are stored beside the codes: a scale for each group, and a zero point unless all are zero, as those of
    /// symmetric grids are.
    pub fn constants(&self) -> usize {
        if self.zero.iter().all(|&zero| zero == 0.0) { self.groups() } else { 2 * self.groups() }
    }

    /// Number of codes that a group has.
    pub fn levels(&self) -> usize {
        (self.high - self.low) as usize + 1
    }

    /// `x^`: each value replaced by that of its code. Without a gradient rule (see [`crate::Ste`]).
    ///
    /// On a device whose memory is the host's this is one pass over the values; elsewhere it is Burn's operations.
    ///
    /// # Shapes
    /// - x and output: rank 4; with an axis, the size along it is [`Self::groups`]
    pub fn fake_quantize(&self, x: Tensor<4>) -> Tensor<4> {
        if !is_host(&x.device()) {
            return self.decode(self.codes(x));
        }
        let shape = x.dims();
        change_values(x, |values| {
            self.replace(values, shape)
                .expect("a tensor has the channels that its grid was calibrated for, as all shapes must agree");
        })
    }

    /// The integer codes, as floating-point numbers of the same shape.
    pub fn codes(&self, x: Tensor<4>) -> Tensor<4> {
        let (scale, zero) = self.broadcast(&x);
        let codes = match self.arithmetic {
            Arithmetic::Multiply => (x * scale - zero).round(),
            Arithmetic::Divide => (x / scale).round() + zero,
        };
        codes.clamp(self.low, self.high)
    }

    /// The values of integer codes.
    pub fn decode(&self, codes: Tensor<4>) -> Tensor<4> {
        let (scale, zero) = self.broadcast(&codes);
        match self.arithmetic {
            Arithmetic::Multiply => (codes + zero) / scale,
            Arithmetic::Divide => (codes - zero) * scale,
        }
    }

    /// 1 where the code of a value is not clamped, 0 where it is.
    pub fn inside(&self, x: Tensor<4>) -> Tensor<4> {
        let (scale, zero) = self.broadcast(&x);
        let codes = match self.arithmetic {
            Arithmetic::Multiply => (x * scale - zero).round(),
            Arithmetic::Divide => (x / scale).round() + zero,
        };
        codes.clone().clamp(self.low, self.high).equal(codes).float()
    }

    /// `x^` of values of that shape in row-major order.
    ///
    /// # Errors
    /// [`QuantError::Groups`] when the shape does not have the grid's groups.
    pub fn fake_quantize_values(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        let mut output = values.to_vec();
        self.replace(&mut output, shape)?;
        Ok(output)
    }

    /// Puts `x^` in the place of each value, as [`Self::fake_quantize_values`].
    pub(crate) fn replace(&self, values: &mut [f32], shape: [usize; 4]) -> Result<(), QuantError> {
        change_groups(values, shape, self.axis, self.groups(), |group, values| self.map(group).fake_quantize(values))
    }

    /// The codes of values of that shape in row-major order.
    ///
    /// # Errors
    /// [`QuantError::Groups`] when the shape does not have the grid's groups.
    pub fn encode(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<i32>, QuantError> {
        self.by_group(values, shape, |map, x| map.code(x) as i32)
    }

    /// The values of codes of that shape in row-major order.
    ///
    /// # Errors
    /// [`QuantError::Groups`] as [`Self::encode`]; [`QuantError::Grid`] for a code outside the grid's.
    pub fn decode_values(&self, codes: &[i32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        let (low, high) = (self.low as i32, self.high as i32);
        if let Some(code) = codes.iter().find(|code| !(low..=high).contains(code)) {
            return Err(QuantError::Grid(format!("code {code} where codes go from {low} to {high}")));
        }
        self.by_group(codes, shape, |map, code| map.value(code as f32))
    }

    fn by_group<A: Copy, B>(
        &self,
        values: &[A],
        shape: [usize; 4],
        each: impl Fn(&Affine, A) -> B,
    ) -> Result<Vec<B>, QuantError> {
        let (groups, run) = match self.axis {
            None => (1, values.len()),
            Some(axis) => (shape[axis], shape[axis + 1..].iter().product()),
        };
        if groups != self.groups() {
            return Err(QuantError::Groups { expected: self.groups(), found: groups });
        }
        let mut output = Vec::with_capacity(values.len());
        for (index, run) in values.chunks(run.max(1)).enumerate() {
            let map = self.map(index % groups);
            output.extend(run.iter().map(|&value| each(&map, value)));
        }
        Ok(output)
    }

    /// Scale and zero point, shaped to broadcast over `x`.
    fn broadcast(&self, x: &Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let mut shape = [1; 4];
        if let Some(axis) = self.axis {
            shape[axis] = self.groups();
        }
        let device = x.device().inner();
        let make = |values: &[f32]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device);
        (make(&self.scale), make(&self.zero))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn grid(arithmetic: Arithmetic, axis: Option<usize>, groups: usize) -> Grid {
        let map = |group: usize| Affine {
            arithmetic,
            scale: 1.7 + group as f32,
            zero: group as f32 - 3.0,
            low: if arithmetic == Arithmetic::Divide { 0.0 } else { -8.0 },
            high: if arithmetic == Arithmetic::Divide { 15.0 } else { 7.0 },
        };
        Grid::new(&(0..groups).map(map).collect::<Vec<_>>(), 4, axis).unwrap()
    }

    fn values() -> (Vec<f32>, [usize; 4]) {
        ((0..2 * 3 * 4 * 5).map(|index| (index as f32 * 1.3).sin() * 12.0).collect(), [2, 3, 4, 5])
    }

    #[test]
    fn host_kernel_and_tensor_operations_agree_to_the_bit() {
        let (values, shape) = values();
        for arithmetic in [Arithmetic::Multiply, Arithmetic::Divide] {
            for (axis, groups) in [(None, 1), (Some(0), 2), (Some(1), 3)] {
                let grid = grid(arithmetic, axis, groups);
                let x = Tensor::<4>::from_data(TensorData::new(values.clone(), shape), &Device::flex());
                let by_tensors = grid.decode(grid.codes(x.clone())).into_data().try_to_vec::<f32>().unwrap();
                assert_eq!(grid.fake_quantize_values(&values, shape).unwrap(), by_tensors);
                assert_eq!(grid.fake_quantize(x).into_data().try_to_vec::<f32>().unwrap(), by_tensors);
            }
        }
    }

    #[test]
    fn inside_is_zero_exactly_where_codes_are_clamped() {
        let map = Affine { arithmetic: Arithmetic::Divide, scale: 1.0, zero: 1.0, low: 0.0, high: 3.0 };
        let grid = Grid::new(&[map], 2, None).unwrap();
        let x = Tensor::<1>::from_floats([-1.6, -1.4, 0.0, 2.4, 2.6], &Device::flex()).reshape([1, 5, 1, 1]);
        assert_eq!(grid.inside(x).into_data().try_to_vec::<f32>().unwrap(), [0.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_grid_survives_serialization_and_a_broken_one_does_not() {
        let grid = grid(Arithmetic::Multiply, Some(1), 3);
        let text = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<Grid>(&text).unwrap(), grid);
        for (good, bad) in [
            ("\"zero\":[-3.0", "\"zero\":[-3.5"),
            ("\"bits\":4", "\"bits\":3"),
            ("\"bits\":4", "\"bits\":9"),
            ("[1.7,", "[-1.7,"),
        ] {
            assert!(text.contains(good), "{text}");
            assert!(serde_json::from_str::<Grid>(&text.replace(good, bad)).is_err(), "{bad}");
        }
    }
}
