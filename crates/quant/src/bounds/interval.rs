//! Intervals of the teacher, the student and their difference through each layer.

use super::enclosure::{Ball, Enclosure, column_norms};
use super::linear_map::{Geometry, LinearMap};
use super::rounding::{Clip, Rounded, UNIT, rounded};
use super::spectral::{Norms, OUTWARD};
use super::tighter::stretched;
use super::tiles::tiled_sums;
use crate::codec::Codec;
use crate::error::QuantError;

/// Roundings of an output besides those of its products: bias, scale and shift of a batch norm after it, division of a
/// mean.
const ROUNDINGS: usize = 6;

/// What one node outputs, for every image of the box.
///
/// All three are of the numbers that are computed in `f32`, and not of exact ones: each layer adds the most that its
/// own rounding can be off, so that the difference of two computed outputs lies in `difference`, whatever the order of
/// summation.
#[derive(Debug, Clone)]
pub(super) struct Triple {
    /// In the teacher.
    pub(super) teacher: Enclosure,
    /// In the student.
    pub(super) student: Enclosure,
    /// In the student less in the teacher.
    pub(super) difference: Enclosure,
}

/// A linear layer of both networks.
#[derive(Debug)]
pub(super) struct Maps {
    /// The teacher's.
    pub(super) teacher: LinearMap,
    /// The student's, with the weights that it computes with.
    pub(super) student: LinearMap,
    /// The student's without bias: what carries a difference on.
    pub(super) carry: LinearMap,
    /// The student's less the teacher's: what makes a difference. None where they are equal.
    pub(super) change: Option<LinearMap>,
}

/// Their norms.
#[derive(Debug)]
pub(super) struct MapNorms {
    teacher: Norms,
    student: Norms,
    change: Option<Norms>,
}

impl Maps {
    /// Both networks' maps of one layer; they have the same geometry.
    pub(super) fn new(teacher: LinearMap, student: LinearMap) -> Self {
        Self { carry: student.without_bias(), change: student.minus(&teacher), teacher, student }
    }

    /// These maps followed by scales and shifts.
    pub(super) fn then(&self, after: &Self) -> Self {
        Self::new(self.teacher.then(&after.teacher), self.student.then(&after.student))
    }

    /// The norms of all of them.
    pub(super) fn norms(&self) -> MapNorms {
        MapNorms {
            teacher: Norms::of(&self.teacher),
            student: Norms::of(&self.student),
            change: self.change.as_ref().map(Norms::of),
        }
    }
}

/// The image of an enclosure under a linear map in exact arithmetic, with `|W| |x| + |b|` for each output: what the
/// rounding of its sum is relative to.
///
/// With centre `m = (low + high) / 2` and radius `r = (high - low) / 2`:
///
/// ```text
/// y in W m + b -+ |W| r
/// ```
/// which single outputs reach, in opposite corners. The ball is stretched by [`stretched`].
pub(super) fn image(map: &LinearMap, norms: Option<&Norms>, x: &Enclosure) -> (Enclosure, Vec<f64>) {
    let geometry = map.geometry;
    let shape = geometry.output(x.shape);
    let area = shape[1] * shape[2];
    let absolute: Vec<f64> = map.weight.iter().map(|w| w.abs()).collect();
    let add = |mut values: Vec<f64>, each: &[f64]| {
        for (plane, each) in values.chunks_exact_mut(area).zip(each) {
            plane.iter_mut().for_each(|value| *value += each);
        }
        values
    };
    let sums = add(geometry.correlate(&absolute, &x.magnitudes(), x.shape), &map.bias_terms);
    let centre: Vec<f64> = x.low.iter().zip(&x.high).map(|(low, high)| 0.5 * (low + high)).collect();
    let spread: Vec<f64> = x.low.iter().zip(&x.high).map(|(low, high)| 0.5 * (high - low)).collect();
    let middle = add(geometry.correlate(&map.weight, &centre, x.shape), &map.bias);
    let reach = geometry.correlate(&absolute, &spread, x.shape);
    // The rounding of these sums themselves, in f64.
    let own: Vec<f64> = sums.iter().map(|sum| sum * (geometry.terms() + 16) as f64 * f64::EPSILON).collect();
    let low = middle.iter().zip(&reach).zip(&own).map(|((middle, reach), own)| middle - reach - own).collect();
    let high = middle.iter().zip(&reach).zip(&own).map(|((middle, reach), own)| middle + reach + own).collect();
    let mut set = Enclosure::between(shape, low, high);
    if let (Some(norms), Some(ball)) = (norms, &x.ball) {
        let centre = add(geometry.correlate(&map.weight, &ball.centre, x.shape), &map.bias);
        let bound = stretched(geometry, norms, &ball.radius, x.shape);
        for (index, centre) in centre.iter().enumerate() {
            let reach = bound.reach[index] + own[index];
            set.low[index] = set.low[index].max(centre - reach);
            set.high[index] = set.high[index].min(centre + reach);
        }
        let slack = column_norms(&own, area);
        let radius = bound.radius.iter().zip(slack).map(|(radius, slack)| (radius + slack) * OUTWARD).collect();
        set.ball = Some(Ball { centre, radius });
    }
    (set.settled(), sums)
}

