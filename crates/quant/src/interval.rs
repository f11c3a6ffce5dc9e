//! The range of a group of values.

use serde::{Deserialize, Serialize};

use crate::error::QuantError;

/// A closed interval with finite bounds, `min <= max`, and a width that `f32` holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    min: f32,
    max: f32,
}

impl Range {
    /// `[min, max]`.
    ///
    /// # Errors
    /// [`QuantError::Range`] for NaN, infinities, `min > max`, and widths beyond `f32`.
    pub fn new(min: f32, max: f32) -> Result<Self, QuantError> {
        if min.is_finite() && max.is_finite() && min <= max && (max - min).is_finite() {
            Ok(Self { min, max })
        } else {
            Err(QuantError::Range { min, max })
        }
    }

    /// Smallest and largest of some finite values.
    ///
    /// # Errors
    /// [`QuantError::Empty`] without values; otherwise as [`Self::new`].
    pub fn of(values: &[f32]) -> Result<Self, QuantError> {
        const LANES: usize = 16;
        if values.is_empty() {
            return Err(QuantError::Empty);
        }
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (rows, rest) = values.as_chunks::<LANES>();
        for row in rows {
            for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(row) {
                *low = if value < *low { value } else { *low };
                *high = if value > *high { value } else { *high };
            }
        }
        let min = low.into_iter().chain(rest.iter().copied()).fold(f32::INFINITY, f32::min);
        let max = high.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
        Self::new(min, max)
    }

    /// Lower bound.
    pub fn min(self) -> f32 {
        self.min
    }

    /// Upper bound.
    pub fn max(self) -> f32 {
        self.max
    }

    /// `max - min`.
    pub fn width(self) -> f32 {
        self.max - self.min
    }

    /// The smallest range that holds both.
    ///
    /// # Errors
    /// [`QuantError::Range`] when its width is beyond `f32`.
    pub fn union(self, other: Self) -> Result<Self, QuantError> {
        Self::new(self.min.min(other.min), self.max.max(other.max))
    }

    /// The smallest range that holds this one and zero.
    pub fn with_zero(self) -> Self {
        Self { min: self.min.min(0.0), max: self.max.max(0.0) }
    }

    /// Both bounds multiplied by a factor from 0 to 1.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { min: self.min * factor, max: self.max * factor }
    }

    pub(crate) fn refused(self) -> QuantError {
        QuantError::Range { min: self.min, max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked() {
        for (min, max) in [(1.0, 0.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (f32::MIN, f32::MAX)] {
            assert!(matches!(Range::new(min, max), Err(QuantError::Range { .. })), "{min} {max}");
        }
        assert!(matches!(Range::of(&[]), Err(QuantError::Empty)));
    }

    #[test]
    fn the_range_of_values_is_found_at_every_place() {
        for place in 0..37 {
            let mut values = vec![0.5f32; 37];
            values[place] = -2.0;
            values[(place + 5) % 37] = 3.0;
            assert_eq!(Range::of(&values).unwrap(), Range::new(-2.0, 3.0).unwrap());
        }
    }
}
