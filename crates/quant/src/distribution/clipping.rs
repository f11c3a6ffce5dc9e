//! Where to clip a density so that a uniform grid errs least.

use std::sync::OnceLock;

use super::{Density, DensityFamily};

/// The clipping threshold of ACIQ for `2^bits` levels over both sides, in units of the scale.
///
/// ```text
/// argmin_a  clip(a) + a^2 / (3 * 4^bits),   clip(a) = 2 int_a^inf (t - a)^2 f(t) dt
/// Laplace:  clip(a) = 2 e^-a
/// Gaussian: clip(a) = (1 + a^2) (1 - erf(a / sqrt 2)) - sqrt(2 / pi) a e^(-a^2 / 2)
/// ```
/// After a ReLU, where all levels lie on one side, it is the threshold of one bit more. `bits` counts from 1 to 9 and is
/// taken as the nearest of them.
///
/// # Source
/// Banner et al., Post Training 4-bit Quantization of Convolutional Networks for Rapid-Deployment, NeurIPS 2019, section 2.
pub fn aciq_clip(family: DensityFamily, bits: u8) -> f64 {
    let (unit, cells) = (family.unit(), cells(bits));
    bisect(0.0, 50.0, |clip| {
        let beyond = unit.tail_mean(clip) - clip * unit.tail(clip);
        2.0 * clip / (3.0 * cells) - 4.0 * beyond
    })
}

/// What ACIQ takes the mean squared error at a clipping threshold to be, in units of the squared scale.
///
/// It is optimistic at 2 and 3 bits: what is clipped counts by its distance from the threshold instead of the outermost level.
///
/// # Source
/// As [`aciq_clip`].
pub fn aciq_error(family: DensityFamily, bits: u8, clip: f64) -> f64 {
    clip_error(family.unit(), clip) + clip * clip / (3.0 * cells(bits))
}

/// `2 int_clip^inf (t - clip)^2 f(t) dt`.
pub(super) fn clip_error(unit: &dyn Density, clip: f64) -> f64 {
    2.0 * unit.error_over(clip, clip, f64::INFINITY)
}

/// Half the range of the best mid-rise grid: `2^bits` levels `(k + 1/2) step`, `k = -2^(bits-1) .. 2^(bits-1) - 1`, whose
/// half-range is `2^(bits-1) step`; in units of the scale. `bits` as in [`aciq_clip`].
///
/// # Source
/// Max, Quantizing for Minimum Distortion, 1960, section on equally spaced levels.
pub fn exact_clip(family: DensityFamily, bits: u8) -> f64 {
    static TABLE: Table = empty();
    let levels = Levels::mid_rise(bits);
    levels.step(family, bits, &TABLE) * f64::from(levels.count) / 2.0
}

/// The mean squared error of the grid of [`exact_clip`] at any half-range, in units of the squared scale.
pub fn mid_rise_error(family: DensityFamily, bits: u8, half_range: f64) -> f64 {
    let levels = Levels::mid_rise(bits);
    levels.error(family.unit(), 2.0 * half_range / f64::from(levels.count))
}

/// The step of the best integer grid: levels `k step`, `k = -2^(bits-1) .. 2^(bits-1) - 1`, zero among them; in units of the
/// scale. `bits` as in [`aciq_clip`].
pub fn integer_step(family: DensityFamily, bits: u8) -> f64 {
    static TABLE: Table = empty();
    Levels::integer(bits).step(family, bits, &TABLE)
}

/// The mean squared error of the grid of [`integer_step`] at any step, in units of the squared scale.
pub fn integer_error(family: DensityFamily, bits: u8, step: f64) -> f64 {
    Levels::integer(bits).error(family.unit(), step)
}

/// The step of the best grid for the upper half of the density, as after a ReLU: levels `k step`, `k = 0 .. 2^bits - 1`;
/// in units of the scale. `bits` as in [`aciq_clip`].
pub fn unsigned_step(family: DensityFamily, bits: u8) -> f64 {
    static TABLE: Table = empty();
    Levels::unsigned(bits).step(family, bits, &TABLE)
}

/// The mean squared error of the grid of [`unsigned_step`] at any step, over the values above zero, in units of the squared
/// scale.
pub fn unsigned_error(family: DensityFamily, bits: u8, step: f64) -> f64 {
    Levels::unsigned(bits).error(family.unit(), step)
}

const MOST_BITS: u8 = 9;

type Table = [[OnceLock<f64>; MOST_BITS as usize]; 2];

const fn empty() -> Table {
    [const { [const { OnceLock::new() }; MOST_BITS as usize] }; 2]
}

fn known(bits: u8) -> u8 {
    bits.clamp(1, MOST_BITS)
}

