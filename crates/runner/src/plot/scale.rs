//! From values to places along an axis.

use crate::axis::Axis;

/// Losses in points at which there are ticks.
const LOSSES: [f64; 13] = [-10.0, -5.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
/// Steps within a power of ten, from few ticks to many.
const STEPS: [&[f64]; 4] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]];
/// Fewest ticks of a logarithmic axis, where its steps give so many.
const FEWEST: usize = 3;
/// Share of the span that is left free at both ends.
const ROOM: f64 = 0.05;

/// How values become places: 0 at the left or lower end, 1 at the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scale {
    /// Equal distances are equal differences.
    Linear(Axis),
    /// Equal distances are equal factors; in powers of ten.
    Log { low: f64, high: f64 },
    /// Points lost, `sign(d) log2(1 + |d|)`, so that small and large ones both show; upside down: up is better.
    Loss { low: f64, high: f64 },
    /// Names at equal distances; their numbers are the values.
    Names(Vec<String>),
}

impl Scale {
    /// Of these values; `None` when none is finite.
    pub(crate) fn linear(values: impl Iterator<Item = f64>) -> Option<Self> {
        Axis::linear(values, ROOM).map(Self::Linear)
    }

    /// Of those of these values that are positive; `None` when none is.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.filter(|value| *value > 0.0).map(f64::log10))?;
        // Less than a factor of two is widened to one.
        let missing = (2.0_f64.log10() - (high - low)).max(0.0) / 2.0;
        let room = (high - low + 2.0 * missing) * ROOM + missing;
        Some(Self::Log { low: low - room, high: high + room })
    }

    /// Of these losses, and with 0 and 1 on it; `None` when none is finite.
    pub(crate) fn loss(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values)?;
        let (low, high) = (bent(low.min(0.0)), bent(high.max(1.0)));
        let room = (high - low) * ROOM;
        Some(Self::Loss { low: low - room, high: high + room })
    }

    /// Where a value lies.
    pub(crate) fn place(&self, value: f64) -> f64 {
        match self {
            Self::Linear(axis) => axis.place(value),
            Self::Log { low, high } => (value.log10() - low) / (high - low),
            Self::Loss { low, high } => 1.0 - (bent(value) - low) / (high - low),
            Self::Names(names) => (value + 0.5) / names.len().max(1) as f64,
        }
    }

    /// Values with their texts, in ascending order.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        match self {
            Self::Linear(axis) => axis.ticks(wanted).into_iter().map(|tick| (tick.value, tick.text)).collect(),
            Self::Log { low, high } => {
                let mut found = Vec::new();
                for steps in STEPS {
                    found = powers(*low, *high, steps);
                    if found.len() >= FEWEST {
                        break;
                    }
                }
                found.into_iter().map(|value| (value, super::short(value))).collect()
            }
            Self::Loss { low, high } => LOSSES
                .into_iter()
                .filter(|loss| (*low..=*high).contains(&bent(*loss)))
                .map(|loss| (loss, loss.to_string()))
                .collect(),
            Self::Names(names) => names.iter().enumerate().map(|(at, name)| (at as f64, name.clone())).collect(),
        }
    }
}

fn bent(loss: f64) -> f64 {
    (1.0 + loss.abs()).log2().copysign(loss)
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

/// Those of `steps` times powers of ten whose logarithm lies within.
fn powers(low: f64, high: f64, steps: &[f64]) -> Vec<f64> {
    let all = (low.floor() as i32..=high.ceil() as i32).flat_map(|power| steps.iter().map(move |step| (power, *step)));
    all.map(|(power, step)| step * 10f64.powi(power)).filter(|value| (low..=high).contains(&value.log10())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale) -> Vec<String> {
        scale.ticks(5).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn no_loss_is_up_and_small_ones_have_room() {
        let scale = Scale::loss([-0.1, 81.3].into_iter()).unwrap();
        assert!(scale.place(-0.1) > scale.place(0.0) && scale.place(0.0) > 0.9 && scale.place(81.3) < 0.1);
        assert!(scale.place(0.0) - scale.place(1.0) > scale.place(50.0) - scale.place(51.0));
        assert_eq!(texts(&scale), ["0", "0.5", "1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(Scale::loss([f64::NAN].into_iter()), None);
    }

    #[test]
    fn a_logarithmic_axis_has_at_least_three_ticks_where_it_can() {
        let wide = Scale::log([64.0, 32_064.0, 0.0].into_iter()).unwrap();
        assert_eq!(texts(&wide), ["100", "1000", "10k"]);
        let narrow = Scale::log([95.0, 110.0].into_iter()).unwrap();
        assert!(texts(&narrow).contains(&"100".to_owned()) && texts(&narrow).len() >= 2, "{:?}", texts(&narrow));
        let one = Scale::log([95.0].into_iter()).unwrap();
        assert!((one.place(95.0) - 0.5).abs() < 1e-12);
        assert_eq!(Scale::log([0.0, -1.0].into_iter()), None);
    }

    #[test]
    fn names_stand_at_equal_distances() {
        let scale = Scale::Names(vec!["a".into(), "b".into()]);
        assert_eq!((scale.place(0.0), scale.place(1.0)), (0.25, 0.75));
        assert_eq!(texts(&scale), ["a", "b"]);
    }
}
