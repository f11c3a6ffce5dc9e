//! Finished runs beside each other, by methods and seeds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::stat::Stat;
use super::summary::Summary;
use super::table::{Row, Table};

/// A figure from a paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Published {
    /// Points of top-1 lost against full precision.
    pub drop: f64,
    /// Paper, table, network.
    pub source: String,
}

/// Runs that cannot stand in one table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Two protocols.
    #[error(
        "{what} was run under the protocols {}: they keep other layers at 8 bit and quantize at other places, so their \
         numbers do not compare; name runs of one protocol", .protocols.join(" and ")
    )]
    MixedProtocols {
        /// Teacher and bits.
        what: String,
        /// The protocols found, each with an experiment that uses it.
        protocols: Vec<String>,
    },
    /// One seed of one method twice: it would count double.
    #[error("{experiment}/{method} seed {seed} was given twice: name each run once")]
    Duplicate {
        /// The experiment.
        experiment: String,
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
    },
    /// Runs of one method and several seeds that disagree about what they are.
    #[error("the seeds of {experiment}/{method} disagree about {about}: compare them under different experiment names")]
    Inconsistent {
        /// The experiment.
        experiment: String,
        /// The method.
        method: String,
        /// What differs.
        about: &'static str,
    },
}

/// Digits of a content that tell it from others.
const SHORT: usize = 12;

/// SHA-256 of the state of a run's teacher; one that is not known is taken to be that of the first of `runs` with a
/// teacher of its name, and is empty where none is known.
pub(crate) fn teacher_content<'a>(run: &'a Summary, runs: &[&'a Summary]) -> &'a str {
    let same = |other: &&&'a Summary| other.teacher == run.teacher;
    let first = || runs.iter().filter(same).find_map(|other| other.teacher_sha256.as_deref());
    run.teacher_sha256.as_deref().or_else(first).unwrap_or_default()
}

/// The beginning of a content, for people.
pub(crate) fn shortened(content: &str) -> &str {
    content.get(..SHORT).unwrap_or(content)
}

/// Tables of these runs: one for each test set, teacher (by name and content) and bit width; in it a row for each method (of each experiment), with
/// mean and standard deviation (n - 1) over its seeds. Data-free methods come first, otherwise rows keep the order in which
/// their runs are given. `published` is by experiment and method: a figure belongs to its experiment's teacher and bits.
///
/// # Errors
/// [`CompareError`].
pub fn compare(
    runs: &[Summary],
    published: &BTreeMap<(String, String), Published>,
) -> Result<Vec<Table>, CompareError> {
    let all: Vec<&Summary> = runs.iter().collect();
    let named = |run: &Summary| {
        let mut namesakes = all.iter().filter(|other| other.teacher == run.teacher);
        match namesakes.any(|other| teacher_content(other, &all) != teacher_content(run, &all)) {
            true => format!("`{}` (content {})", run.teacher, shortened(teacher_content(run, &all))),
            false => format!("`{}`", run.teacher),
        }
    };
    let key = |run| (teacher_content(run, &all), [&run.dataset, &run.teacher, &run.network, &run.bits]);
    grouped(runs.iter(), key).into_iter().map(|runs| table(&runs, &named(runs[0]), published)).collect()
}

/// Groups in the order of their first members.
fn grouped<'a, K: PartialEq>(
    runs: impl Iterator<Item = &'a Summary>,
    key: impl Fn(&'a Summary) -> K,
) -> Vec<Vec<&'a Summary>> {
    let mut groups: Vec<(K, Vec<&Summary>)> = Vec::new();
    for run in runs {
        let of_run = key(run);
        match groups.iter_mut().find(|(known, _)| *known == of_run) {
            Some((_, members)) => members.push(run),
            None => groups.push((of_run, vec![run])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn table(
    runs: &[&Summary],
    teacher: &str,
    published: &BTreeMap<(String, String), Published>,
) -> Result<Table, CompareError> {
    let first = runs[0];
    let mut protocols: BTreeMap<&str, &str> = BTreeMap::new();
    for run in runs {
        protocols.entry(&run.protocol).or_insert(&run.experiment);
    }
    if protocols.len() > 1 {
        return Err(CompareError::MixedProtocols {
            what: format!("{} at {}", first.teacher, first.bits),
            protocols: protocols.iter().map(|(protocol, experiment)| format!("`{protocol}` ({experiment})")).collect(),
        });
    }
    let experiments: BTreeSet<&str> = runs.iter().map(|run| run.experiment.as_str()).collect();
    let mut rows = Vec::new();
    for runs in grouped(runs.iter().copied(), |run| [&run.experiment, &run.method]) {
        let mut row = row(&runs, published)?;
        if experiments.len() > 1 {
            row.method = format!("{}/{}", row.experiment, row.method);
        }
        rows.push(row);
    }
    rows.sort_by_key(|row| row.uses_real_data);
    let experiments = experiments.into_iter().collect::<Vec<_>>().join(", ");
    let caption = format!(
        "**{experiments}**: {} on {}, teacher {teacher}, {}, protocol `{}`. Accuracies in %, mean ± std (n − 1) over n seeds.",
        first.network, first.dataset, first.bits, first.protocol
    );
    let mut notes: Vec<String> = Vec::new();
    let reasons: BTreeSet<&str> =
        runs.iter().filter(|run| !run.accuracy_measured).filter_map(|run| run.accuracy_note.as_deref()).collect();
    notes.extend(reasons.into_iter().map(|reason| format!("accuracy not measured: {reason}")));
    for (place, methods) in places(&rows) {
        notes.push(format!("agreement measured on {place}: {}", methods.join(", ")));
    }
    Ok(Table { caption, rows, notes })
}

/// Methods by what their agreement was measured on.
fn places(rows: &[Row]) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some(place) = &row.measured_on {
            places.entry(place.clone()).or_default().push(row.method.clone());
        }
    }
    places
}

fn row(runs: &[&Summary], published: &BTreeMap<(String, String), Published>) -> Result<Row, CompareError> {
    let first = runs[0];
    let (experiment, method) = (first.experiment.clone(), first.method.clone());
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.sort_unstable();
    if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CompareError::Duplicate { experiment, method, seed: pair[0] });
    }
    let disagree =
        |about| Err(CompareError::Inconsistent { experiment: experiment.clone(), method: method.clone(), about });
    if runs.iter().any(|run| run.uses_real_data != first.uses_real_data) {
        return disagree("whether real data was used");
    }
    if runs.iter().any(|run| run.measured_on != first.measured_on) {
        return disagree("what agreement was measured on");
    }
    let over = |value: fn(&Summary) -> Option<f64>| Stat::of(runs.iter().filter_map(|run| value(run)));
    Ok(Row {
        uses_real_data: first.uses_real_data,
        seeds,
        fp_top1: over(|run| run.fp_top1),
        final_top1: over(|run| run.student_top1),
        best_on_test_top1: over(|run| run.best_on_test.as_ref().and_then(|best| best.top1)),
        drop: over(|run| Some(run.fp_top1? - run.student_top1?)),
        published_drop: published.get(&(experiment.clone(), method.clone())).cloned(),
        agreement: over(|run| run.agreement),
        measured_on: first.measured_on.clone().filter(|_| first.agreement.is_some()),
        image_passes: over(|run| run.image_passes.map(|passes| passes as f64)),
        wall_seconds: over(|run| Some(run.wall_seconds)),
        experiment,
        method,
    })
}

