//! Minimisation of a function of several numbers, without gradients.

/// Powell's method of conjugate directions within a box, by Brent's line searches.
///
/// ```text
/// round:  x_0 -> line searches along every direction -> x_n;   d = x_n - x_0
///         where d is worth it:  the direction of the largest decrease gives way to d, one more line search along d
/// ```
/// The directions are the axes at first. A line search brackets a minimum by growing steps and then narrows the bracket by
/// parabolas and golden sections.
///
/// # Source
/// Powell, An efficient method for finding the minimum of a function of several variables without calculating derivatives, The
/// Computer Journal 1964, with the test for `d` by its section 5; Brent, Algorithms for Minimization without Derivatives, 1973,
/// chapter 5.
#[derive(Debug, Clone)]
pub(super) struct Powell {
    /// Smallest and largest value of every coordinate.
    pub(super) bounds: (f64, f64),
    /// First step of a line search, of the coordinate that moves most.
    pub(super) step: f64,
    /// Accuracy of a line search, of the coordinate that moves most.
    pub(super) tolerance: f64,
    /// A round that lowers the value by less than this share of it is the last.
    pub(super) improvement: f64,
    /// Rounds, at most.
    pub(super) rounds: usize,
    /// Evaluations of the function, at most (and at least one).
    pub(super) evaluations: usize,
}

/// A point with the function's value there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// Its coordinates.
    pub(super) at: Vec<f64>,
    /// The value; infinite where the function is not a number.
    pub(super) value: f64,
}

impl Powell {
    /// The point of the least value found, not above that of `start`.
    ///
    /// # Errors
    /// The function's own, at once.
    pub(super) fn minimise<E>(
        &self,
        start: Vec<f64>,
        function: impl FnMut(&[f64]) -> Result<f64, E>,
    ) -> Result<Point, E> {
        let mut search = Search { settings: self, function, evaluations: 0 };
        let count = start.len();
        let mut point = search.evaluate(start)?;
        let axis = |index: usize| (0..count).map(|other| f64::from(u8::from(other == index))).collect::<Vec<f64>>();
        let mut directions: Vec<Vec<f64>> = (0..count).map(axis).collect();
        for _ in 0..self.rounds {
            let begin = point.clone();
            let (mut steepest, mut drop) = (0, 0.0);
            for (index, direction) in directions.iter().enumerate() {
                let next = search.line(&point, direction)?;
                if point.value - next.value > drop {
                    (steepest, drop) = (index, point.value - next.value);
                }
                point = next;
            }
            let gain = begin.value - point.value;
            if search.is_over() || 2.0 * gain <= self.improvement * (begin.value.abs() + point.value.abs()) {
                break;
            }
            let direction: Vec<f64> = point.at.iter().zip(&begin.at).map(|(now, then)| now - then).collect();
            let beyond: Vec<f64> = point.at.iter().zip(&direction).map(|(now, way)| now + way).collect();
            let (low, high) = self.bounds;
            if beyond.iter().any(|x| !(low..=high).contains(x)) {
                continue;
            }
            let beyond = search.evaluate(beyond)?;
            let curvature = 2.0 * (begin.value - 2.0 * point.value + beyond.value);
            let is_worth_it = curvature * (gain - drop).powi(2) < drop * (begin.value - beyond.value).powi(2);
            if beyond.value < begin.value && is_worth_it {
                point = search.line(&point, &direction)?;
                directions.remove(steepest);
                directions.push(direction);
            }
        }
        Ok(point)
    }
}

struct Search<'a, F> {
    settings: &'a Powell,
    function: F,
    evaluations: usize,
}

/// A place on a line, in multiples of its direction, with the value there.
type Place = (f64, f64);