/// The most that the rounding of a layer can change each of its outputs, whether it is computed as plain sums or by tiles.
fn slack(map: &LinearMap, x: &Enclosure, sums: &[f64]) -> Vec<f64> {
    let relative = |operations: usize| {
        let operations = (operations + ROUNDINGS) as f64 * UNIT;
        operations / (1.0 - operations).max(0.5)
    };
    let plain = relative(map.geometry.terms());
    let mut slack: Vec<f64> = sums.iter().map(|sum| sum * plain).collect();
    if let Some((tiled, operations)) = tiled_sums(map, x) {
        let relative = relative(operations);
        slack.iter_mut().zip(tiled).for_each(|(slack, sum)| *slack = slack.max(sum * relative));
    }
    slack
}

impl Triple {
    /// One image for both networks, anywhere between two bounds.
    pub(super) fn input(shape: [usize; 3], low: Vec<f64>, high: Vec<f64>) -> Self {
        let set = Enclosure::between(shape, low, high);
        Self { teacher: set.clone(), student: set, difference: Enclosure::zero(shape) }
    }

    /// The same with balls.
    pub(super) fn with_balls(self) -> Self {
        self.each(Enclosure::with_ball)
    }

    /// What both hold.
    pub(super) fn meet(self, other: &Self) -> Self {
        Self {
            teacher: self.teacher.meet(&other.teacher),
            student: self.student.meet(&other.student),
            difference: self.difference.meet(&other.difference),
        }
    }

    /// After a linear layer:
    ///
    /// ```text
    /// d' = W^ d + (W^ - W) x + (b^ - b) + rounding
    /// ```
    /// for the teacher's input `x`. The rounding of a sum of `n` products in `f32`, in any order, is at most
    /// `n u / (1 - n u)` times the sum of their absolute values (`u = 2^-24`), and that of tiles what [`tiled_sums`] says: the larger
    /// of the two counts, for the teacher and for the student. Where input and layer are the same in both networks, so is every bit
    /// of the output.
    ///
    /// # Source
    /// Higham: Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, 3.1.
    pub(super) fn through(&self, maps: &Maps, norms: Option<&MapNorms>) -> Self {
        let (teacher, teacher_sums) = image(&maps.teacher, norms.map(|norms| &norms.teacher), &self.teacher);
        let (student, student_sums) = image(&maps.student, norms.map(|norms| &norms.student), &self.student);
        let teacher_slack = slack(&maps.teacher, &self.teacher, &teacher_sums);
        let student_slack = slack(&maps.student, &self.student, &student_sums);
        let same = maps.change.is_none() && self.difference.is_zero();
        let difference = if same {
            let zero = Enclosure::zero(teacher.shape);
            if norms.is_some() { zero.with_ball() } else { zero }
        } else {
            let carried = image(&maps.carry, norms.map(|norms| &norms.student), &self.difference).0;
            let change_norms = norms.and_then(|norms| norms.change.as_ref());
            let total = match &maps.change {
                Some(change) => Enclosure::sum(&[&carried, &image(change, change_norms, &self.teacher).0]),
                None => carried,
            };
            let both: Vec<f64> = teacher_slack.iter().zip(&student_slack).map(|(a, b)| a + b).collect();
            total.widened(&both)
        };
        let (teacher, student) = (teacher.widened(&teacher_slack), student.widened(&student_slack));
        Self { teacher, student, difference }.settled()
    }

    /// After `min(max(x, low), high)`; see [`clamped_difference`]. Lengths of difference vectors do not grow.
    pub(super) fn clamped(&self, low: f64, high: f64) -> Self {
        let range = vec![Clip { low, high, rounding: 0.0 }; self.difference.low.len()];
        Self {
            difference: self.difference_of_clamped(&range),
            teacher: self.teacher.clone().clamped(low, high),
            student: self.student.clone().clamped(low, high),
        }
        .settled()
    }