/// `4^bits`.
fn cells(bits: u8) -> f64 {
    4f64.powi(i32::from(known(bits)))
}

/// Levels `(first + k) step`, `k = 0 .. count - 1`.
struct Levels {
    first: f64,
    count: u32,
}

impl Levels {
    fn mid_rise(bits: u8) -> Self {
        let count = 1u32 << known(bits);
        Self { first: 0.5 - f64::from(count) / 2.0, count }
    }

    fn integer(bits: u8) -> Self {
        let count = 1u32 << known(bits);
        Self { first: -f64::from(count) / 2.0, count }
    }

    /// The levels mirrored at zero: the errors of both halves are equal, and so is their mean.
    fn unsigned(bits: u8) -> Self {
        let highest = (1u32 << known(bits)) - 1;
        Self { first: -f64::from(highest), count: 2 * highest + 1 }
    }

    /// Sums `term(place, level, from, to)` over the cells of the levels.
    fn sum(&self, step: f64, term: impl Fn(f64, f64, f64, f64) -> f64) -> f64 {
        let last = self.count - 1;
        let cell = |k: u32| {
            let place = self.first + f64::from(k);
            let from = if k == 0 { f64::NEG_INFINITY } else { (place - 0.5) * step };
            let to = if k == last { f64::INFINITY } else { (place + 0.5) * step };
            term(place, place * step, from, to)
        };
        (0..self.count).map(cell).sum()
    }

    fn error(&self, unit: &dyn Density, step: f64) -> f64 {
        self.sum(step, |_, level, from, to| unit.error_over(level, from, to))
    }

    /// The derivative of [`Self::error`] by the step: at the ends of a cell both neighbours err alike.
    fn slope(&self, unit: &dyn Density, step: f64) -> f64 {
        self.sum(step, |place, level, from, to| -2.0 * place * (unit.mean_over(from, to) - level * unit.mass(from, to)))
    }

    /// The step of the smallest error, sought from 0.4 to 3 times that of ACIQ's threshold (it is 0.98 to 1.7 times it).
    fn step(&self, family: DensityFamily, bits: u8, table: &Table) -> f64 {
        *table[family as usize][usize::from(known(bits)) - 1].get_or_init(|| {
            let guess = 2.0 * aciq_clip(family, bits) / f64::from(self.count);
            bisect(0.4 * guess, 3.0 * guess, |step| self.slope(family.unit(), step))
        })
    }
}

