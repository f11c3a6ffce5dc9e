//! Values on the host, by the groups that share a range.

use burn::tensor::Tensor;

use crate::error::QuantError;

/// The values of one tensor, on the host, ordered by group; all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    values: Vec<f32>,
    groups: usize,
}

impl Samples {
    /// `values` in `groups` stretches of equal length.
    ///
    /// # Errors
    /// [`QuantError::Empty`] without values, [`QuantError::Groups`] when they do not divide evenly,
    /// [`QuantError::NotFinite`] for NaN and infinities.
    pub fn new(values: Vec<f32>, groups: usize) -> Result<Self, QuantError> {
        if values.is_empty() || groups == 0 {
            return Err(QuantError::Empty);
        }
        if !values.len().is_multiple_of(groups) {
            return Err(QuantError::Groups { expected: groups, found: values.len() });
        }
        if !all_finite(&values) {
            let count = values.len();
            let bad = values.iter().copied().enumerate().find(|(_, value)| !value.is_finite());
            let (index, value) = bad.expect("all_finite has just found such a value");
            return Err(QuantError::NotFinite { index, count, value });
        }
        Ok(Self { values, groups })
    }

    /// The values of a tensor, grouped by the index along `axis`, or in one group.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(tensor: Tensor<4>, axis: Option<usize>) -> Result<Self, QuantError> {
        match axis {
            None => Self::new(host_values(tensor), 1),
            Some(axis) => {
                let groups = tensor.dims()[axis];
                let tensor = if axis == 0 { tensor } else { tensor.swap_dims(0, axis) };
                Self::new(host_values(tensor), groups)
            }
        }
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The values of one group.
    pub fn group(&self, index: usize) -> &[f32] {
        let length = self.values.len() / self.groups;
        &self.values[index * length..(index + 1) * length]
    }

    /// All groups in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.values.len() / self.groups)
    }

    /// All values, group after group, taken out.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// All values, group after group.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A tensor's values in row-major order.
pub(crate) fn host_values(tensor: Tensor<4>) -> Vec<f32> {
    let data = tensor.inner().into_data();
    match data.as_slice::<f32>() {
        Ok(values) => values.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let poisoned =
        values.iter().fold(0u32, |poisoned, value| poisoned | u32::from(value.to_bits() & EXPONENT == EXPONENT));
    poisoned == 0
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn groups_follow_the_axis() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let tensor = Tensor::<4>::from_data(TensorData::new(values, [2, 3, 2, 2]), &Device::flex());
        let samples = Samples::of(tensor.clone(), Some(1)).unwrap();
        assert_eq!(samples.groups(), 3);
        assert_eq!(samples.group(1), [4.0, 5.0, 6.0, 7.0, 16.0, 17.0, 18.0, 19.0]);
        assert_eq!(Samples::of(tensor.clone(), Some(0)).unwrap().group(1)[0], 12.0);
        assert_eq!(Samples::of(tensor, None).unwrap().group(0).len(), 24);
    }

    #[test]
    fn values_without_a_range_are_errors() {
        assert!(matches!(Samples::new(Vec::new(), 1), Err(QuantError::Empty)));
        assert!(matches!(Samples::new(vec![1.0; 3], 2), Err(QuantError::Groups { .. })));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(Samples::new(vec![0.0, bad], 1), Err(QuantError::NotFinite { index: 1, .. })));
        }
    }
}
