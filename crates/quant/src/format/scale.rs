//! The scale of a fixed set of levels.

use serde::{Deserialize, Serialize};

use super::sorted::Sorted;
use super::tables::mirrored;

/// How a fixed set of levels is scaled to a group of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleRule {
    /// The largest level meets the largest magnitude: nothing is clipped.
    Max,
    /// The scale of least squared error that a search finds.
    ///
    /// ```text
    /// s_i = 2^(1 - i / 32) * max |x| / max u,  i = 0 .. 224;   from the best 8 of them:
    /// s <- sum x u(x / s) / sum u(x / s)^2   while the error falls,   u(.): the nearest level
    /// ```
    /// The error is never above that of [`Self::Max`], which is one of the candidates.
    Mse,
}

impl ScaleRule {
    /// The levels `centre -+ scale * unit`, the scale rounded to `f32`.
    ///
    /// # Range
    /// Units ascending from zero, at least one above it.
    pub(super) fn table(self, values: &[f32], centre: f64, units: &[f64]) -> Vec<f32> {
        let scale = self.scale(&Sorted::magnitudes(values, centre), units);
        let scale = f64::from(scale.min(f64::from(f32::MAX)) as f32);
        mirrored(units.iter().map(|unit| unit * scale), centre)
    }

    fn scale(self, sorted: &Sorted, units: &[f64]) -> f64 {
        let full = sorted.largest() / units.iter().copied().fold(0.0, f64::max);
        match self {
            Self::Mse if full > 0.0 => search(sorted, units, full),
            _ => full,
        }
    }
}

fn search(sorted: &Sorted, units: &[f64], full: f64) -> f64 {
    const PER_OCTAVE: u32 = 32;
    const OCTAVES: u32 = 7;
    const STARTS: usize = 8;
    let mut tried: Vec<(f64, f64)> = (0..=PER_OCTAVE * OCTAVES)
        .map(|place| {
            let scale = full * 2f64.powf(1.0 - f64::from(place) / f64::from(PER_OCTAVE));
            (sorted.error(units, scale), scale)
        })
        .collect();
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    tried.truncate(STARTS);
    let ends = tried.into_iter().map(|start| descend(sorted, units, start));
    ends.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(full, |(_, scale)| scale)
}

/// Alternates nearest levels and best scale until the error falls no more.
fn descend(sorted: &Sorted, units: &[f64], (mut error, mut scale): (f64, f64)) -> (f64, f64) {
    const MOST_ROUNDS: usize = 100;
    for _ in 0..MOST_ROUNDS {
        let Some(next) = sorted.refit(units, scale) else { break };
        let lower = sorted.error(units, next);
        if lower >= error {
            break;
        }
        (error, scale) = (lower, next);
    }
    (error, scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{laplace, normal};

    const UNITS: [&[f64]; 3] = [&[0.0, 0.25, 0.5, 1.0], &[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], &[0.0, 1.0]];

    #[test]
    fn the_search_is_as_good_as_ten_thousand_scales() {
        for values in [normal(600), laplace(600)] {
            let sorted = Sorted::magnitudes(&values, 0.0);
            for units in UNITS {
                let full = sorted.largest() / units[units.len() - 1];
                let found = sorted.error(units, ScaleRule::Mse.scale(&sorted, units));
                let least = (1..=10_000)
                    .map(|place| sorted.error(units, full * f64::from(place) / 5_000.0))
                    .fold(f64::INFINITY, f64::min);
                assert!(found <= least * 1.01, "{units:?}: {found} {least}");
                assert!(found <= sorted.error(units, full), "{units:?}");
            }
        }
    }

    #[test]
    fn the_largest_level_meets_the_largest_magnitude() {
        assert_eq!(ScaleRule::Max.table(&[0.5, -3.0], 0.0, &[0.0, 1.0, 6.0]), [0.0, 0.0, -0.5, 0.5, -3.0, 3.0]);
        for rule in [ScaleRule::Max, ScaleRule::Mse] {
            assert!(rule.table(&[0.0; 4], 0.0, &[0.0, 1.0]).iter().all(|&level| level == 0.0));
        }
    }
}
