//! Sets of tensors that are known to hold what a network computes.

use super::spectral::OUTWARD;

/// More than the rounding of a sum of two numbers in `f64`, relative to their size.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Every tensor of one image that lies between two bounds and, where there is a ball, within it.
///
/// ```text
/// low <= x <= high   element by element
/// sqrt(sum_c (x[c,p] - centre[c,p])^2) <= radius[p]   for the channel vector of each position p
/// ```
/// The two know different things: the bounds the sign and size of each element, the ball that not all channels can be
/// extreme at once. [`Self::settled`] lets each sharpen the other.
#[derive(Debug, Clone)]
pub(super) struct Enclosure {
    /// `[channel, height, width]`.
    pub(super) shape: [usize; 3],
    /// Lower bounds, row-major.
    pub(super) low: Vec<f64>,
    /// Upper bounds, row-major.
    pub(super) high: Vec<f64>,
    /// The ball, if any.
    pub(super) ball: Option<Ball>,
}

/// A ball around the channel vector of each position.
#[derive(Debug, Clone)]
pub(super) struct Ball {
    /// Shaped as the tensor.
    pub(super) centre: Vec<f64>,
    /// By position.
    pub(super) radius: Vec<f64>,
}

impl Enclosure {
    /// All that lies between two bounds.
    pub(super) fn between(shape: [usize; 3], low: Vec<f64>, high: Vec<f64>) -> Self {
        Self { shape, low, high, ball: None }
    }

    /// Zero alone.
    pub(super) fn zero(shape: [usize; 3]) -> Self {
        let values = vec![0.0; shape.iter().product()];
        Self::between(shape, values.clone(), values)
    }

    /// The same with the smallest ball around the bounds, if it has none.
    pub(super) fn with_ball(mut self) -> Self {
        if self.ball.is_none() {
            let centre = self.low.iter().zip(&self.high).map(|(low, high)| 0.5 * (low + high)).collect();
            self.ball = Some(Ball { centre, radius: vec![f64::INFINITY; self.area()] });
        }
        self.settled()
    }

    /// Number of positions.
    pub(super) fn area(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Whether it holds zero alone.
    pub(super) fn is_zero(&self) -> bool {
        self.low.iter().chain(&self.high).all(|&x| x == 0.0)
    }

    /// The largest absolute value of each element.
    pub(super) fn magnitudes(&self) -> Vec<f64> {
        self.low.iter().zip(&self.high).map(|(low, high)| low.abs().max(high.abs())).collect()
    }

    /// For each position, the largest Euclidean norm of the channel vector; none without a ball.
    pub(super) fn norms(&self) -> Option<Vec<f64>> {
        let ball = self.ball.as_ref()?;
        let (centre, corner) = (column_norms(&ball.centre, self.area()), column_norms(&self.magnitudes(), self.area()));
        let through_ball = centre.iter().zip(&ball.radius).map(|(centre, radius)| (centre + radius) * OUTWARD);
        Some(through_ball.zip(corner).map(|(norm, corner)| norm.min(corner)).collect())
    }

    /// What both hold.
    pub(super) fn meet(mut self, other: &Self) -> Self {
        for index in 0..self.low.len() {
            let (low, high) = (self.low[index].max(other.low[index]), self.high[index].min(other.high[index]));
            // Two enclosures of one value overlap but for rounding.
            (self.low[index], self.high[index]) = (low.min(high), low.max(high));
        }
        let area = self.area();
        match (self.ball.as_mut(), &other.ball) {
            (Some(own), Some(other)) => {
                for position in 0..area {
                    if other.radius[position] >= own.radius[position] {
                        continue;
                    }
                    own.radius[position] = other.radius[position];
                    for index in (position..own.centre.len()).step_by(area) {
                        own.centre[index] = other.centre[index];
                    }
                }
            }
            (None, Some(other)) => self.ball = Some(other.clone()),
            (_, None) => {}
        }
        self.settled()
    }

    /// The same set with bounds and ball sharpened by each other: the centre projected into the bounds (no further from
    /// anything within them), the radius at most the distance of the farthest corner, the bounds at most the radius
    /// away.
    pub(super) fn settled(mut self) -> Self {
        let area = self.area();
        let Some(ball) = &mut self.ball else { return self };
        let mut reach = vec![0.0f64; area];
        for (index, centre) in ball.centre.iter_mut().enumerate() {
            let (low, high) = (self.low[index], self.high[index]);
            *centre = centre.max(low).min(high);
            let far = (high - *centre).max(*centre - low);
            reach[index % area] += far * far;
        }
        for (radius, reach) in ball.radius.iter_mut().zip(reach) {
            *radius = radius.min(reach.sqrt() * OUTWARD);
        }
        for (index, centre) in ball.centre.iter().enumerate() {
            let reach = ball.radius[index % area] * OUTWARD + ROUNDING * centre.abs();
            self.low[index] = self.low[index].max(centre - reach);
            self.high[index] = self.high[index].min(centre + reach);
        }
        self
    }

    /// With every element free to be off by its slack.
    pub(super) fn widened(mut self, slack: &[f64]) -> Self {
        for ((low, high), slack) in self.low.iter_mut().zip(&mut self.high).zip(slack) {
            *low -= slack;
            *high += slack;
        }
        let area = self.area();
        if let Some(ball) = &mut self.ball {
            for (radius, slack) in ball.radius.iter_mut().zip(column_norms(slack, area)) {
                *radius = (*radius + slack) * OUTWARD;
            }
        }
        self
    }

    /// All sums of one member of each.
    pub(super) fn sum(terms: &[&Self]) -> Self {
        let add = |parts: Vec<&Vec<f64>>| {
            let mut sum = parts[0].clone();
            for part in &parts[1..] {
                sum.iter_mut().zip(*part).for_each(|(sum, x)| *sum += x);
            }
            sum
        };
        let mut low = add(terms.iter().map(|term| &term.low).collect());
        let mut high = add(terms.iter().map(|term| &term.high).collect());
        for (low, high) in low.iter_mut().zip(&mut high) {
            *low -= ROUNDING * low.abs();
            *high += ROUNDING * high.abs();
        }
        let balls: Option<Vec<&Ball>> = terms.iter().map(|term| term.ball.as_ref()).collect();
        let ball = balls.map(|balls| Ball {
            centre: add(balls.iter().map(|ball| &ball.centre).collect()),
            radius: add(balls.iter().map(|ball| &ball.radius).collect()).into_iter().map(|sum| sum * OUTWARD).collect(),
        });
        Self { shape: terms[0].shape, low, high, ball }
    }

    /// All differences of a member of this and one of the other; without a ball.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let outward = |difference: f64, sign: f64| difference + sign * ROUNDING * difference.abs();
        let low = self.low.iter().zip(&other.high).map(|(a, b)| outward(a - b, -1.0)).collect();
        let high = self.high.iter().zip(&other.low).map(|(a, b)| outward(a - b, 1.0)).collect();
        Self::between(self.shape, low, high)
    }

