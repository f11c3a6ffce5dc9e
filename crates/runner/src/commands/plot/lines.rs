//! A metric over steps, epochs or seconds, averaged over the seeds of a method.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::record::{Phase, Record, Stat};

/// What runs along the x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Along {
    /// Steps of the phase.
    Step,
    /// Epochs; the mean of each.
    Epoch,
    /// Seconds of the phase, averaged over the seeds step by step.
    Wall,
}

impl Along {
    /// As an axis names it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Epoch => "epoch",
            Self::Wall => "seconds",
        }
    }
}

/// A run with its records.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlottedRun {
    /// The line that it belongs to.
    pub(super) line: String,
    /// In the order of metrics.jsonl.
    pub(super) records: Vec<Record>,
}

/// A place of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    /// Over the seeds that have it.
    pub(super) value: Stat,
}

/// The mean over the runs of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    /// Runs that have values.
    pub(super) runs: usize,
    /// In ascending order of x.
    pub(super) places: Vec<Place>,
}

/// The runs' places by step or epoch.
type Merged = BTreeMap<u64, Vec<(f64, f64)>>;

/// The phase in which most values of the tag lie; the earlier one of two that are even.
pub(super) fn phase_of(runs: &[PlottedRun], tag: &str) -> Option<Phase> {
    let mut counts: BTreeMap<Phase, usize> = BTreeMap::new();
    for record in runs.iter().flat_map(|run| &run.records).filter(|record| record.values.contains_key(tag)) {
        *counts.entry(record.phase).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(phase, _)| phase)
}

/// A line for each name, in the order of the first run of each; values that are not finite are left out. Each run is
/// smoothed by itself: a value becomes the mean of itself and the `smooth - 1` before it. Along seconds, only steps
/// that all runs of a line have are averaged.
pub(super) fn lines(runs: &[PlottedRun], phase: Phase, tag: &str, along: Along, smooth: usize) -> Vec<Line> {
    let mut lines: Vec<(Line, Merged)> = Vec::new();
    for run in runs {
        let values = smoothed(values(&run.records, phase, tag, along), smooth);
        if values.is_empty() {
            continue;
        }
        let at = lines.iter().position(|(line, _)| line.name == run.line).unwrap_or_else(|| {
            lines.push((Line { name: run.line.clone(), runs: 0, places: Vec::new() }, Merged::new()));
            lines.len() - 1
        });
        let (line, merged) = &mut lines[at];
        line.runs += 1;
        for (key, x, value) in values {
            merged.entry(key).or_default().push((x, value));
        }
    }
    let averaged = |(line, merged): (Line, Merged)| {
        // A mean of seconds over other seeds than the step before would go back in time.
        let whole = |values: &Vec<(f64, f64)>| along != Along::Wall || values.len() == line.runs;
        let place = |values: Vec<(f64, f64)>| {
            let x = mean(values.iter().map(|(x, _)| *x));
            Some(Place { x, value: Stat::of(values.into_iter().map(|(_, value)| value))? })
        };
        let mut places: Vec<Place> = merged.into_values().filter(whole).filter_map(place).collect();
        places.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { places, ..line }
    };
    lines.into_iter().map(averaged).collect()
}

/// By step or epoch: where it lies, and its value there.
fn values(records: &[Record], phase: Phase, tag: &str, along: Along) -> Vec<(u64, f64, f64)> {
    let mut by_key = Merged::new();
    for record in records.iter().filter(|record| record.phase == phase) {
        let Some(value) = record.values.get(tag).copied().filter(|value| value.is_finite()) else { continue };
        let place = match along {
            Along::Step => Some((record.step, record.step as f64)),
            Along::Epoch => record.epoch.map(|epoch| (epoch, epoch as f64)),
            Along::Wall => Some((record.step, record.wall)),
        };
        if let Some((key, x)) = place {
            by_key.entry(key).or_default().push((x, value));
        }
    }
    let one = |(key, found): (u64, Vec<(f64, f64)>)| {
        (key, mean(found.iter().map(|(x, _)| *x)), mean(found.iter().map(|(_, value)| *value)))
    };
    by_key.into_iter().map(one).collect()
}

fn smoothed(values: Vec<(u64, f64, f64)>, window: usize) -> Vec<(u64, f64, f64)> {
    let at = |index: usize| {
        let (key, x, _) = values[index];
        let recent = &values[(index + 1).saturating_sub(window.max(1))..=index];
        (key, x, mean(recent.iter().map(|(_, _, value)| *value)))
    };
    (0..values.len()).map(at).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value a step, two steps an epoch, steps of `pace` seconds.
    fn run(line: &str, pace: f64, values: &[f64]) -> PlottedRun {
        let record = |(step, value): (usize, &f64)| {
            Record::new(Phase::Distill, step as u64, step as f64 * pace)
                .at_epoch(step as u64 / 2)
                .with("loss/kl", *value)
        };
        PlottedRun { line: line.into(), records: values.iter().enumerate().map(record).collect() }
    }

    fn found(runs: &[PlottedRun], along: Along, smooth: usize) -> Vec<Vec<(f64, f64)>> {
        let lines = lines(runs, Phase::Distill, "loss/kl", along, smooth);
        lines.iter().map(|line| line.places.iter().map(|place| (place.x, place.value.mean)).collect()).collect()
    }

    #[test]
    fn seeds_are_averaged_along_steps_epochs_and_seconds() {
        let runs = [run("kd", 1.0, &[1.0, 2.0, 3.0, 4.0]), run("kd", 3.0, &[3.0, 4.0, 5.0, f64::NAN])];
        assert_eq!(found(&runs, Along::Step, 1), [[(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (3.0, 4.0)]]);
        assert_eq!(found(&runs, Along::Epoch, 1), [[(0.0, 2.5), (1.0, 4.25)]]);
        assert_eq!(found(&runs, Along::Wall, 1), [[(0.0, 2.0), (2.0, 3.0), (4.0, 4.0)]]);
        let line = &lines(&runs, Phase::Distill, "loss/kl", Along::Step, 1)[0];
        assert_eq!((line.runs, line.places[0].value.std, line.places[3].value.n), (2, Some(2.0_f64.sqrt()), 1));
    }

    #[test]
    fn smoothing_takes_the_mean_of_the_values_so_far() {
        let runs = [run("kd", 1.0, &[1.0, 3.0, 5.0, 7.0])];
        assert_eq!(found(&runs, Along::Step, 3), [[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 5.0)]]);
    }

    #[test]
    fn names_have_lines_of_their_own_and_runs_without_values_none() {
        let runs = [run("b", 1.0, &[1.0]), run("a", 1.0, &[2.0]), run("c", 1.0, &[f64::NAN])];
        assert_eq!(found(&runs, Along::Step, 1), [[(0.0, 1.0)], [(0.0, 2.0)]]);
        assert_eq!(lines(&runs, Phase::Eval, "loss/kl", Along::Step, 1), []);
    }

    #[test]
    fn the_phase_with_most_values_is_drawn() {
        let mut one = run("kd", 1.0, &[1.0, 2.0]);
        assert_eq!(phase_of(&[one.clone()], "loss/kl"), Some(Phase::Distill));
        one.records.extend((0..3).map(|step| Record::new(Phase::Synth, step, 0.0).with("loss/kl", 1.0)));
        assert_eq!(phase_of(&[one.clone()], "loss/kl"), Some(Phase::Synth));
        assert_eq!(phase_of(&[one], "loss/ce"), None);
    }
}
