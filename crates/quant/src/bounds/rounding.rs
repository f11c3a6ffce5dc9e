//! What a codec does to values of which only bounds are known.

use super::enclosure::Enclosure;
use super::linear_map::FLOOR;
use crate::affine::Affine;
use crate::codec::{Codebook, Codec, Half};
use crate::error::QuantError;

/// Half the distance from 1 to the next larger `f32`.
pub(super) const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// More than the rounding of a codec's arithmetic on any device, relative to the sizes that it meets. Division on a GPU
/// may be off by two or three units in the last place.
const ARITHMETIC: f64 = 16.0 * UNIT;

/// What becomes of the values of an enclosure.
#[derive(Debug)]
pub(super) struct Rounded {
    /// `Q(x)`.
    pub(super) value: Enclosure,
    /// `Q(x) - x`.
    pub(super) error: Enclosure,
    /// `Q(x) = clip(x) + e`: bounds of the clipping and of `|e|`, element by element. None for sums of codecs.
    pub(super) clip: Option<Vec<Clip>>,
}

/// Clipping to what has codes, apart from rounding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clip {
    /// Smallest value that has a code.
    pub(super) low: f64,
    /// Largest value that has a code.
    pub(super) high: f64,
    /// How far a value within them can be from its code's.
    pub(super) rounding: f64,
}

/// Bounds of `Q(x)` and `Q(x) - x` for all `x` of an enclosure.
///
/// A codec that takes the nearest level is a staircase, and on each of its steps `Q(x) - x` falls with slope -1. So its
/// extremes over `[l, u]` lie at the ends or at a jump, where it is plus and minus half the distance of the two levels:
///
/// ```text
/// Q(l) = Q(u):  Q(x) - x in [Q(u) - u, Q(l) - l]
/// otherwise:    Q(x) - x in [min(Q(u) - u, -gap/2), max(Q(l) - l, gap/2)],  gap: the widest between Q(l) and Q(u)
/// ```
/// Where a table has thresholds of its own, `max(|t - a|, |b - t|)` stands for the `gap/2` of a jump at `t` from level
/// `a` to level `b`. Beyond the range that has codes the ends are the clipping excess. `Q(l)` and `Q(u)` are computed by
/// the codec itself, so that a shifted zero point is what it is. A sum of codecs quantizes what the terms before have
/// left over, and so do its bounds.
///
/// # Errors
/// [`QuantError::Groups`] for a codec of another shape.
pub(super) fn rounded(codec: &Codec, x: &Enclosure) -> Result<Rounded, QuantError> {
    match codec {
        Codec::Uniform(grid) => {
            let group = groups(grid.axis(), grid.groups(), x)?;
            let step = |group: usize| {
                let map: Affine = grid.map(group);
                let (low, high) = map.representable();
                let widest = f64::from(map.step()) / 2.0;
                Stairs {
                    low: f64::from(low),
                    high: f64::from(high),
                    size: f64::from(low.abs().max(high.abs())),
                    widest,
                    levels: &[],
                    thresholds: None,
                }
            };
            staircase(codec, x, |index, _| step(group(index)))
        }
        Codec::Codebook(book) => {
            let group = groups(book.axis(), book.groups(), x)?;
            staircase(codec, x, |index, _| stairs_of(book, group(index)))
        }
        Codec::Half(half) => staircase(codec, x, |_, magnitude| {
            let (most, unit, smallest) = match half {
                Half::Fp16 => (65504.0, 2f64.powi(-11), 2f64.powi(-25)),
                Half::Bf16 => (f64::from(half.value(half.code(f32::MAX))), 2f64.powi(-8), 2f64.powi(-134)),
            };
            let widest = magnitude.min(most) * unit * (1.0 + unit) + smallest;
            Stairs { low: -most, high: most, size: 0.0, widest, levels: &[], thresholds: None }
        }),
        Codec::Sum(terms) => {
            let mut rest = x.clone();
            rest.ball = None;
            let mut value = Enclosure::zero(x.shape);
            for term in terms {
                let Rounded { value: part, error, .. } = rounded(term, &rest)?;
                value = Enclosure::sum(&[&value, &part]);
                rest = Enclosure::zero(x.shape).minus(&error);
            }
            let slack: Vec<f64> =
                x.magnitudes().iter().zip(value.magnitudes()).map(|(x, value)| ARITHMETIC * (x + value)).collect();
            let error = Enclosure::zero(x.shape).minus(&rest).widened(&slack);
            Ok(Rounded { value: value.widened(&slack), error, clip: None })
        }
    }
}

