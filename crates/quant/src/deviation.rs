//! The error that a map makes, as fast as a search over maps needs it.

use blindfold_zoo::{lane_sum, vectorized};

use crate::affine::{Affine, Visitor};

/// `(1/n) sum |x - x^|^p` over a slice; 0 for no values.
///
/// Terms are `f32`, sums are `f64` by blocks of 4,096. For `p` other than 1 and 2 the power is `2^(p log2 |d|)` by
/// polynomials whose relative error is below `1e-5`, which compile to vector instructions.
pub(crate) fn deviation(values: &[f32], map: &Affine, p: f32) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    map.visit(Deviation { values, p, limit: f64::INFINITY }) / values.len() as f64
}

/// Values whose deviation is asked for many maps: zeros, half of all after a rectifier, are counted once.
pub(crate) struct Counted {
    zeros: usize,
    others: Vec<f32>,
}

impl Counted {
    pub(crate) fn new(values: &[f32]) -> Self {
        let others: Vec<f32> = values.iter().copied().filter(|&value| value != 0.0).collect();
        Self { zeros: values.len() - others.len(), others }
    }

    /// As [`deviation`], with another order of its sums; above `limit` it is left at some value above.
    pub(crate) fn deviation(&self, map: &Affine, p: f32, limit: f64) -> f64 {
        let count = ((self.zeros + self.others.len()) as f64).max(1.0);
        let at_zero = if self.zeros > 0 { self.zeros as f64 * deviation(&[0.0], map, p) } else { 0.0 };
        // Where the limit is this very deviation, rounding must not make it less.
        let limit = limit * count * (1.0 + 1e-9) - at_zero;
        (at_zero + map.visit(Deviation { values: &self.others, p, limit })) / count
    }

    /// About one value in `step`, evenly from all.
    pub(crate) fn thinned(&self, step: usize) -> Self {
        Self { zeros: self.zeros / step, others: self.others.iter().copied().step_by(step).collect() }
    }
}

struct Deviation<'a> {
    values: &'a [f32],
    p: f32,
    /// Where the sum exceeds it, the rest is left out.
    limit: f64,
}

impl Visitor<f64> for Deviation<'_> {
    #[inline(always)]
    fn visit(self, fake_quantize: impl Fn(f32) -> f32 + Copy) -> f64 {
        let Self { values, p, limit } = self;
        if p == 2.0 {
            sum(
                values,
                limit,
                #[inline(always)]
                |x| {
                    let d = x - fake_quantize(x);
                    d * d
                },
            )
        } else if p == 1.0 {
            sum(
                values,
                limit,
                #[inline(always)]
                |x| (x - fake_quantize(x)).abs(),
            )
        } else {
            sum(
                values,
                limit,
                #[inline(always)]
                |x| power((x - fake_quantize(x)).abs(), p),
            )
        }
    }
}

#[inline(always)]
fn sum(values: &[f32], limit: f64, term: impl Fn(f32) -> f32) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for block in values.chunks(4096) {
                total += f64::from(lane_sum(block, &term));
                if total > limit {
                    break;
                }
            }
            total
        },
    )
}

/// `a^p` for `a >= 0`, `p > 0`; results below `2^-126` come out as `2^-126`.
#[inline(always)]
fn power(a: f32, p: f32) -> f32 {
    exp2((p * log2(a.max(1e-30))).clamp(-126.0, 126.0))
}

#[inline(always)]
fn log2(a: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let bits = a.to_bits();
    let exponent = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((exponent as u32) << 23));
    let r = (mantissa - 1.0) / (mantissa + 1.0);
    let square = r * r;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square * (1.0 / 9.0))));
    exponent as f32 + 2.0 * std::f32::consts::LOG2_E * r * series
}

#[inline(always)]
fn exp2(y: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let shifted = y + ROUND;
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let x = (y - (shifted - ROUND)) * std::f32::consts::LN_2;
    let series =
        1.0 + x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0))))));
    series * f32::from_bits(whole.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Arithmetic;

    #[test]
    fn the_power_is_close_to_the_libms() {
        for exponent in -200..200 {
            for p in [0.5f32, 2.4, 3.0] {
                let a = 1.07f32.powi(exponent);
                let (ours, exact) = (f64::from(power(a, p)), f64::from(a).powf(f64::from(p)));
                assert!((ours / exact - 1.0).abs() < 1e-5, "{a}^{p}: {ours} {exact}");
            }
        }
        assert!(power(0.0, 2.4) < 1e-37);
    }

    #[test]
    fn counted_zeros_give_the_deviation_of_all() {
        // The second map has no code for zero, so zeros err too.
        let map = Affine { arithmetic: Arithmetic::Divide, scale: 0.3, zero: 1.0, low: 0.0, high: 7.0 };
        let without_zero = Affine { zero: -2.0, ..map };
        let values: Vec<f32> = (0..10_001).map(|index| ((index as f32 * 0.37).sin() * 5.0).max(0.0)).collect();
        for values in [&values[..], &values[..1], &[0.0; 5], &[]] {
            let counted = Counted::new(values);
            for (map, p) in [(&map, 2.4), (&map, 2.0), (&without_zero, 2.4), (&without_zero, 1.0)] {
                let (all, ours) = (deviation(values, map, p), counted.deviation(map, p, f64::INFINITY));
                assert!((ours - all).abs() <= 1e-5 * all.max(1e-30), "{ours} {all}");
                assert_eq!(counted.deviation(map, p, ours), ours);
                let stopped = counted.deviation(map, p, ours / 2.0);
                assert!(ours == 0.0 || stopped > ours / 2.0 && stopped <= ours, "{stopped} of {ours}");
            }
        }
    }

    #[test]
    fn the_mean_is_that_of_the_definition() {
        let map = Affine { arithmetic: Arithmetic::Multiply, scale: 3.1, zero: 2.0, low: -8.0, high: 7.0 };
        let values: Vec<f32> = (0..10_001).map(|index| (index as f32 * 0.37).sin() * 5.0).collect();
        for p in [1.0f32, 2.0, 2.4] {
            let exact =
                values.iter().map(|&x| f64::from((x - map.value(map.code(x))).abs()).powf(f64::from(p))).sum::<f64>()
                    / 10_001.0;
            assert!((deviation(&values, &map, p) / exact - 1.0).abs() < 1e-5);
        }
    }
}