impl<E, F: FnMut(&[f64]) -> Result<f64, E>> Search<'_, F> {
    fn is_over(&self) -> bool {
        self.evaluations >= self.settings.evaluations
    }

    fn evaluate(&mut self, at: Vec<f64>) -> Result<Point, E> {
        self.evaluations += 1;
        let value = (self.function)(&at)?;
        Ok(Point { at, value: if value.is_nan() { f64::INFINITY } else { value } })
    }

    /// The best point found on the line through `from`, not worse than `from`.
    fn line(&mut self, from: &Point, direction: &[f64]) -> Result<Point, E> {
        let longest = direction.iter().fold(0.0f64, |most, way| most.max(way.abs()));
        let (low, high) = self.span(&from.at, direction);
        let first = self.settings.step / longest;
        let first = if high > 0.0 { first.min(high) } else { (-first).max(low) };
        if self.is_over() || !first.is_finite() || first == 0.0 {
            return Ok(from.clone());
        }
        let line = Line { from, direction, low, high };
        let first = (first, self.at(&line, first)?);
        let bracket = self.bracket(&line, [(0.0, from.value), first])?;
        let (place, value) = self.narrow(&line, bracket, self.settings.tolerance / longest)?;
        if value < from.value { Ok(Point { at: self.place(&line, place), value }) } else { Ok(from.clone()) }
    }

    /// How far the line can be followed both ways before it leaves the box.
    fn span(&self, at: &[f64], direction: &[f64]) -> (f64, f64) {
        let (least, most) = self.settings.bounds;
        let moving = at.iter().zip(direction).filter(|(_, way)| **way != 0.0);
        let (low, high) = moving.fold((f64::NEG_INFINITY, f64::INFINITY), |(low, high), (x, way)| {
            let (a, b) = ((least - x) / way, (most - x) / way);
            (low.max(a.min(b)), high.min(a.max(b)))
        });
        (low.min(0.0), high.max(0.0))
    }

    fn place(&self, line: &Line<'_>, place: f64) -> Vec<f64> {
        let (least, most) = self.settings.bounds;
        line.from.at.iter().zip(line.direction).map(|(x, way)| (x + place * way).clamp(least, most)).collect()
    }

    fn at(&mut self, line: &Line<'_>, place: f64) -> Result<f64, E> {
        let at = self.place(line, place);
        Ok(self.evaluate(at)?.value)
    }

    /// Goes downhill by growing steps until the value rises or the line ends: the last three places, the middle one the best.
    /// At the end of the line the last two are the same.
    fn bracket(&mut self, line: &Line<'_>, [first, second]: [Place; 2]) -> Result<[Place; 3], E> {
        const GROWTH: f64 = 1.618_034;
        let (mut a, mut b) = if second.1 > first.1 { (second, first) } else { (first, second) };
        while !self.is_over() {
            let next = (b.0 + GROWTH * (b.0 - a.0)).clamp(line.low, line.high);
            if next == b.0 || !next.is_finite() {
                break;
            }
            let c = (next, self.at(line, next)?);
            if c.1 >= b.1 {
                return Ok([a, b, c]);
            }
            (a, b) = (b, c);
        }
        Ok([a, b, b])
    }

    /// Brent's minimisation within a bracket.
    fn narrow(&mut self, line: &Line<'_>, [a, b, c]: [Place; 3], tolerance: f64) -> Result<Place, E> {
        const GOLDEN: f64 = 0.381_966;
        let (mut low, mut high) = (a.0.min(c.0), a.0.max(c.0));
        let mut best = b;
        let (mut second, mut third) = if a.1 <= c.1 { (a, c) } else { (c, a) };
        let mut step = high - low;
        let mut step_before = step;
        while !self.is_over() {
            let middle = 0.5 * (low + high);
            if (best.0 - middle).abs() <= 2.0 * tolerance - 0.5 * (high - low) {
                break;
            }
            let before = std::mem::replace(&mut step_before, step);
            match vertex(best, second, third).map(|vertex| vertex - best.0) {
                Some(way) if way.abs() < 0.5 * before.abs() && low < best.0 + way && best.0 + way < high => {
                    step = way;
                    let place = best.0 + step;
                    if place - low < 2.0 * tolerance || high - place < 2.0 * tolerance {
                        step = tolerance.copysign(middle - best.0);
                    }
                }
                _ => {
                    step_before = if best.0 >= middle { low - best.0 } else { high - best.0 };
                    step = GOLDEN * step_before;
                }
            }
            let place = best.0 + if step.abs() >= tolerance { step } else { tolerance.copysign(step) };
            let found = (place, self.at(line, place)?);
            if found.1 <= best.1 {
                if found.0 >= best.0 {
                    low = best.0
                } else {
                    high = best.0
                }
                (best, second, third) = (found, best, second);
            } else {
                if found.0 < best.0 {
                    low = found.0
                } else {
                    high = found.0
                }
                if found.1 <= second.1 || second.0 == best.0 {
                    (second, third) = (found, second);
                } else if found.1 <= third.1 || third.0 == best.0 || third.0 == second.0 {
                    third = found;
                }
            }
        }
        Ok(best)
    }
}