/// The levels that an element can take.
struct Stairs<'a> {
    low: f64,
    high: f64,
    /// What the rounding of its arithmetic is relative to, besides the value: the range, where a zero point is
    /// subtracted.
    size: f64,
    /// Half the widest distance of neighbouring levels.
    widest: f64,
    /// All levels, where their distances differ.
    levels: &'a [f32],
    /// Where one level ends and the next begins, unless it is midway.
    thresholds: Option<&'a [f32]>,
}

impl Stairs<'_> {
    /// Half the widest distance of neighbouring levels from `low` to `high`, both of them levels; where thresholds are
    /// not midway, the widest of a threshold from the levels beside it.
    fn gap(&self, low: f32, high: f32) -> f64 {
        let first = self.levels.partition_point(|&level| level < low);
        let end = self.levels.partition_point(|&level| level <= high);
        let gaps = self.levels[first..end.max(first)].windows(2).enumerate().map(|(place, pair)| {
            let (below, above) = (f64::from(pair[0]), f64::from(pair[1]));
            let own = self.thresholds.and_then(|thresholds| thresholds.get(first + place)).copied().map(f64::from);
            own.map_or((above - below) / 2.0, |threshold| (threshold - below).abs().max((above - threshold).abs()))
        });
        gaps.reduce(f64::max).unwrap_or(self.widest)
    }
}

fn stairs_of(book: &Codebook, group: usize) -> Stairs<'_> {
    let levels = book.table(group);
    let (low, high) = (levels[0], levels[levels.len() - 1]);
    let thresholds = book.thresholds(group);
    let stairs = Stairs { low: f64::from(low), high: f64::from(high), size: 0.0, widest: 0.0, levels, thresholds };
    Stairs { widest: stairs.gap(low, high), ..stairs }
}

/// The group of each element of `[1, channel, height, width]`.
fn groups(axis: Option<usize>, count: usize, x: &Enclosure) -> Result<impl Fn(usize) -> usize, QuantError> {
    let [channels, height, width] = x.shape;
    let (size, run) = match axis {
        None => (1, usize::MAX),
        Some(0) => (1, channels * height * width),
        Some(1) => (channels, height * width),
        Some(2) => (height, width),
        Some(_) => (width, 1),
    };
    if size != count {
        return Err(QuantError::Groups { expected: count, found: size });
    }
    Ok(move |index: usize| index / run % size)
}

