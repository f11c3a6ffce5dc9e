//! An axis of a chart: its range, and round numbers along it.

/// Ratio of the greatest to the least value above which a logarithmic axis shows more.
const WIDE: f64 = 100.0;

/// A range of values, linear or logarithmic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

/// A value with a short text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) text: String,
}

impl Axis {
    /// From the least to the greatest of these values, with `margin` of the span at both ends, but not below 0 where no
    /// value is. `None` when none is finite.
    pub(crate) fn linear(values: impl Iterator<Item = f64>, margin: f64) -> Option<Self> {
        let (least, most) = extremes(values)?;
        let (low, high) = padded(least, most, margin)?;
        Some(Self { low: if least >= 0.0 { low.max(0.0) } else { low }, high, log: false })
    }

    /// As [`Self::linear`], but logarithmic where all values are positive and lie more than two powers of ten apart.
    pub(crate) fn suiting(values: impl Iterator<Item = f64> + Clone, margin: f64) -> Option<Self> {
        let (least, most) = extremes(values.clone())?;
        if least <= 0.0 || most / least <= WIDE {
            return Self::linear(values, margin);
        }
        let (low, high) = padded(least.log10(), most.log10(), margin)?;
        Some(Self { low, high, log: true })
    }

    /// Whether equal distances are equal factors.
    pub(crate) fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value lies: 0 at the low end, 1 at the high one.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let scaled = if self.log { value.log10() } else { value };
        (scaled - self.low) / (self.high - self.low)
    }

    /// About so many round values within the axis.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.log { self.powers(wanted) } else { multiples(self.low, self.high, wanted) }
    }

    fn powers(&self, wanted: usize) -> Vec<Tick> {
        let (first, last) = ((self.low - 1e-9).ceil() as i32, (self.high + 1e-9).floor() as i32);
        let every = ((last - first + 1) as usize).div_ceil(wanted.max(1)).max(1);
        let tick = |power: i32| {
            let value = 10f64.powi(power);
            let text = if (-3..=4).contains(&power) { value.to_string() } else { format!("1e{power}") };
            Tick { value, text }
        };
        (first..=last).step_by(every).map(tick).collect()
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((least, most)) => Some((value.min(least), value.max(most))),
    })
}

/// The range with some room; never empty, `None` where it is wider than numbers are.
fn padded(low: f64, high: f64, margin: f64) -> Option<(f64, f64)> {
    let room = match high - low {
        span if span > 0.0 => span * margin,
        _ if low == 0.0 => 1.0,
        _ => low.abs() * 0.1,
    };
    let (low, high) = (low - room, high + room);
    (high - low).is_finite().then_some((low, high))
}

/// The multiples of 1, 2 or 5 times a power of ten.
fn multiples(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= 0.999 * rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = (last - first + 1.0).clamp(0.0, 1000.0) as usize;
    let value = |index: usize| (first + index as f64) * step;
    (0..count).map(value).map(|value| Tick { value, text: label(value, step) }).collect()
}

/// Digits as the step has them; k and M for thousands and millions.
fn label(value: f64, step: f64) -> String {
    if value.abs() < step / 2.0 {
        return "0".to_owned();
    }
    match step {
        step if !(1e-4..1e9).contains(&step) => {
            let power = |number: f64| (number.abs().log10() + 1e-9).floor();
            let digits = (power(value) - power(step)).clamp(0.0, 15.0) as usize;
            format!("{value:.digits$e}")
        }
        step if step >= 1e6 => format!("{:.0}M", value / 1e6),
        step if step >= 1e3 => format!("{:.0}k", value / 1e3),
        step => {
            let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
            format!("{value:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::linear([low, high].into_iter(), 0.0).unwrap();
        axis.ticks(4).into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn ticks_are_round_and_have_the_digits_that_tell_them_apart() {
        assert_eq!(texts(0.0, 20.0), ["0", "5", "10", "15", "20"]);
        assert_eq!(texts(91.2, 91.4), ["91.20", "91.25", "91.30", "91.35", "91.40"]);
        assert_eq!(texts(-1.0, 1.0), ["-1.0", "-0.5", "0", "0.5", "1.0"]);
        assert_eq!(texts(0.0, 40_000.0), ["0", "10k", "20k", "30k", "40k"]);
        assert_eq!(texts(0.0, 4e6), ["0", "1M", "2M", "3M", "4M"]);
        assert_eq!(texts(1e-6, 2e-6), ["1.0e-6", "1.5e-6", "2.0e-6"]);
    }

    #[test]
    fn places_run_from_0_to_1() {
        let axis = Axis::linear([10.0, f64::NAN, 20.0].into_iter(), 0.1).unwrap();
        assert!((axis.place(9.0)).abs() < 1e-12 && (axis.place(21.0) - 1.0).abs() < 1e-12);
        let from_zero = Axis::linear([0.0, 10.0].into_iter(), 0.1).unwrap();
        assert_eq!(from_zero.place(0.0), 0.0);
    }

    #[test]
    fn values_far_apart_stand_on_a_logarithmic_axis() {
        let axis = Axis::suiting([1e-6, 1e-3].into_iter(), 0.0).unwrap();
        assert!(axis.is_log() && (axis.place(1e-5) - 1.0 / 3.0).abs() < 1e-9);
        let texts: Vec<String> = axis.ticks(5).into_iter().map(|tick| tick.text).collect();
        assert_eq!(texts, ["1e-6", "1e-5", "1e-4", "0.001"]);
        assert!(!Axis::suiting([0.0, 1e9].into_iter(), 0.0).unwrap().is_log());
        assert!(!Axis::suiting([1.0, 50.0].into_iter(), 0.0).unwrap().is_log());
    }

    #[test]
    fn one_value_has_an_axis_and_none_has_none() {
        let axis = Axis::linear([5.0].into_iter(), 0.05).unwrap();
        assert!((axis.place(5.0) - 0.5).abs() < 1e-12);
        assert_eq!(Axis::linear([f64::NAN, f64::INFINITY].into_iter(), 0.1), None);
        assert_eq!(Axis::linear([f64::MAX, -f64::MAX].into_iter(), 0.1), None);
    }
}
