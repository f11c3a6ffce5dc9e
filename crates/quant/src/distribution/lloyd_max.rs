//! Levels for a density that err least.

use std::sync::OnceLock;

use super::DensityFamily;
use super::clipping::{clip_error, golden_section};

/// A codebook of `2^bits` levels for a unit density between `-clip` and `clip`, symmetric, a threshold midway between levels.
///
/// ```text
/// thresholds  t_0 = 0,  t_i = (y_(i-1) + y_i) / 2,  t_n = clip;   n = 2^(bits-1) levels above zero, mirrored below
/// Lloyd step  y_i <- int t f(t) dt / int f(t) dt  over (t_i, t_(i+1))
/// Gaussian    (phi(a) - phi(b)) / (Q(a) - Q(b))
/// Laplace     ((a + 1) e^-a - (b + 1) e^-b) / (e^-a - e^-b)
/// ```
/// A step never increases the error. Both densities are log-concave, so that its only fixed point is the optimum (Trushkin
/// 1982), and symmetric.
///
/// # Source
/// Lloyd, Least Squares Quantization in PCM, 1957/1982, method I; Max, Quantizing for Minimum Distortion, 1960.
///
/// # Differences from the source
/// [`Self::solve`] takes Newton's step towards the same fixed point where that lowers the error further than it was: Lloyd's
/// own steps need some 10^5 repetitions at 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitCodebook {
    family: DensityFamily,
    clip: f64,
    upper: Vec<f64>,
}

const MOST_BITS: u8 = 8;

/// Relative error of [`UnitCodebook::error`], which sums differences that are small against their terms.
const ROUNDING: f64 = 1e-8;

impl UnitCodebook {
    /// The levels that are best where they are many: quantiles of the cube root of the density. `bits` counts from 1 to 8 and
    /// is taken as the nearest of them; `clip` is above 0 and may be infinite.
    pub fn start(family: DensityFamily, bits: u8, clip: f64) -> Self {
        let count = 1usize << (known(bits) - 1);
        let share = |index: usize| (index as f64 + 0.5) / count as f64;
        let upper = (0..count).map(|index| family.unit().companding(share(index), clip)).collect();
        Self { family, clip, upper }
    }