/// Where an increasing function passes zero.
fn bisect(mut low: f64, mut high: f64, increasing: impl Fn(f64) -> f64) -> f64 {
    while high - low > 1e-13 * high {
        let middle = low + (high - low) / 2.0;
        if increasing(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low + (high - low) / 2.0
}

/// Where a function of one minimum has it, up to `tolerance`.
///
/// # Source
/// Kiefer, Sequential Minimax Search for a Maximum, 1953.
pub(crate) fn golden_section(
    mut low: f64,
    mut high: f64,
    tolerance: f64,
    mut objective: impl FnMut(f64) -> f64,
) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (objective(left), objective(right));
    while high - low > tolerance {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = objective(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = objective(right);
        }
    }
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::DensityFamily::{Gaussian, Laplace};

    type Row = (u8, [f64; 2], [f64; 2], [Option<f64>; 2]);

    /// The closed forms, solved apart: bits, then for Laplace and for Gaussian ACIQ's threshold and error, and the exact
    /// half-range.
    const TABLE: [Row; 8] = [
        (1, [1.8628, 0.59964], [1.2399, 0.21501], [None, None]),
        (2, [2.8307, 0.28488], [1.7106, 0.08715], [Some(3.0756), Some(1.9914)]),
        (3, [3.8972, 0.11970], [2.1516, 0.03143], [Some(4.1348), Some(2.3441)]),
        (4, [5.0286, 0.04602], [2.5591, 0.01049], [Some(5.2156), Some(2.6816)]),
        (5, [6.2048, 0.01657], [2.9362, 0.00332], [Some(6.3354), Some(3.0102)]),
        (6, [7.4131, 0.00568], [3.2869, 0.00101], [Some(7.4979), Some(3.3300)]),
        (7, [8.6456, 0.00187], [3.6151, 0.00030], [Some(8.6979), Some(3.6395)]),
        (8, [9.8968, 0.00060], [3.9240, 0.00009], [Some(9.9279), Some(3.9376)]),
    ];

    #[test]
    fn the_table_of_the_closed_forms_is_reproduced() {
        for (bits, laplace, gaussian, exact) in TABLE {
            for (family, [clip, error], exact) in [(Laplace, laplace, exact[0]), (Gaussian, gaussian, exact[1])] {
                let found = aciq_clip(family, bits);
                assert!((found - clip).abs() < 0.6e-4, "{family:?} {bits}: {found}, in the table {clip}");
                let found = aciq_error(family, bits, found);
                assert!((found - error).abs() < 0.6e-5, "{family:?} {bits}: {found}, in the table {error}");
                if let Some(half_range) = exact {
                    let found = exact_clip(family, bits);
                    assert!(
                        (found - half_range).abs() < 0.6e-4,
                        "{family:?} {bits}: {found}, in the table {half_range}"
                    );
                }
            }
        }
    }

    #[test]
    fn closed_forms_of_the_clipping_error() {
        for clip in [0.5f64, 1.7, 4.0] {
            assert!((clip_error(Laplace.unit(), clip) - 2.0 * (-clip).exp()).abs() < 1e-14);
        }
        // scipy: (1 + a^2) erfc(a / sqrt 2) - sqrt(2 / pi) a exp(-a^2 / 2) at a = 1.7.
        assert!((clip_error(Gaussian.unit(), 1.7) - 0.026_952_437_180_049_36).abs() < 1e-10);
    }

    #[test]
    fn the_integer_grids_are_those_of_methods_md() {
        let gaussian = [1.0484, 0.6018, 0.3386, 0.1888, 0.1042, 0.0569, 0.0308];
        let laplace = [1.7170, 1.0783, 0.6614, 0.3978, 0.2346, 0.1360, 0.0776];
        for (family, steps) in [(Gaussian, gaussian), (Laplace, laplace)] {
            for (bits, step) in (2..).zip(steps) {
                let found = integer_step(family, bits);
                assert!((found - step).abs() < 0.6e-4, "{family:?} {bits}: {found}, in the text {step}");
            }
        }
    }

    #[test]
    fn errors_are_those_of_the_signal_to_noise_ratios_of_methods_md() {
        let gaussian = [9.25, 14.27, 19.38];
        let laplace = [7.07, 11.44, 15.96];
        for (family, variance, ratios) in [(Gaussian, 1.0, gaussian), (Laplace, 2.0, laplace)] {
            for (bits, ratio) in (2..).zip(ratios) {
                let error = mid_rise_error(family, bits, exact_clip(family, bits));
                assert!((10.0 * f64::log10(variance / error) - ratio).abs() < 0.006, "{family:?} {bits}: {error}");
            }
        }
    }

    #[test]
    fn grids_of_one_side_are_those_of_a_computation_in_numpy() {
        // brentq on the derivative of the error, erfc and exp of scipy.
        for (family, bits, step, error) in [
            (Gaussian, 2, 0.650_770, 0.046_859_97),
            (Gaussian, 4, 0.193_249, 0.003_693_22),
            (Gaussian, 8, 0.016_528, 0.000_025_01),
            (Laplace, 2, 1.162_134, 0.166_173_04),
            (Laplace, 4, 0.406_536, 0.018_170_26),
            (Laplace, 8, 0.043_747, 0.000_188_07),
        ] {
            let found = unsigned_step(family, bits);
            assert!((found - step).abs() < 1e-6, "{family:?} {bits}: {found}");
            assert!((unsigned_error(family, bits, found) - error).abs() < 1e-8, "{family:?} {bits}");
        }
        assert!((integer_error(Gaussian, 4, integer_step(Gaussian, 4)) - 0.011_864_04).abs() < 1e-8);
        assert!((integer_error(Laplace, 3, integer_step(Laplace, 3)) - 0.143_989_12).abs() < 1e-8);
    }

    #[test]
    fn every_optimum_errs_less_than_its_neighbours() {
        for family in DensityFamily::ALL {
            for bits in 1..=8 {
                for factor in [0.97, 1.03] {
                    let clip = exact_clip(family, bits);
                    assert!(mid_rise_error(family, bits, clip) < mid_rise_error(family, bits, clip * factor));
                    let step = integer_step(family, bits);
                    assert!(integer_error(family, bits, step) < integer_error(family, bits, step * factor));
                    let step = unsigned_step(family, bits);
                    assert!(unsigned_error(family, bits, step) < unsigned_error(family, bits, step * factor));
                    let clip = aciq_clip(family, bits);
                    assert!(aciq_error(family, bits, clip) < aciq_error(family, bits, clip * factor));
                }
            }
        }
    }

    #[test]
    fn the_golden_section_finds_a_minimum() {
        let found = golden_section(-3.0, 9.0, 1e-6, |x| (x - 1.25).powi(2));
        assert!((found - 1.25).abs() < 1e-6);
        assert!((golden_section(2.0, 3.0, 1e-6, |x| x) - 2.0).abs() < 1e-6);
    }
}