    /// The difference of both networks' values, each clamped to its range.
    fn difference_of_clamped(&self, range: &[Clip]) -> Enclosure {
        let ends = |set: &Enclosure, index: usize| [set.low[index], set.high[index]];
        let (mut low, mut high) = (Vec::with_capacity(range.len()), Vec::with_capacity(range.len()));
        for (index, clip) in range.iter().enumerate() {
            let [d, s, t] = [&self.difference, &self.student, &self.teacher].map(|set| ends(set, index));
            let [least, most] = clamped_difference(d, s, t, [clip.low, clip.high]);
            low.push(least);
            high.push(most);
        }
        let mut difference = Enclosure::between(self.difference.shape, low, high);
        difference.ball = self.difference.norms().map(|radius| Ball { centre: vec![0.0; range.len()], radius });
        difference
    }

    /// After an addition. Terms that agree to the bit have sums that do.
    pub(super) fn sum(terms: &[&Self]) -> Self {
        let of = |part: fn(&Self) -> &Enclosure| {
            let parts: Vec<&Enclosure> = terms.iter().map(|term| part(term)).collect();
            let mut sizes = vec![0.0; parts[0].low.len()];
            for part in &parts {
                sizes.iter_mut().zip(part.magnitudes()).for_each(|(sum, size)| *sum += size);
            }
            (Enclosure::sum(&parts), sizes)
        };
        let (teacher, teacher_sizes) = of(|term| &term.teacher);
        let (student, student_sizes) = of(|term| &term.student);
        let (difference, difference_sizes) = of(|term| &term.difference);
        let relative = 2.0 * terms.len() as f64 * UNIT;
        let slack = |sizes: &[f64]| sizes.iter().map(|size| size * relative).collect::<Vec<f64>>();
        let (teacher_slack, student_slack) = (slack(&teacher_sizes), slack(&student_sizes));
        let both: Vec<f64> = (0..difference_sizes.len())
            .map(|index| if difference_sizes[index] == 0.0 { 0.0 } else { teacher_slack[index] + student_slack[index] })
            .collect();
        Self {
            teacher: teacher.widened(&teacher_slack),
            student: student.widened(&student_slack),
            difference: difference.widened(&both),
        }
        .settled()
    }

    /// After joining along the channels.
    pub(super) fn concat(terms: &[&Self]) -> Self {
        let of = |part: fn(&Self) -> &Enclosure| {
            Enclosure::concat(&terms.iter().map(|term| part(term)).collect::<Vec<&Enclosure>>())
        };
        Self {
            teacher: of(|term| &term.teacher),
            student: of(|term| &term.student),
            difference: of(|term| &term.difference),
        }
        .settled()
    }

    /// As one vector.
    pub(super) fn flattened(self) -> Self {
        self.each(Enclosure::flattened)
    }

    /// The same change of shape in all three.
    pub(super) fn each(self, change: impl Fn(Enclosure) -> Enclosure) -> Self {
        let Self { teacher, student, difference } = self;
        Self { teacher: change(teacher), student: change(student), difference: change(difference) }
    }

    /// After the maximum over windows, in which padding never wins. Maxima differ by no more than the largest
    /// difference.
    pub(super) fn max_pooled(&self, kernel: usize, stride: usize, padding: usize) -> Self {
        let channels = self.teacher.shape[0];
        let geometry = Geometry {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            ..Geometry::channelwise(channels)
        };
        let [_, height, width] = self.teacher.shape;
        let shape = geometry.output(self.teacher.shape);
        let side = [height, width];
        let most = |values: &[f64]| windows(values, side, &geometry, f64::NEG_INFINITY, f64::max);
        let least = |values: &[f64]| windows(values, side, &geometry, f64::INFINITY, f64::min);
        let around = |radius: &[f64]| -> Vec<f64> {
            let sums = windows(radius, side, &geometry, 0.0, |sum, radius| sum + radius * radius);
            sums.into_iter().map(|sum| sum.sqrt() * OUTWARD).collect()
        };
        let pooled = |set: &Enclosure| {
            let ball = set.ball.as_ref();
            let ball = ball.map(|ball| Ball { centre: most(&ball.centre), radius: around(&ball.radius) });
            Enclosure { ball, ..Enclosure::between(shape, most(&set.low), most(&set.high)) }
        };
        let mut difference = Enclosure::between(shape, least(&self.difference.low), most(&self.difference.high));
        difference.ball = self.difference.norms().map(|norms| {
            let radius = around(&norms);
            Ball { centre: vec![0.0; channels * radius.len()], radius }
        });
        Self { teacher: pooled(&self.teacher), student: pooled(&self.student), difference }.settled()
    }

