//! The distribution-aware scheme: the family by its Kolmogorov-Smirnov distance, the clip, then the levels.

use std::ops::RangeInclusive;

use blindfold_zoo::{Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::{checked_width, codebook};
use crate::codec::Codec;
use crate::distribution::{DensityFamily, Empirical, Fitted, KolmogorovSmirnov, UnitCodebook, golden_section};
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`Ks`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KsConfig {
    /// Which values the family is decided on.
    pub decide: KsDecision,
    /// How the clipping threshold is found.
    pub clip: KsClip,
    /// Steps of Lloyd's iteration on the values themselves afterwards; it ends before that where nothing improves.
    pub refine: usize,
}

impl Default for KsConfig {
    fn default() -> Self {
        Self { decide: KsDecision::Group, clip: KsClip::Measured, refine: 0 }
    }
}

/// Which values decide on the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KsDecision {
    /// Each group for itself.
    Group,
    /// All values of the layer together, for all of its groups.
    Layer,
}

/// How the clipping threshold is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KsClip {
    /// The smallest mean squared error on the group's values.
    Measured,
    /// The smallest sum of clipping error and error within the threshold under the density; the same for all groups of a family.
    Analytic,
    /// No threshold.
    Off,
}

/// Kolmogorov-Smirnov distance, clipping threshold, Lloyd-Max levels.
///
/// ```text
/// family  = that of the smaller D = sup |F_n - F|, F the most likely Gaussian or Laplace density
/// y(c)    = Lloyd-Max levels of the unit density between -c and c          (UnitCodebook)
/// measured:  argmin_c (1/n) sum (x - x^)^2            bracketed by a ladder of thresholds, then golden section
/// analytic:  argmin_c 2 int_c (t - c)^2 f dt + error of y(c) within c      golden section
/// level_i = location + scale * y_i;   then `refine` times: level_i <- mean of the values nearest to it
/// ```
/// Measured, the error is never above that of the threshold at infinity (`lloyd-max`); each step of refining lowers it.
///
/// # Range
/// A group of equal values has that value as its only level.
///
/// # Source
/// Luqman, Qazi and Khan, Post-Training Non-Uniform Quantization for Convolutional Neural Networks, arXiv 2412.07391, 2024.
///
/// # Differences from the source
/// Only its abstract could be read (clipping thresholds and levels that minimise the quantization noise, without data): the
/// steps are a reconstruction. `measured` is ours: under the density alone the sum of `analytic` chooses thresholds whose
/// error is 10 to 20 % above that of no threshold at 2 to 4 bits, because what is clipped counts by its distance from the
/// threshold and not from the outermost level.
#[derive(Debug, Clone)]
pub struct Ks {
    config: KsConfig,
}

const WIDTHS: RangeInclusive<u8> = 2..=8;

/// What the scheme found for one group of values.
#[derive(Debug, Clone, PartialEq)]
pub struct KsCodebook {
    /// Distances to both families; none for equal values.
    pub test: Option<KolmogorovSmirnov>,
    /// The density; none for equal values.
    pub fitted: Option<Fitted>,
    /// The clipping threshold: distance from the location beyond which the levels do not reach, in units of the values;
    /// infinite without one.
    pub clip: f64,
    /// The levels, ascending, in units of the values.
    pub levels: Vec<f32>,
}

impl Ks {
    /// The format of a table.
    pub fn new(config: KsConfig) -> Self {
        Self { config }
    }

    /// Its table, as TOML on one line.
    pub(crate) fn options(&self) -> String {
        let table = toml::Table::try_from(&self.config).unwrap_or_default();
        table.iter().map(|(key, value)| format!("`{key} = {value}`")).collect::<Vec<String>>().join(", ")
    }

    /// The codebook of one group of finite values, of the given family or of that which is closer. `bits` counts from 1 to 8.
    pub fn codebook(&self, values: &[f32], family: Option<DensityFamily>, bits: u8) -> KsCodebook {
        let mut ascending = values.to_vec();
        ascending.par_sort_unstable_by(f32::total_cmp);
        let test = KolmogorovSmirnov::of_ascending(&ascending);
        let fitted = match family {
            Some(family) => family.fit(&ascending),
            None => test.map(|test| *test.fitted()),
        };
        let Some(fitted) = fitted else {
            let levels = ascending.first().copied().into_iter().collect();
            return KsCodebook { test, fitted, clip: f64::INFINITY, levels };
        };
        let sample = Empirical::of_ascending(&ascending, &fitted);
        let book = match self.config.clip {
            KsClip::Measured => measured(&sample, fitted.family, bits),
            KsClip::Analytic => UnitCodebook::clipped(fitted.family, bits).clone(),
            KsClip::Off => UnitCodebook::optimum(fitted.family, bits).clone(),
        };
        let unit = refined(&sample, book.levels(), self.config.refine);
        let levels = fitted.levels(&unit);
        KsCodebook { test, fitted: Some(fitted), clip: book.clip() * fitted.scale, levels }
    }