struct Line<'a> {
    from: &'a Point,
    direction: &'a [f64],
    low: f64,
    high: f64,
}

/// Where the parabola through three places has its extremum; none where they do not lie on a proper one.
fn vertex(x: Place, w: Place, v: Place) -> Option<f64> {
    let (r, q) = ((x.0 - w.0) * (x.1 - v.1), (x.0 - v.0) * (x.1 - w.1));
    let (numerator, denominator) = ((x.0 - v.0) * q - (x.0 - w.0) * r, 2.0 * (q - r));
    let place = x.0 - numerator / denominator;
    place.is_finite().then_some(place)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn precise(bounds: (f64, f64)) -> Powell {
        Powell { bounds, step: 0.1, tolerance: 1e-6, improvement: 1e-14, rounds: 100, evaluations: 5000 }
    }

    fn minimum(powell: &Powell, start: &[f64], mut function: impl FnMut(&[f64]) -> f64) -> Point {
        powell.minimise(start.to_vec(), |x| Ok::<f64, Infallible>(function(x))).unwrap()
    }

    const OPEN: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    fn rosenbrock(x: &[f64]) -> f64 {
        100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)
    }

    #[test]
    fn a_parabola_has_its_vertex() {
        let at = |x: f64| (x, 3.0 * (x - 0.7).powi(2) - 2.0);
        assert!((vertex(at(0.0), at(1.0), at(3.0)).unwrap() - 0.7).abs() < 1e-12);
        assert_eq!(vertex((0.0, 1.0), (1.0, 2.0), (2.0, 3.0)), None);
    }

    #[test]
    fn a_quadratic_is_minimised() {
        let (matrix, centre) = ([[3.0, 1.0, 0.5], [1.0, 2.0, -0.7], [0.5, -0.7, 1.5]], [0.3, -1.1, 2.0]);
        let found = minimum(&precise(OPEN), &[0.0; 3], |x| {
            (0..3)
                .flat_map(|i| (0..3).map(move |j| (i, j)))
                .map(|(i, j)| (x[i] - centre[i]) * matrix[i][j] * (x[j] - centre[j]))
                .sum()
        });
        assert!(found.value < 1e-12, "{found:?}");
        assert!(found.at.iter().zip(centre).all(|(x, centre)| (x - centre).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn a_curved_valley_is_followed() {
        let found = minimum(&precise(OPEN), &[-1.2, 1.0], rosenbrock);
        assert!(found.value < 1e-8 && found.at.iter().all(|x| (x - 1.0).abs() < 1e-3), "{found:?}");
    }

    #[test]
    fn the_box_is_not_left() {
        for (centre, corner) in [(3.0, 2.0), (0.1, 0.2)] {
            let found = minimum(&precise((0.2, 2.0)), &[1.0, 2.0], |x| {
                assert!(x.iter().all(|x| (0.2..=2.0).contains(x)));
                x.iter().map(|x| (x - centre).powi(2)).sum()
            });
            assert!(found.at.iter().all(|x| (x - corner).abs() < 1e-4), "{found:?}");
        }
    }

    #[test]
    fn no_more_evaluations_than_allowed_and_never_worse_than_the_start() {
        for evaluations in [1, 2, 3, 5, 8, 13, 37] {
            let (mut count, mut least) = (0, f64::INFINITY);
            let powell = Powell { evaluations, ..precise(OPEN) };
            let found = minimum(&powell, &[-1.2, 1.0], |x| {
                count += 1;
                least = least.min(rosenbrock(x));
                rosenbrock(x)
            });
            assert_eq!(count, evaluations);
            assert_eq!(found.value, rosenbrock(&found.at));
            assert!(found.value <= rosenbrock(&[-1.2, 1.0]) && least <= found.value);
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_avoided_and_errors_end_it() {
        let half = |x: &[f64]| if x[0] > 1.05 { f64::NAN } else { (x[0] - 2.0).powi(2) };
        let found = minimum(&precise((0.2, 2.0)), &[1.0], half);
        assert!(found.at[0] <= 1.05 && found.at[0] > 1.04, "{found:?}");
        let mut count = 0;
        let stopped = precise(OPEN).minimise(vec![0.0], |x| {
            count += 1;
            if count == 3 { Err("enough") } else { Ok(x[0] * x[0] + x[0]) }
        });
        assert_eq!((stopped, count), (Err("enough"), 3));
    }
}