    /// After fake quantization of the student's output. With `e = Q(s) - s` and `clip` the clipping to what has codes:
    ///
    /// ```text
    /// d' = d + e
    /// d' = [clip(s) - clip(t)] + [Q(s) - clip(s)] + [clip(t) - t]
    /// ```
    /// The first is sharp where steps are wide, the second where ranges are short.
    ///
    /// # Errors
    /// [`QuantError::Groups`] for a codec of another shape.
    pub(super) fn quantized(self, codec: &Codec) -> Result<Self, QuantError> {
        let Rounded { value, mut error, clip } = rounded(codec, &self.student)?;
        if self.student.ball.is_some() {
            error = error.with_ball();
        }
        let mut difference = Enclosure::sum(&[&self.difference, &error]).settled();
        if let Some(clip) = clip {
            let mut clipped = self.difference_of_clamped(&clip);
            let mut sizes = Vec::with_capacity(clip.len());
            for (index, Clip { low, high, rounding }) in clip.into_iter().enumerate() {
                let excess = |t: f64| t.max(low).min(high) - t;
                let (least, most) = (excess(self.teacher.high[index]), excess(self.teacher.low[index]));
                let excess = least.abs().max(most.abs());
                let rounding = rounding + 4.0 * f64::EPSILON * (excess + clipped.low[index].abs());
                let rounding = rounding + 4.0 * f64::EPSILON * clipped.high[index].abs();
                clipped.low[index] += least - rounding;
                clipped.high[index] += most + rounding;
                sizes.push(rounding + excess);
            }
            if let Some(ball) = &mut clipped.ball {
                let area = self.difference.shape[1] * self.difference.shape[2];
                for (radius, size) in ball.radius.iter_mut().zip(column_norms(&sizes, area)) {
                    *radius = (*radius + size) * OUTWARD;
                }
            }
            difference = difference.meet(&clipped.settled());
        }
        let student = Enclosure::sum(&[&self.student, &error]).settled().meet(&value);
        Ok(Self { teacher: self.teacher, student, difference }.settled())
    }

    fn settled(self) -> Self {
        let apart = self.student.minus(&self.teacher);
        let all = self.each(Enclosure::settled);
        Self { difference: all.difference.meet(&apart), ..all }
    }
}

/// Bounds of `g(s) - g(t)` for `g(x) = min(max(x, a), b)`, from those of `d = s - t`, of `s` and of `t`.
///
/// `g` is monotone and no steeper than 1, so that `g(s) - g(t)` lies between `min(d, 0)` and `max(d, 0)`. Where the
/// sign of `d` is known, `d >= D > 0`, it is at least `g(s) - g(s - D)` and at least `g(t + D) - g(t)`: functions that
/// rise and fall once, whose least is at an end.
fn clamped_difference(d: [f64; 2], s: [f64; 2], t: [f64; 2], [low, high]: [f64; 2]) -> [f64; 2] {
    let g = |x: f64| x.max(low).min(high);
    let growth = |from: [f64; 2], by: f64| from.map(|x| g(x + by) - g(x)).into_iter().fold(f64::INFINITY, f64::min);
    let least = match d[0] {
        by if by > 0.0 => growth(s.map(|s| s - by), by).max(growth(t, by)),
        negative => negative,
    };
    let most = match d[1] {
        by if by < 0.0 => -growth(s, -by).max(growth(t.map(|t| t + by), -by)),
        positive => positive,
    };
    let rounding = 4.0 * f64::EPSILON * (s[0].abs().max(s[1].abs()) + t[0].abs().max(t[1].abs()));
    let exact = |bound: f64, end: f64, sign: f64| if bound == end { bound } else { bound + sign * rounding };
    [exact(least, d[0], -1.0), exact(most, d[1], 1.0)]
}

/// Folds the inputs of every window of every channel.
fn windows(
    values: &[f64],
    [height, width]: [usize; 2],
    geometry: &Geometry,
    start: f64,
    fold: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let [_, rows, columns] = geometry.output([1, height, width]);
    let mut output = Vec::with_capacity(values.len() / (height * width) * rows * columns);
    for plane in values.chunks_exact(height * width) {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let span = |place: usize, axis: usize, size: usize| {
                let first = place * geometry.stride[axis];
                let end = (first + geometry.kernel[axis]).saturating_sub(geometry.padding[axis]).min(size);
                first.saturating_sub(geometry.padding[axis])..end
            };
            let mut folded = start;
            for y in span(row, 0, height) {
                for x in span(column, 1, width) {
                    folded = fold(folded, plane[y * width + x]);
                }
            }
            output.push(folded);
        }
    }
    output
}

#[cfg(test)]
mod tests;
