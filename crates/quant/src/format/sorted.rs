//! Values in order, so that the error of a table of levels costs one search a level.

/// The magnitudes of a group of values about a centre, ascending, with their running sums.
#[derive(Debug, Clone)]
pub(super) struct Sorted {
    values: Vec<f64>,
    sums: Vec<f64>,
    squares: f64,
}

/// Sums over the values `x` with their nearest unit levels `u`.
struct Moments {
    /// `sum x u`
    cross: f64,
    /// `sum u^2`
    power: f64,
}

impl Sorted {
    /// `|x - centre|` of each value.
    pub(super) fn magnitudes(values: &[f32], centre: f64) -> Self {
        let mut values: Vec<f64> = values.iter().map(|&x| (f64::from(x) - centre).abs()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let mut sums = Vec::with_capacity(values.len() + 1);
        let mut sum = 0.0;
        sums.push(sum);
        for value in &values {
            sum += value;
            sums.push(sum);
        }
        let squares = values.iter().map(|value| value * value).sum();
        Self { values, sums, squares }
    }

    /// The largest magnitude.
    pub(super) fn largest(&self) -> f64 {
        self.values.last().copied().unwrap_or(0.0)
    }

    /// `sum (x - scale u)^2`, `u` being the level nearest to `x / scale`.
    ///
    /// # Range
    /// Levels ascending, scale not negative.
    pub(super) fn error(&self, levels: &[f64], scale: f64) -> f64 {
        let Moments { cross, power } = self.moments(levels, scale);
        (self.squares - scale * (2.0 * cross - scale * power)).max(0.0)
    }

    /// The scale of least error while every value keeps the level that it has at `scale`: `sum x u / sum u^2`. None
    /// where all values are at level zero.
    pub(super) fn refit(&self, levels: &[f64], scale: f64) -> Option<f64> {
        let Moments { cross, power } = self.moments(levels, scale);
        (power > 0.0).then(|| cross / power)
    }

    fn moments(&self, levels: &[f64], scale: f64) -> Moments {
        let mut moments = Moments { cross: 0.0, power: 0.0 };
        let mut start = 0;
        for (place, &level) in levels.iter().enumerate() {
            let end = match levels.get(place + 1) {
                Some(next) => {
                    let border = scale * (level + next) / 2.0;
                    start + self.values[start..].partition_point(|&value| value <= border)
                }
                None => self.values.len(),
            };
            moments.cross += level * (self.sums[end] - self.sums[start]);
            moments.power += level * level * (end - start) as f64;
            start = end;
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::normal;

    #[test]
    fn error_and_refit_are_those_of_the_definition() {
        let values = normal(500);
        let sorted = Sorted::magnitudes(&values, 0.25);
        let levels = [0.0, 0.3, 1.0];
        for scale in [0.1, 0.9, 2.5] {
            let (mut error, mut cross, mut power) = (0.0, 0.0, 0.0);
            for &value in &values {
                let x = (f64::from(value) - 0.25).abs();
                let distance = |level: f64| (x - scale * level).powi(2);
                let nearest = levels.into_iter().min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
                error += distance(nearest);
                cross += x * nearest;
                power += nearest * nearest;
            }
            assert!((sorted.error(&levels, scale) / error - 1.0).abs() < 1e-9, "{scale}");
            assert!((sorted.refit(&levels, scale).unwrap() / (cross / power) - 1.0).abs() < 1e-9, "{scale}");
        }
        assert_eq!(sorted.refit(&levels, 1e9), None);
    }
}