    /// The optimum of the whole density.
    pub fn optimum(family: DensityFamily, bits: u8) -> &'static Self {
        static TABLE: Table<UnitCodebook> = empty();
        cached(&TABLE, family, bits, || Self::start(family, bits, f64::INFINITY).solve())
    }

    /// The optimum within the clipping threshold that minimises, over `clip`,
    ///
    /// ```text
    /// 2 int_clip^inf (t - clip)^2 f(t) dt + error of the optimum within clip
    /// ```
    /// As in ACIQ what is clipped counts by its distance from the threshold, not from the outermost level, without which no
    /// finite threshold would be best. The price: at 2 to 4 bits its error over the whole density is 10 to 20 % above that of
    /// [`Self::optimum`].
    pub fn clipped(family: DensityFamily, bits: u8) -> &'static Self {
        static TABLE: Table<UnitCodebook> = empty();
        cached(&TABLE, family, bits, || {
            let outermost = Self::optimum(family, bits).outermost();
            let within = |clip: f64| Self::start(family, bits, clip).solve();
            let clip = golden_section(0.5 * outermost, outermost + 3.0, 1e-7, |clip| {
                within(clip).error() + clip_error(family.unit(), clip)
            });
            within(clip)
        })
    }

    /// Optima within thresholds from 0.2 to 3 times the outermost level of [`Self::optimum`], ascending, each a tenth above the
    /// one before; the last is [`Self::optimum`] itself.
    pub(crate) fn ladder(family: DensityFamily, bits: u8) -> &'static [Self] {
        static TABLE: Table<Vec<UnitCodebook>> = empty();
        let ladder: &'static Vec<Self> = cached(&TABLE, family, bits, || {
            let whole = Self::optimum(family, bits);
            let clips = (0..29).map(|rung| 0.2 * 1.1f64.powi(rung) * whole.outermost());
            let within = clips.map(|clip| Self::start(family, bits, clip).solve());
            within.chain(std::iter::once(whole.clone())).collect()
        });
        ladder
    }

    /// The clipping threshold, in units of the scale; infinite for that of the whole density.
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// All levels, ascending, in units of the scale.
    pub fn levels(&self) -> Vec<f64> {
        self.upper.iter().rev().map(|level| -level).chain(self.upper.iter().copied()).collect()
    }

    /// The mean squared error within the clipping threshold, in units of the squared scale.
    pub fn error(&self) -> f64 {
        self.error_within(self.clip)
    }

    /// The mean squared error over the whole density, in units of the squared scale.
    pub fn total_error(&self) -> f64 {
        self.error_within(f64::INFINITY)
    }

    /// After one step of Lloyd's iteration.
    pub fn step(&self) -> Self {
        let cells = self.cells();
        let upper = cells.iter().map(|cell| cell.centroid).collect();
        Self { upper, ..self.clone() }
    }

    /// The fixed point of [`Self::step`], to `1e-9`.
    pub fn solve(self) -> Self {
        let mut error = self.error();
        let mut book = self;
        for _ in 0..200 {
            let newton = book.newton().map(|next| (next.error(), next));
            let (next_error, next) = match newton.filter(|(next_error, _)| *next_error <= error * (1.0 + ROUNDING)) {
                Some(next) => next,
                None => {
                    let next = book.step();
                    (next.error(), next)
                }
            };
            let moved = book.upper.iter().zip(&next.upper).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
            (book, error) = (next, next_error);
            if moved < 1e-9 {
                break;
            }
        }
        book
    }

    fn outermost(&self) -> f64 {
        self.upper.last().copied().unwrap_or(0.0)
    }

    fn error_within(&self, limit: f64) -> f64 {
        let unit = self.family.unit();
        let bounds = self.bounds(limit);
        let cells = self.upper.iter().zip(bounds.windows(2));
        2.0 * cells.map(|(level, ends)| unit.error_over(*level, ends[0], ends[1])).sum::<f64>()
    }

    fn bounds(&self, limit: f64) -> Vec<f64> {
        let between = self.upper.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        std::iter::once(0.0).chain(between).chain(std::iter::once(limit)).collect()
    }

    fn cells(&self) -> Vec<Cell> {
        let unit = self.family.unit();
        let bounds = self.bounds(self.clip);
        let last = self.upper.len() - 1;
        let cell = |(index, (level, ends)): (usize, (&f64, &[f64]))| {
            let (from, to) = (ends[0], ends[1]);
            let mass = unit.mass(from, to);
            if mass <= 0.0 {
                return Cell { centroid: *level, by_lower: 0.0, by_upper: 0.0 };
            }
            let centroid = unit.mean_over(from, to) / mass;
            let by_lower = if index == 0 { 0.0 } else { unit.density(from) * (centroid - from) / (2.0 * mass) };
            let by_upper = if index == last { 0.0 } else { unit.density(to) * (to - centroid) / (2.0 * mass) };
            Cell { centroid, by_lower, by_upper }
        };
        self.upper.iter().zip(bounds.windows(2)).enumerate().map(cell).collect()
    }

    /// After one step of Newton's iteration on `centroids - levels = 0`, whose Jacobian is tridiagonal; none where that is no
    /// codebook.
    fn newton(&self) -> Option<Self> {
        let mut eliminated: Vec<(f64, f64)> = Vec::with_capacity(self.upper.len());
        for (cell, level) in self.cells().iter().zip(&self.upper) {
            let (above, right) = eliminated.last().copied().unwrap_or((0.0, 0.0));
            let pivot = 1.0 - cell.by_lower - cell.by_upper + cell.by_lower * above;
            if pivot <= 0.0 {
                return None;
            }
            eliminated.push((-cell.by_upper / pivot, (cell.centroid - level + cell.by_lower * right) / pivot));
        }
        let mut upper = self.upper.clone();
        let mut change = 0.0;
        for (level, (above, right)) in upper.iter_mut().zip(&eliminated).rev() {
            change = right - above * change;
            *level += change;
        }
        let is_within = upper.iter().all(|level| *level > 0.0 && level.is_finite() && *level < self.clip);
        (is_within && upper.is_sorted_by(|a, b| a < b)).then(|| Self { upper, ..self.clone() })
    }
}