    /// `min(max(x, low), high)` of every member: no further apart than before.
    pub(super) fn clamped(mut self, low: f64, high: f64) -> Self {
        let clamp = |x: &mut f64| *x = x.max(low).min(high);
        self.low.iter_mut().chain(&mut self.high).for_each(clamp);
        if let Some(ball) = &mut self.ball {
            ball.centre.iter_mut().for_each(clamp);
        }
        self.settled()
    }

    /// Joined along the channels.
    pub(super) fn concat(parts: &[&Self]) -> Self {
        let [_, height, width] = parts[0].shape;
        let channels = parts.iter().map(|part| part.shape[0]).sum();
        let balls: Option<Vec<&Ball>> = parts.iter().map(|part| part.ball.as_ref()).collect();
        let ball = balls.map(|balls| Ball {
            centre: joined(balls.iter().map(|ball| ball.centre.as_slice())),
            radius: column_norms(&joined(balls.iter().map(|ball| ball.radius.as_slice())), height * width),
        });
        let low = joined(parts.iter().map(|part| part.low.as_slice()));
        let high = joined(parts.iter().map(|part| part.high.as_slice()));
        Self { shape: [channels, height, width], low, high, ball }
    }

    /// As one vector.
    pub(super) fn flattened(mut self) -> Self {
        self.shape = [self.low.len(), 1, 1];
        if let Some(ball) = &mut self.ball {
            ball.radius = column_norms(&ball.radius, 1);
        }
        self.settled()
    }

    /// These channels, some of them perhaps more than once.
    pub(super) fn selected(&self, indices: &[usize]) -> Self {
        let area = self.area();
        let pick = |values: &[f64]| joined(indices.iter().map(|&index| &values[index * area..(index + 1) * area]));
        let copies = |index: &usize| indices.iter().filter(|&other| other == index).count();
        let stretch = (indices.iter().map(copies).max().unwrap_or(0) as f64).sqrt() * OUTWARD;
        let ball = self.ball.as_ref().map(|ball| Ball {
            centre: pick(&ball.centre),
            radius: ball.radius.iter().map(|radius| radius * stretch).collect(),
        });
        let shape = [indices.len(), self.shape[1], self.shape[2]];
        Self { shape, low: pick(&self.low), high: pick(&self.high), ball }
    }