    /// Location, scale and threshold of each group, and a bit that names the family.
    fn constants(&self, groups: usize) -> usize {
        let families = match self.config.decide {
            KsDecision::Group => groups.div_ceil(32),
            KsDecision::Layer => 1,
        };
        let of_group = if self.config.clip == KsClip::Measured { 3 } else { 2 };
        of_group * groups + families
    }
}

/// The codebook whose threshold errs least on the sample.
fn measured(sample: &Empirical, family: DensityFamily, bits: u8) -> UnitCodebook {
    let ladder = UnitCodebook::ladder(family, bits);
    let errors: Vec<f64> = ladder.iter().map(|book| sample.error(&book.levels())).collect();
    let best =
        errors.iter().enumerate().fold(0, |best, (index, error)| if *error < errors[best] { index } else { best });
    let ends = [best.saturating_sub(1), (best + 1).min(ladder.len() - 1)].map(|index| ladder[index].clip());
    if ends[1].is_infinite() {
        return ladder[best].clone();
    }
    let within = |clip: f64| UnitCodebook::start(family, bits, clip).solve();
    let clip = golden_section(ends[0], ends[1], 0.01 * ends[0], |clip| sample.error(&within(clip).levels()));
    let found = within(clip);
    if sample.error(&found.levels()) < errors[best] { found } else { ladder[best].clone() }
}

/// The levels after at most `steps` steps of Lloyd's iteration on the sample.
fn refined(sample: &Empirical, mut levels: Vec<f64>, steps: usize) -> Vec<f64> {
    let mut error = sample.error(&levels);
    for _ in 0..steps {
        let next = sample.centroids(&levels);
        let next_error = sample.error(&next);
        if next_error >= error {
            break;
        }
        (levels, error) = (next, next_error);
    }
    levels
}