fn staircase<'a>(
    codec: &Codec,
    x: &Enclosure,
    stairs: impl Fn(usize, f64) -> Stairs<'a>,
) -> Result<Rounded, QuantError> {
    let [channels, height, width] = x.shape;
    let shape = [1, channels, height, width];
    let magnitudes = x.magnitudes();
    let clips: Vec<Stairs<'a>> =
        magnitudes.iter().enumerate().map(|(index, &magnitude)| stairs(index, magnitude)).collect();
    let slack: Vec<f64> =
        clips.iter().zip(&magnitudes).map(|(clip, magnitude)| ARITHMETIC * (magnitude + clip.size + FLOOR)).collect();
    // Rounding to f32 is monotone, so that every f32 of the enclosure stays between the ends.
    let end = |x: f64| x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    let lows: Vec<f32> = x.low.iter().zip(&slack).map(|(x, slack)| end(x - slack)).collect();
    let highs: Vec<f32> = x.high.iter().zip(&slack).map(|(x, slack)| end(x + slack)).collect();
    let lows = codec.fake_quantize_values(&lows, shape)?;
    let highs = codec.fake_quantize_values(&highs, shape)?;
    let count = magnitudes.len();
    let (mut low, mut high) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut error_low, mut error_high) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for index in 0..count {
        let (first, last) = (f64::from(lows[index]), f64::from(highs[index]));
        low.push(first - ARITHMETIC * first.abs());
        high.push(last + ARITHMETIC * last.abs());
        let (mut least, mut most) = (last - x.high[index], first - x.low[index]);
        if lows[index] != highs[index] {
            let gap = clips[index].gap(lows[index], highs[index]);
            (least, most) = (least.min(-gap), most.max(gap));
        }
        error_low.push(least - slack[index]);
        error_high.push(most + slack[index]);
    }
    let clip = clips.iter().zip(&slack).map(|(stairs, slack)| Clip {
        low: stairs.low,
        high: stairs.high,
        rounding: stairs.widest + slack,
    });
    Ok(Rounded {
        value: Enclosure::between(x.shape, low, high),
        error: Enclosure::between(x.shape, error_low, error_high),
        clip: Some(clip.collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Arithmetic;
    use crate::grid::Grid;

    fn grid(arithmetic: Arithmetic) -> Codec {
        let (scale, zero, low, high) = match arithmetic {
            Arithmetic::Multiply => (3.3, -4.0, -8.0, 7.0),
            Arithmetic::Divide => (0.27, 5.0, 0.0, 15.0),
        };
        Grid::new(&[Affine { arithmetic, scale, zero, low, high }], 4, None).unwrap().into()
    }

    fn codecs() -> Vec<Codec> {
        let book = |levels: &[f32]| Codec::from(Codebook::new(vec![levels.to_vec()], 3, None).unwrap());
        vec![
            grid(Arithmetic::Multiply),
            grid(Arithmetic::Divide),
            book(&[-1.5, -0.25, 0.0, 0.125, 2.0]),
            Codec::Half(Half::Fp16),
            Codec::Half(Half::Bf16),
            Codec::Sum(vec![book(&[-2.0, -1.0, 0.0, 1.0, 2.0]), grid(Arithmetic::Divide), book(&[-0.1, 0.1])]),
        ]
    }

    #[test]
    fn bounds_hold_for_every_value_between_the_ends_and_are_reached() {
        let ends = [(-9.0, 9.0), (-0.31, 0.07), (0.5, 0.52), (0.9, 2.6), (2.9, 80.0), (-70.0, -3.0), (0.0, 0.0)];
        for codec in codecs() {
            for (low, high) in ends {
                let set = Enclosure::between([1, 1, 1], vec![low], vec![high]);
                let found = rounded(&codec, &set).unwrap();
                let count = 4000;
                let values: Vec<f32> = (0..=count)
                    .map(|index| (low + (high - low) * f64::from(index) / f64::from(count)) as f32)
                    .collect();
                let shape = [1, 1, 1, values.len()];
                let quantized = codec.fake_quantize_values(&values, shape).unwrap();
                let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
                for (x, q) in values.iter().zip(quantized) {
                    let (x, q) = (f64::from(*x), f64::from(q));
                    let what = format!("{codec:?} [{low}, {high}] at {x}: {q}");
                    assert!(q >= found.value.low[0] && q <= found.value.high[0], "{what}");
                    assert!(q - x >= found.error.low[0] && q - x <= found.error.high[0], "{what}");
                    if let Some(clip) = &found.clip {
                        assert!((q - x.clamp(clip[0].low, clip[0].high)).abs() <= clip[0].rounding, "{what}");
                    }
                    (least, most) = (least.min(q - x), most.max(q - x));
                }
                if !matches!(codec, Codec::Sum(_) | Codec::Half(_)) {
                    let spacing = (high - low) / f64::from(count) + 1e-4;
                    assert!(found.error.low[0] > least - spacing, "{codec:?} [{low}, {high}]: {found:?} {least}");
                    assert!(found.error.high[0] < most + spacing, "{codec:?} [{low}, {high}]: {found:?} {most}");
                }
            }
        }
    }

    #[test]
    fn bounds_hold_where_thresholds_are_not_midway() {
        let book = Codebook::new(vec![vec![-1.0, 0.0, 0.5, 3.0]], 2, None).unwrap();
        let codec = Codec::from(book.with_thresholds(vec![vec![-1.8, 0.4, 3.5]]).unwrap());
        for (low, high) in [(-5.0, 5.0), (-2.5, -1.0), (0.1, 0.45), (2.0, 3.7), (0.45, 3.4)] {
            let found = rounded(&codec, &Enclosure::between([1, 1, 1], vec![low], vec![high])).unwrap();
            for index in 0..=2000 {
                let x = (low + (high - low) * f64::from(index) / 2000.0) as f32;
                let q = f64::from(codec.fake_quantize_values(&[x], [1, 1, 1, 1]).unwrap()[0]);
                let (x, clip) = (f64::from(x), found.clip.as_ref().unwrap()[0]);
                assert!(q >= found.value.low[0] && q <= found.value.high[0], "[{low}, {high}] at {x}: {q}");
                assert!(q - x >= found.error.low[0] && q - x <= found.error.high[0], "[{low}, {high}] at {x}: {q}");
                assert!((q - x.clamp(clip.low, clip.high)).abs() <= clip.rounding, "[{low}, {high}] at {x}: {q}");
            }
        }
    }

    #[test]
    fn channels_have_their_own_levels() {
        let book = Codebook::new(vec![vec![0.0, 1.0], vec![0.0, 10.0]], 1, Some(1)).unwrap();
        let set = Enclosure::between([2, 1, 1], vec![0.0; 2], vec![1.0, 10.0]);
        let found = rounded(&book.clone().into(), &set).unwrap();
        for (bound, expected) in found.error.high.iter().zip([0.5, 5.0]) {
            assert!((bound - expected).abs() < 1e-4);
        }
        let other = Enclosure::between([3, 1, 1], vec![0.0; 3], vec![1.0; 3]);
        assert!(matches!(rounded(&book.into(), &other), Err(QuantError::Groups { expected: 2, found: 3 })));
    }
}