#[cfg(test)]
mod tests {
    use super::super::summary::Best;
    use super::*;

    fn run(method: &str, seed: u64, top1: f64) -> Summary {
        let summary = Summary {
            experiment: "cifar10-w4a4".into(),
            method: method.into(),
            seed,
            teacher: "resnet20-cifar10".into(),
            network: "resnet20".into(),
            dataset: "cifar10".into(),
            protocol: "gdfq".into(),
            bits: "W4A4".into(),
            best_on_test: Some(Best::on_test(3, top1 + 0.5)),
            agreement: Some(95.0),
            image_passes: Some(1000),
            wall_seconds: 60.0 * seed as f64,
            ..Summary::default()
        };
        summary.with_accuracy([91.73, 99.0], [top1, 98.0])
    }

    fn figure(experiment: &str, drop: f64, source: &str) -> ((String, String), Published) {
        ((experiment.to_owned(), "zeroq".to_owned()), Published { drop, source: source.to_owned() })
    }

    #[test]
    fn means_and_deviations_equal_those_computed_by_hand() {
        let real = Summary { uses_real_data: true, ..run("real", 1, 88.0) };
        let runs = [real, run("zeroq", 3, 88.73), run("zeroq", 1, 86.73), run("zeroq", 2, 87.73)];
        let published = BTreeMap::from([figure("cifar10-w4a4", 14.59, "AIT, fig.")]);
        let tables = compare(&runs, &published).unwrap();
        assert_eq!(tables.len(), 1);
        let [zeroq, real] = tables[0].rows.as_slice() else { panic!() };
        assert_eq!((zeroq.method.as_str(), zeroq.seeds.as_slice()), ("zeroq", [1, 2, 3].as_slice()));
        assert!(real.uses_real_data);
        let near = |stat: Option<Stat>, mean: f64, std: Option<f64>| {
            let stat = stat.unwrap();
            assert!((stat.mean - mean).abs() < 1e-9, "{stat:?}");
            assert_eq!(stat.std.map(|std| (std * 1e9).round() / 1e9), std, "{stat:?}");
        };
        near(zeroq.final_top1, 87.73, Some(1.0));
        near(zeroq.drop, 4.0, Some(1.0));
        near(zeroq.best_on_test_top1, 88.23, Some(1.0));
        near(zeroq.wall_seconds, 120.0, Some(60.0));
        near(real.final_top1, 88.0, None);
        let text = tables[0].to_markdown();
        assert!(
            text.starts_with(
                "**cifar10-w4a4**: resnet20 on cifar10, teacher `resnet20-cifar10`, W4A4, protocol `gdfq`."
            ),
            "{text}"
        );
        let line = "| zeroq | synthetic | 3 | 91.73 | 87.73 ± 1.00 | 88.23 ± 1.00 | 4.00 ± 1.00 | 14.59 [1] | 95.00 ± 0.00 | 1000 | 2 min 00 s |";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn two_protocols_do_not_share_a_table() {
        let brecq =
            Summary { protocol: "brecq".into(), experiment: "cifar10-w4a4-brecq".into(), ..run("zeroq", 1, 85.0) };
        let error = compare(&[run("zeroq", 1, 87.0), brecq.clone()], &BTreeMap::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`brecq` (cifar10-w4a4-brecq) and `gdfq` (cifar10-w4a4)"), "{text}");
        let elsewhere = Summary { bits: "W3A3".into(), ..brecq };
        assert_eq!(compare(&[run("zeroq", 1, 87.0), elsewhere], &BTreeMap::new()).unwrap().len(), 2);
    }

    #[test]
    fn teachers_and_bits_have_tables_of_their_own_and_experiments_are_named() {
        let teacher = Summary { teacher: "resnet56-cifar10".into(), ..run("zeroq", 1, 90.0) };
        let longer = Summary { experiment: "cifar10-w4a4-long".into(), ..run("zeroq", 1, 90.0) };
        let tables = compare(&[run("zeroq", 1, 87.0), teacher, longer], &BTreeMap::new()).unwrap();
        assert_eq!(tables.len(), 2);
        let methods: Vec<&str> = tables[0].rows.iter().map(|row| row.method.as_str()).collect();
        assert_eq!(methods, ["cifar10-w4a4/zeroq", "cifar10-w4a4-long/zeroq"]);
        assert!(tables[1].caption.contains("resnet56-cifar10"));
    }

    #[test]
    fn teachers_of_one_name_and_two_contents_share_no_table() {
        let of =
            |method: &str, content: &str| Summary { teacher_sha256: Some(content.repeat(32)), ..run(method, 1, 87.0) };
        let runs = [run("old", 1, 87.0), of("zeroq", "ab"), of("zeroq", "cd"), of("noise", "cd")];
        let tables = compare(&runs, &BTreeMap::new()).unwrap();
        let methods = |table: &Table| table.rows.iter().map(|row| row.method.clone()).collect::<Vec<_>>();
        assert_eq!(tables.iter().map(methods).collect::<Vec<_>>(), [["old", "zeroq"], ["zeroq", "noise"]]);
        assert!(tables[1].caption.contains("`resnet20-cifar10` (content cdcdcdcdcdcd)"), "{}", tables[1].caption);
        let alike = compare(&runs[..2], &BTreeMap::new()).unwrap();
        assert!(alike.len() == 1 && !alike[0].caption.contains("content"));
    }

    #[test]
    fn a_published_figure_stands_beside_its_own_experiment_only() {
        let of = |experiment: &str, bits: &str| Summary {
            experiment: experiment.into(),
            bits: bits.into(),
            ..run("zeroq", 1, 87.0)
        };
        let runs = [of("w4a4", "W4A4"), of("w4a4-long", "W4A4"), of("w3a3", "W3A3")];
        let published = BTreeMap::from([figure("w3a3", 30.0, "three bits"), figure("w4a4", 14.59, "four bits")]);
        let tables = compare(&runs, &published).unwrap();
        let drops: Vec<Vec<Option<f64>>> = tables
            .iter()
            .map(|table| table.rows.iter().map(|row| row.published_drop.as_ref().map(|found| found.drop)).collect())
            .collect();
        assert_eq!(drops, [vec![Some(14.59), None], vec![Some(30.0)]]);
        assert!(!tables[0].to_markdown().contains("three bits") && tables[1].to_markdown().contains("three bits"));
    }

    #[test]
    fn a_run_given_twice_does_not_count_double() {
        let error = compare(&[run("zeroq", 1, 87.0), run("zeroq", 1, 87.0)], &BTreeMap::new()).unwrap_err();
        assert!(matches!(error, CompareError::Duplicate { seed: 1, .. }));
    }

    #[test]
    fn accuracy_that_was_not_measured_is_no_number() {
        let blind = Summary {
            best_on_test: None,
            measured_on: Some("held-out synthetic images".into()),
            ..run("zeroq", 1, 87.0)
        }
        .without_accuracy("no test set here: blindfold data fetch cifar10");
        let tables = compare(&[blind], &BTreeMap::new()).unwrap();
        assert_eq!((tables[0].rows[0].final_top1, tables[0].rows[0].drop), (None, None));
        let text = tables[0].to_markdown();
        assert!(text.contains("| not measured | not measured | – | not measured |"), "{text}");
        assert!(text.contains("- accuracy not measured: no test set here: blindfold data fetch cifar10\n"), "{text}");
        assert!(text.contains("- agreement measured on held-out synthetic images: zeroq\n"), "{text}");
    }
}