impl NumberFormat for Ks {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let bits = checked_width(&WIDTHS, bits)?;
        let family = match self.config.decide {
            KsDecision::Group => None,
            KsDecision::Layer => KolmogorovSmirnov::of(samples.values()).map(|test| test.family()),
        };
        let book = codebook(samples, bits, axis, |values| self.codebook(values, family, bits).levels)?;
        let is_formula = self.config.refine == 0;
        Ok(if is_formula { book.with_constants(self.constants(samples.groups())).into() } else { book.into() })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "ks",
    summary: "Gaussian or Laplace by the Kolmogorov-Smirnov distance, the best clip, Lloyd-Max levels within it",
    source: "Luqman, Qazi and Khan, Post-Training Non-Uniform Quantization, arXiv 2412.07391, 2024",
    defaults: defaults_of::<KsConfig>,
    build: |table| Ok(Box::new(Ks::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::draw;
    use crate::format::testing::{fitted, mean_square};
    use crate::format::{LloydMax, LloydMaxConfig};

    fn ks(clip: KsClip, refine: usize) -> Ks {
        Ks::new(KsConfig { clip, refine, ..KsConfig::default() })
    }

    fn error(format: &dyn NumberFormat, values: &[f32], bits: u8) -> f64 {
        mean_square(&fitted(format, values, bits), values)
    }

    /// Values of both families in several numbers, and uniform ones.
    fn cases() -> Vec<Vec<f32>> {
        let mut cases: Vec<Vec<f32>> = DensityFamily::ALL
            .iter()
            .flat_map(|&family| [30, 576, 20_000].map(|count| draw(family, count, 7)))
            .map(|values| values.iter().map(|x| 0.07 * x + 0.02).collect())
            .collect();
        cases.push((0..500).map(|index| index as f32 / 500.0).collect());
        cases
    }

    #[test]
    fn a_measured_threshold_is_never_worse_than_none() {
        let without = LloydMax::new(LloydMaxConfig::default());
        for values in cases() {
            for bits in [2, 3, 4, 6, 8] {
                let (with, none) = (error(&ks(KsClip::Measured, 0), &values, bits), error(&without, &values, bits));
                assert!(with <= none * (1.0 + 1e-4), "{} values, {bits} bits: {with} {none}", values.len());
                assert_eq!(error(&ks(KsClip::Off, 0), &values, bits), none);
            }
        }
    }

    #[test]
    fn the_measured_threshold_is_that_of_a_full_search() {
        for family in DensityFamily::ALL {
            let mut values = draw(family, 2304, 11);
            values.sort_by(f32::total_cmp);
            let fitted = family.fit(&values).unwrap();
            let sample = Empirical::of_ascending(&values, &fitted);
            for bits in [2, 3, 4] {
                let outermost = UnitCodebook::optimum(family, bits).levels().pop().unwrap();
                let clips = (20..300).map(|percent| f64::from(percent) / 100.0 * outermost);
                let best = clips
                    .map(|clip| sample.error(&UnitCodebook::start(family, bits, clip).solve().levels()))
                    .fold(f64::INFINITY, f64::min);
                let found = sample.error(&measured(&sample, family, bits).levels());
                assert!(found <= best * 1.01, "{family:?} {bits}: {found}, {best}");
            }
        }
    }

    #[test]
    fn refining_lowers_the_error_step_by_step() {
        for values in cases() {
            for clip in [KsClip::Measured, KsClip::Analytic, KsClip::Off] {
                let errors = [0, 1, 2, 3, 10, 300].map(|refine| error(&ks(clip, refine), &values, 4));
                for pair in errors.windows(2) {
                    assert!(pair[1] <= pair[0] * (1.0 + 1e-4) + 1e-20, "{clip:?} {errors:?}");
                }
                assert!(errors[5] < errors[0], "{clip:?} {errors:?}");
            }
        }
    }

    #[test]
    fn analytic_levels_are_those_of_the_density() {
        // scipy: optimum of the sum, 2 bits, Gaussian: outermost level 1.1711, inner level 0.3657.
        let values: Vec<f32> = draw(DensityFamily::Gaussian, 100_000, 3).iter().map(|x| 2.0 * x - 1.0).collect();
        let found = ks(KsClip::Analytic, 0).codebook(&values, None, 2);
        for (level, expected) in found.levels.iter().zip([-1.171_132_89, -0.365_698_07, 0.365_698_07, 1.171_132_89]) {
            assert!((f64::from(*level) - (2.0 * expected - 1.0)).abs() < 0.04, "{:?}", found.levels);
        }
        assert!((found.clip / 2.0 - 1.7774).abs() < 0.02, "{}", found.clip);
        assert_eq!(found.fitted.unwrap().family, DensityFamily::Gaussian);
    }

    #[test]
    fn the_layer_decides_for_its_groups_when_asked() {
        let mut values = draw(DensityFamily::Laplace, 6000, 1);
        values.extend(draw(DensityFamily::Gaussian, 2000, 2));
        let samples = Samples::new(values.clone(), 4).unwrap();
        let levels = |decide| {
            let format = Ks::new(KsConfig { decide, clip: KsClip::Off, refine: 0 });
            let Codec::Codebook(book) = format.fit(&samples, 2, Some(0)).unwrap() else {
                panic!("a table of levels is expected")
            };
            (book.table(3).to_vec(), book.constants())
        };
        let of = |family: DensityFamily| {
            family.fit(&values[6000..]).unwrap().levels(&UnitCodebook::optimum(family, 2).levels())
        };
        assert_eq!(levels(KsDecision::Group), (of(DensityFamily::Gaussian), 9));
        assert_eq!(levels(KsDecision::Layer), (of(DensityFamily::Laplace), 9));
    }

    #[test]
    fn degenerate_groups_keep_their_values() {
        for clip in [KsClip::Measured, KsClip::Analytic, KsClip::Off] {
            for refine in [0, 3] {
                for decide in [KsDecision::Group, KsDecision::Layer] {
                    let format = Ks::new(KsConfig { decide, clip, refine });
                    let values = vec![0.1, 0.1, 0.1, -7.0, -7.0, -7.0, 0.0, 0.0, 0.0];
                    let samples = Samples::new(values.clone(), 3).unwrap();
                    let codec = format.fit(&samples, 4, Some(0)).unwrap();
                    assert_eq!(codec.fake_quantize_values(&values, [3, 3, 1, 1]).unwrap(), values);
                    let all_equal = Samples::new(vec![3.5; 6], 2).unwrap();
                    let codec = format.fit(&all_equal, 2, Some(0)).unwrap();
                    assert_eq!(codec.fake_quantize_values(&[3.5; 6], [2, 3, 1, 1]).unwrap(), [3.5; 6]);
                    let single = format.fit(&Samples::new(vec![-2.0], 1).unwrap(), 8, None).unwrap();
                    assert_eq!(single.fake_quantize_values(&[-2.0], [1; 4]).unwrap(), [-2.0]);
                    assert!(matches!(format.fit(&samples, 1, Some(0)), Err(QuantError::Bits(1))));
                }
            }
        }
    }
}
