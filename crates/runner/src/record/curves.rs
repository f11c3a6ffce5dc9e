//! A metric over time, averaged over seeds.

use std::collections::BTreeMap;

use super::line::{Phase, Record};
use super::stat::Stat;

/// The metric at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The step.
    pub step: u64,
    /// Over the seeds that have this step.
    pub value: Stat,
}

/// A metric of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The method.
    pub name: String,
    /// Runs that it was averaged over.
    pub runs: usize,
    /// In ascending order of steps.
    pub points: Vec<Point>,
}

/// The curve of `tag` in `phase` for each method, in the order in which methods are given first: mean and deviation over the
/// runs of a method that have a finite value at a step. Methods without any are left out.
pub fn curves(runs: &[(&str, &[Record])], phase: Phase, tag: &str) -> Vec<Curve> {
    let mut methods: Vec<Collected<'_>> = Vec::new();
    for (method, records) in runs {
        let values: Vec<(u64, f64)> = records
            .iter()
            .filter(|record| record.phase == phase)
            .filter_map(|record| Some((record.step, *record.values.get(tag)?)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        if values.is_empty() {
            continue;
        }
        let at = methods.iter().position(|known| known.name == *method).unwrap_or_else(|| {
            methods.push(Collected { name: method, runs: 0, values: BTreeMap::new() });
            methods.len() - 1
        });
        methods[at].runs += 1;
        for (step, value) in values {
            methods[at].values.entry(step).or_default().push(value);
        }
    }
    methods.into_iter().map(Collected::averaged).collect()
}

/// The values of a method by step, one for each run that has it.
struct Collected<'a> {
    name: &'a str,
    runs: usize,
    values: BTreeMap<u64, Vec<f64>>,
}

impl Collected<'_> {
    fn averaged(self) -> Curve {
        let point = |(step, values): (u64, Vec<f64>)| Some(Point { step, value: Stat::of(values)? });
        Curve {
            name: self.name.to_owned(),
            runs: self.runs,
            points: self.values.into_iter().filter_map(point).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f64]) -> Vec<Record> {
        let record =
            |(step, value): (usize, &f64)| Record::new(Phase::Distill, step as u64 * 10, 0.0).with("loss/kl", *value);
        values.iter().enumerate().map(record).collect()
    }

    #[test]
    fn seeds_are_averaged_step_by_step() {
        let (a, b, c) = (run(&[1.0, 2.0]), run(&[3.0, f64::NAN, 5.0]), run(&[7.0]));
        let eval = vec![Record::new(Phase::Eval, 0, 0.0).with("loss/kl", 99.0)];
        let found = curves(&[("kd", &a), ("other", &c), ("kd", &b), ("none", &eval)], Phase::Distill, "loss/kl");
        assert_eq!(
            found.iter().map(|curve| (curve.name.as_str(), curve.runs)).collect::<Vec<_>>(),
            [("kd", 2), ("other", 1)]
        );
        let points: Vec<(u64, usize, f64, Option<f64>)> =
            found[0].points.iter().map(|p| (p.step, p.value.n, p.value.mean, p.value.std)).collect();
        assert_eq!(points, [(0, 2, 2.0, Some(2.0_f64.sqrt())), (10, 1, 2.0, None), (20, 1, 5.0, None)]);
    }
}
