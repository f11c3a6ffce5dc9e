//! The affine map of one group of values to integer codes and back.

use blindfold_zoo::vectorized;
use serde::{Deserialize, Serialize};

/// In which order the map's two constants are applied: it decides the last bit of every result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// `q = clamp(round(scale * x - zero))`, `x^ = (q + zero) / scale`: the scale is codes per unit.
    Multiply,
    /// `q = clamp(round(x / scale) + zero)`, `x^ = (q - zero) * scale`: the scale is units per code.
    Divide,
}

/// Codes of one group: an affine map with an integral zero point, and the smallest and largest code.
///
/// All in `f32`; `round` takes halves to the even neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Order of operations.
    pub arithmetic: Arithmetic,
    /// Codes per unit ([`Arithmetic::Multiply`]) or units per code ([`Arithmetic::Divide`]); positive.
    pub scale: f32,
    /// Zero point, an integer.
    pub zero: f32,
    /// Smallest code, an integer.
    pub low: f32,
    /// Largest code, an integer.
    pub high: f32,
}

/// `1.5 * 2^23`: adding and subtracting it leaves the nearest integer, halves to even, for magnitudes up to `2^22`.
/// Unlike a call of `round` it is two additions, which compile to vector instructions on every processor.
const ROUND: f32 = 12_582_912.0;
/// Magnitudes from which on [`round_small`] is not used.
pub(crate) const FAST_LIMIT: f32 = 2_097_152.0;

/// The nearest integer, halves to even; 0 has no sign.
#[inline(always)]
pub(crate) fn round_small(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// [`f32::clamp`] without its check that `low <= high`, which would keep a loop from being vectorized.
#[inline(always)]
fn limited(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

impl Affine {
    /// The width of one step, in units of the values.
    pub fn step(&self) -> f32 {
        match self.arithmetic {
            Arithmetic::Multiply => 1.0 / self.scale,
            Arithmetic::Divide => self.scale,
        }
    }

    /// The code of zero: `x^ = step * (code - zero_point)` in either order of operations.
    pub fn zero_point(&self) -> f32 {
        match self.arithmetic {
            Arithmetic::Multiply => 0.0 - self.zero,
            Arithmetic::Divide => self.zero,
        }
    }

    /// The integer code of a value.
    #[inline]
    pub fn code(&self, x: f32) -> f32 {
        match self.arithmetic {
            Arithmetic::Multiply => (self.scale * x - self.zero).round_ties_even().clamp(self.low, self.high),
            Arithmetic::Divide => ((x / self.scale).round_ties_even() + self.zero).clamp(self.low, self.high),
        }
    }

    /// The value of an integer code.
    #[inline]
    pub fn value(&self, code: f32) -> f32 {
        match self.arithmetic {
            Arithmetic::Multiply => (code + self.zero) / self.scale,
            Arithmetic::Divide => (code - self.zero) * self.scale,
        }
    }

    /// Smallest and largest value that has a code.
    pub fn representable(&self) -> (f32, f32) {
        (self.value(self.low), self.value(self.high))
    }

    /// Folds `x -> (x, fake_quantize(x))` over a slice with one of three inlined kernels.
    ///
    /// Clamping before rounding gives the same as after it because the bounds are integers.
    #[inline(always)]
    pub(crate) fn visit<R>(&self, visitor: impl Visitor<R>) -> R {
        let Self { arithmetic, scale, zero, low, high } = *self;
        match arithmetic {
            Arithmetic::Multiply => visitor.visit(
                #[inline(always)]
                move |x| (round_small(limited(scale * x - zero, low, high)) + zero) / scale,
            ),
            Arithmetic::Divide if zero.abs() < FAST_LIMIT => {
                let (low, high) = (low - zero, high - zero);
                visitor.visit(
                    #[inline(always)]
                    move |x| round_small(limited(x / scale, low, high)) * scale,
                )
            }
            Arithmetic::Divide => {
                let map = *self;
                visitor.visit(move |x| map.value(map.code(x)))
            }
        }
    }

    /// Puts `x^` in the place of each value.
    pub fn fake_quantize(&self, values: &mut [f32]) {
        self.visit(Replace(values));
    }
}

/// Something that is done with a map's inlined `x -> x^`.
pub(crate) trait Visitor<R> {
    fn visit(self, fake_quantize: impl Fn(f32) -> f32 + Copy) -> R;
}

/// Writes to each place what [`Affine::visit`] makes of its value.
struct Replace<'a>(&'a mut [f32]);

impl Visitor<()> for Replace<'_> {
    #[inline(always)]
    fn visit(self, fake_quantize: impl Fn(f32) -> f32 + Copy) {
        vectorized(
            #[inline(always)]
            move || self.0.iter_mut().for_each(|value| *value = fake_quantize(*value)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_kernels_equal_the_definition() {
        let maps = [
            Affine { arithmetic: Arithmetic::Multiply, scale: 7.3, zero: -19.0, low: -8.0, high: 7.0 },
            Affine { arithmetic: Arithmetic::Divide, scale: 0.13, zero: 6.0, low: 0.0, high: 15.0 },
            Affine { arithmetic: Arithmetic::Divide, scale: 1e-5, zero: -9_000_000.0, low: 0.0, high: 255.0 },
        ];
        let values: Vec<f32> =
            (-4000..4000).map(|index| index as f32 * 0.021).chain([89.999, 90.001, 1e30, -1e30]).collect();
        for map in maps {
            let mut output = values.clone();
            map.fake_quantize(&mut output);
            for (x, y) in values.iter().zip(output) {
                assert_eq!(y, map.value(map.code(*x)), "{map:?} at {x}");
            }
        }
    }

    #[test]
    fn halves_round_to_even() {
        let map = Affine { arithmetic: Arithmetic::Divide, scale: 1.0, zero: 0.0, low: -8.0, high: 7.0 };
        let mut values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
        map.fake_quantize(&mut values);
        assert_eq!(values, [0.0, 2.0, 2.0, 0.0, -2.0, -2.0]);
    }
}