/// Where the centroid of a level's cell is, and how it moves with the level below and the level above.
struct Cell {
    centroid: f64,
    by_lower: f64,
    by_upper: f64,
}

type Table<T> = [[OnceLock<T>; MOST_BITS as usize]; 2];

const fn empty<T>() -> Table<T> {
    [const { [const { OnceLock::new() }; MOST_BITS as usize] }; 2]
}

fn known(bits: u8) -> u8 {
    bits.clamp(1, MOST_BITS)
}

fn cached<T>(table: &'static Table<T>, family: DensityFamily, bits: u8, make: impl FnOnce() -> T) -> &'static T {
    table[family as usize][usize::from(known(bits)) - 1].get_or_init(make)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::DensityFamily::{Gaussian, Laplace};
    use crate::distribution::mid_rise_error;

    #[test]
    fn levels_and_errors_are_those_of_methods_md() {
        let table: [(DensityFamily, u8, &[f64], f64, f64); 6] = [
            (Gaussian, 2, &[0.4528, 1.5104], 0.117_482, 9.30),
            (Gaussian, 3, &[0.2451, 0.7560, 1.3439, 2.1519], 0.034_548, 14.62),
            (Gaussian, 4, &[0.1284, 0.3880, 0.6568, 0.9423, 1.2562, 1.6180, 2.0690, 2.7326], 0.009_501, 20.22),
            (Laplace, 2, &[0.5936, 2.5936], 0.352_390, 7.54),
            (Laplace, 3, &[0.3301, 1.1780, 2.3652, 4.3652], 0.108_952, 12.64),
            (Laplace, 4, &[0.1753, 0.5725, 1.0305, 1.5712, 2.2313, 3.0792, 4.2665, 6.2665], 0.030_745, 18.13),
        ];
        for (family, bits, levels, error, ratio) in table {
            let book = UnitCodebook::optimum(family, bits);
            assert_eq!(book.upper.len(), levels.len());
            for (found, expected) in book.upper.iter().zip(levels) {
                assert!((found - expected).abs() < 0.6e-4, "{family:?} {bits}: {found}, in the table {expected}");
            }
            assert!((book.error() - error).abs() < 0.6e-6, "{family:?} {bits}: {}", book.error());
            let variance = family.unit().square_over(f64::NEG_INFINITY, f64::INFINITY);
            assert!((10.0 * (variance / book.error()).log10() - ratio).abs() < 0.006, "{family:?} {bits}");
        }
    }

    #[test]
    fn up_to_eight_bits_they_are_those_of_a_computation_in_numpy() {
        // Newton's iteration with a full matrix, to 1e-12: bits, error, outermost level.
        for (family, bits, error, outermost) in [
            (Gaussian, 1, 0.363_380_227_632_418_6, 0.797_884_560_8),
            (Gaussian, 6, 0.000_644_239_665_317_3, 3.744_101_270_9),
            (Gaussian, 8, 0.000_041_185_082_867_1, 4.603_535_612_4),
            (Laplace, 1, 1.0, 1.0),
            (Laplace, 6, 0.002_121_904_576_473_5, 10.277_876_982_0),
            (Laplace, 8, 0.000_136_123_479_365_3, 14.397_725_649_6),
        ] {
            let book = UnitCodebook::optimum(family, bits);
            assert!((book.error() / error - 1.0).abs() < 1e-6, "{family:?} {bits}: {}", book.error());
            assert!((book.outermost() - outermost).abs() < 1e-5, "{family:?} {bits}: {}", book.outermost());
            let levels = book.levels();
            assert_eq!(levels.len(), 1 << bits);
            assert!(levels.is_sorted_by(|a, b| a < b));
            assert!(levels.iter().zip(levels.iter().rev()).all(|(a, b)| *a == -b));
        }
    }

    #[test]
    fn the_error_never_rises_and_reaches_the_closed_form() {
        for family in DensityFamily::ALL {
            for clip in [f64::INFINITY, 3.0] {
                let optimum = UnitCodebook::start(family, 3, clip).solve();
                let equally_spaced = (0..4).map(|index| 0.1 + 0.2 * f64::from(index)).collect();
                let mut book = UnitCodebook { family, clip, upper: equally_spaced };
                let first = book.error();
                for _ in 0..1500 {
                    let next = book.step();
                    assert!(next.error() <= book.error() + 1e-14, "{family:?} {clip}");
                    book = next;
                }
                assert!(first > 2.0 * optimum.error(), "{family:?} {clip}");
                assert!((book.error() / optimum.error() - 1.0).abs() < 1e-9, "{family:?} {clip}");
                for (found, expected) in book.upper.iter().zip(&optimum.upper) {
                    assert!((found - expected).abs() < 1e-6, "{family:?} {clip}");
                }
            }
        }
    }

    #[test]
    fn every_solution_is_a_fixed_point_of_lloyds_step() {
        for family in DensityFamily::ALL {
            for bits in 1..=8 {
                let outermost = UnitCodebook::optimum(family, bits).outermost();
                for clip in [0.2 * outermost, outermost, 2.0 * outermost, f64::INFINITY] {
                    let book = UnitCodebook::start(family, bits, clip).solve();
                    let next = book.step();
                    let moved = book.upper.iter().zip(&next.upper).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(moved < 1e-9, "{family:?} {bits} {clip}: {moved}");
                    assert!(book.outermost() < clip);
                }
            }
        }
    }

    #[test]
    fn analytic_thresholds_are_those_of_a_search_in_scipy() {
        // scipy.optimize.minimize_scalar on the same sum: threshold, sum, error over the whole density.
        for (family, bits, clip, sum, total) in [
            (Gaussian, 2, 1.777_401, 0.076_472_087_6, 0.140_861_802),
            (Gaussian, 4, 2.810_700, 0.008_327_042_19, 0.010_556_051_6),
            (Laplace, 2, 3.318_703, 0.230_835_419, 0.405_623_204),
            (Laplace, 4, 6.551_320, 0.026_914_993_3, 0.033_811_091_6),
        ] {
            let book = UnitCodebook::clipped(family, bits);
            assert!((book.clip() - clip).abs() < 1e-4, "{family:?} {bits}: {}", book.clip());
            let found = book.error() + clip_error(family.unit(), book.clip());
            assert!((found / sum - 1.0).abs() < 1e-6, "{family:?} {bits}: {found}");
            assert!((book.total_error() / total - 1.0).abs() < 1e-4, "{family:?} {bits}: {}", book.total_error());
            assert!(book.total_error() > UnitCodebook::optimum(family, bits).error());
        }
        // Where the derivative is zero, 2 int_clip (t - clip) f = f(clip) (clip - outermost level)^2: of Laplace, the square is 2.
        for bits in 2..=8 {
            let book = UnitCodebook::clipped(Laplace, bits);
            assert!((book.clip() - book.outermost() - 2f64.sqrt()).abs() < 1e-2, "{bits}: {}", book.clip());
        }
    }

    #[test]
    fn no_uniform_grid_errs_less() {
        for family in DensityFamily::ALL {
            for bits in 1..=8 {
                let uniform = mid_rise_error(family, bits, crate::distribution::exact_clip(family, bits));
                assert!(UnitCodebook::optimum(family, bits).error() <= uniform * (1.0 + 1e-9), "{family:?} {bits}");
            }
        }
    }

    #[test]
    fn the_ladder_ascends_to_the_whole_density() {
        let ladder = UnitCodebook::ladder(Gaussian, 4);
        assert!(ladder.is_sorted_by(|a, b| a.clip < b.clip));
        assert!(ladder.is_sorted_by(|a, b| a.outermost() < b.outermost()));
        assert_eq!(ladder.last(), Some(UnitCodebook::optimum(Gaussian, 4)));
    }
}