    /// Every `stride`-th pixel, with channels of zeros before and after.
    pub(super) fn padded(&self, stride: usize, before: usize, after: usize) -> Self {
        let [channels, height, width] = self.shape;
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        let area = rows * columns;
        let pick = |values: &[f64]| -> Vec<f64> {
            let lines =
                values.chunks_exact(width).enumerate().filter(|(line, _)| (line % height).is_multiple_of(stride));
            lines.flat_map(|(_, line)| line.iter().step_by(stride).copied()).collect()
        };
        let pad = |values: &[f64]| [vec![0.0; before * area], pick(values), vec![0.0; after * area]].concat();
        let ball = self.ball.as_ref().map(|ball| Ball { centre: pad(&ball.centre), radius: pick(&ball.radius) });
        let shape = [before + channels + after, rows, columns];
        Self { shape, low: pad(&self.low), high: pad(&self.high), ball }
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    parts.flat_map(|part| part.iter().copied()).collect()
}

/// The Euclidean norm of the channel vector of each of `area` positions, rounded upwards.
pub(super) fn column_norms(values: &[f64], area: usize) -> Vec<f64> {
    let mut norms = vec![0.0f64; area];
    for plane in values.chunks_exact(area) {
        norms.iter_mut().zip(plane).for_each(|(norm, x)| *norm += x * x);
    }
    norms.iter_mut().for_each(|norm| *norm = norm.sqrt() * OUTWARD);
    norms
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of two positions.
    fn enclosure(low: [f64; 4], high: [f64; 4]) -> Enclosure {
        Enclosure::between([2, 1, 2], low.to_vec(), high.to_vec())
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn bounds_and_ball_sharpen_each_other() {
        let wide = enclosure([-3.0, 0.0, -4.0, -1.0], [3.0, 0.0, 4.0, 1.0]).with_ball();
        close(&wide.ball.as_ref().unwrap().radius, &[5.0, 1.0]);
        let mut sharper = wide.clone();
        sharper.ball.as_mut().unwrap().radius[0] = 2.0;
        let sharper = sharper.settled();
        close(&sharper.low, &[-2.0, 0.0, -2.0, -1.0]);
        close(&sharper.high, &[2.0, 0.0, 2.0, 1.0]);
        close(&sharper.norms().unwrap(), &[2.0, 1.0]);
        let met = wide.meet(&sharper);
        close(&met.ball.unwrap().radius, &[2.0, 1.0]);
        close(&met.low, &[-2.0, 0.0, -2.0, -1.0]);
    }

    #[test]
    fn a_centre_outside_the_bounds_is_projected_into_them() {
        let mut set = enclosure([1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.5, 0.0]);
        set.ball = Some(Ball { centre: vec![0.0; 4], radius: vec![1.5, 0.0] });
        let set = set.settled();
        let ball = set.ball.unwrap();
        close(&ball.centre, &[1.0, 0.0, 0.0, 0.0]);
        close(&ball.radius, &[1.25f64.sqrt(), 0.0]);
        close(&set.high, &[2.0, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn sums_joins_and_vectors_have_the_norms_of_their_parts() {
        let a = enclosure([-3.0, -1.0, -4.0, 0.0], [3.0, 1.0, 4.0, 0.0]).with_ball();
        let sum = Enclosure::sum(&[&a, &a]);
        close(&sum.ball.as_ref().unwrap().radius, &[10.0, 2.0]);
        close(&sum.high, &[6.0, 2.0, 8.0, 0.0]);
        let both = Enclosure::concat(&[&a, &a]);
        assert_eq!(both.shape, [4, 1, 2]);
        close(&both.ball.as_ref().unwrap().radius, &[50f64.sqrt(), 2f64.sqrt()]);
        let vector = a.clone().flattened();
        close(&vector.ball.unwrap().radius, &[26f64.sqrt()]);
        close(&a.minus(&a).high, &[6.0, 2.0, 8.0, 0.0]);
        let clamped = a.clamped(0.0, 2.0);
        close(&clamped.high, &[2.0, 1.0, 2.0, 0.0]);
        close(&clamped.ball.unwrap().radius, &[8f64.sqrt(), 1.0]);
    }

    #[test]
    fn a_channel_that_is_chosen_twice_counts_twice() {
        let set = enclosure([-3.0, -1.0, -4.0, 0.0], [3.0, 1.0, 4.0, 0.0]).with_ball().selected(&[1, 0, 1]);
        assert_eq!(set.shape, [3, 1, 2]);
        close(&set.high, &[4.0, 0.0, 3.0, 1.0, 4.0, 0.0]);
        close(&set.ball.unwrap().radius, &[50f64.sqrt(), 2f64.sqrt()]);
    }

    #[test]
    fn a_padded_shortcut_keeps_every_second_pixel() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let set = Enclosure::between([1, 3, 4], values.clone(), values).padded(2, 1, 2);
        assert_eq!(set.shape, [4, 2, 2]);
        close(&set.low, &[0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 8.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
