//! Codes changed by one, so that sums of rounding errors vanish.

use std::ops::Range;

use crate::affine::{Affine, Arithmetic};

/// The codes of one output channel, and their errors `e = q - t` in steps, where `t` is the code before rounding.
///
/// A value beyond the range has the error of its clamped code, more than half a step.
#[derive(Debug)]
pub(super) struct Row {
    map: Affine,
    codes: Vec<f32>,
    errors: Vec<f32>,
    candidates: Vec<usize>,
}

impl Row {
    /// The nearest codes.
    pub(super) fn nearest(map: Affine, values: &[f32]) -> Self {
        let codes: Vec<f32> = values.iter().map(|&x| map.code(x)).collect();
        let error = |(&x, &code): (&f32, &f32)| match map.arithmetic {
            Arithmetic::Multiply => code - (map.scale * x - map.zero),
            Arithmetic::Divide => (code - map.zero) - x / map.scale,
        };
        let errors = values.iter().zip(&codes).map(error).collect();
        Self { map, codes, errors, candidates: Vec::new() }
    }

    /// SQuant-K: flips within each kernel of `size` values. Returns the places that [`Self::flip_channel`] may flip.
    pub(super) fn flip_kernels(&mut self, size: usize) -> Vec<usize> {
        let count = self.codes.len();
        let kernel = |first: usize| first..(first + size).min(count);
        (0..count).step_by(size).filter_map(|first| self.flip(self.sum(kernel(first)), kernel(first))).collect()
    }

    /// SQuant-C: flips within the channel, at those of `places` that are due.
    pub(super) fn flip_channel(&mut self, places: impl Iterator<Item = usize>) {
        self.flip(self.sum(0..self.codes.len()), places);
    }

    /// The values of the codes.
    pub(super) fn values(&self) -> impl Iterator<Item = f32> {
        self.codes.iter().map(|&code| self.map.value(code))
    }

    fn sum(&self, places: Range<usize>) -> f64 {
        self.errors[places].iter().copied().map(f64::from).sum()
    }

    /// Flips against a sum of errors the `round(|sum|)` largest errors of its sign at `places`; of equal ones the first.
    ///
    /// Returns the place that is due next: where the flips went past zero the last one flipped, which may go back, else the
    /// one that would have followed. Its error has the sign of what is left of the sum, so that [`Self::flip`] finds the
    /// direction again.
    fn flip(&mut self, sum: f64, places: impl Iterator<Item = usize>) -> Option<usize> {
        let Self { map, codes, errors, candidates } = self;
        let direction = if sum < 0.0 { 1.0f32 } else { -1.0 };
        let has_room = |code: f32| if sum < 0.0 { code < map.high } else { code > map.low };
        candidates.clear();
        candidates.extend(places.filter(|&place| errors[place] * direction < 0.0 && has_room(codes[place])));
        let wanted = sum.abs().round_ties_even();
        let due = if wanted >= sum.abs() { (wanted as usize).checked_sub(1)? } else { wanted as usize };
        let next = (due < candidates.len()).then(|| {
            let by_size = |a: &usize, b: &usize| errors[*b].abs().total_cmp(&errors[*a].abs()).then(a.cmp(b));
            *candidates.select_nth_unstable_by(due, by_size).1
        });
        for &place in &candidates[..(wanted as usize).min(candidates.len())] {
            codes[place] += direction;
            errors[place] += direction;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;
    use rand::RngExt;

    use super::*;

    fn maps() -> [Affine; 3] {
        [
            Affine { arithmetic: Arithmetic::Multiply, scale: 1.0, zero: 0.0, low: -8.0, high: 7.0 },
            Affine { arithmetic: Arithmetic::Multiply, scale: 7.3, zero: -19.0, low: -2.0, high: 1.0 },
            Affine { arithmetic: Arithmetic::Divide, scale: 0.13, zero: 6.0, low: 0.0, high: 255.0 },
        ]
    }

    fn flipped(values: &[f32], size: usize) -> Vec<f32> {
        let mut row = Row::nearest(maps()[0], values);
        let places = row.flip_kernels(size);
        row.flip_channel(places.into_iter());
        row.codes
    }

    #[test]
    fn flips_are_those_of_a_calculation_by_hand() {
        // Each kernel: sum -1.6, so two flips up, past zero by 0.4, the second of them due to go back. The channel: sum 0.8,
        // so one of the two goes back.
        assert_eq!(flipped(&[0.4; 8], 4), [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        // Sums -0.95, 0.9 and -0.9: one flip each, at the largest error; what is left, 0.05, is no flip of the channel.
        let values = [0.4, 0.3, 0.45, -0.2, 1.7, 2.6, -1.3, 0.1, 0.2, 0.2, 0.2, 0.3];
        assert_eq!(flipped(&values, 4), [0.0, 0.0, 1.0, 0.0, 2.0, 2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        // Sums -0.3 each: no kernel flips, 0.3 is due in each, and the channel's -0.6 is worth one flip.
        assert_eq!(flipped(&[0.3, 0.0, 0.3, 0.0], 2), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn values_on_the_grid_stay() {
        let values = [-8.0, 7.0, 0.0, 3.0];
        assert_eq!(flipped(&values, 2), values);
    }

    #[test]
    fn clamped_codes_do_not_leave_the_range() {
        // Both kernels have the sum -1: 7.6 is clamped, its error of -0.6 stays, and 0.4 makes up for it.
        assert_eq!(flipped(&[7.6, 0.4, 7.6, 0.4], 2), [7.0, 1.0, 7.0, 1.0]);
        assert_eq!(flipped(&[9.0, 8.0], 2), [7.0, 7.0]);
    }

    #[test]
    fn sums_are_at_most_half_a_step_within_the_range() {
        let mut random = stream(3, "test");
        for map in maps() {
            for size in [4usize, 9, 25] {
                for kernels in [1usize, 2, 7, 64] {
                    let (low, high) = map.representable();
                    let values: Vec<f32> = (0..size * kernels).map(|_| random.random_range(low..high)).collect();
                    let mut row = Row::nearest(map, &values);
                    let nearest = row.codes.clone();
                    let places = row.flip_kernels(size);
                    for first in (0..values.len()).step_by(size) {
                        assert!(row.sum(first..first + size).abs() <= 0.5001, "{map:?} {size} {kernels}");
                    }
                    assert!(places.len() <= kernels, "one place a kernel");
                    row.flip_channel(places.into_iter());
                    assert!(row.sum(0..values.len()).abs() <= 0.5001, "{map:?} {size} {kernels}");
                    for first in (0..values.len()).step_by(size) {
                        assert!(row.sum(first..first + size).abs() <= 1.0001, "the channel flips one code a kernel");
                    }
                    for (code, nearest) in row.codes.iter().zip(&nearest) {
                        assert!((code - nearest).abs() <= 1.0 && (map.low..=map.high).contains(code));
                    }
                }
            }
        }
    }
}
