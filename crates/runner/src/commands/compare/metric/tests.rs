use std::fs;
use std::path::Path;

use super::*;
use crate::record::Phase;
use crate::usage::is_usage;

/// A run folder with these values of `loss/kl`, one a step.
fn run(root: &Path, method: &str, seed: u64, values: &[f64]) -> (PathBuf, Summary) {
    let path = root.join(method).join(format!("seed-{seed}"));
    fs::create_dir_all(&path).unwrap();
    let line = |(step, value): (usize, &f64)| {
        Record::new(Phase::Distill, step as u64, 0.0).with("loss/kl", *value).to_line().unwrap() + "\n"
    };
    fs::write(path.join(METRICS_FILE), values.iter().enumerate().map(line).collect::<String>()).unwrap();
    let summary = Summary {
        experiment: "e".into(),
        method: method.into(),
        seed,
        uses_real_data: method.starts_with("real"),
        ..Summary::default()
    };
    (path, summary)
}

#[test]
fn the_last_value_of_each_seed_counts() {
    let root = tempfile::tempdir().unwrap();
    let runs = [
        run(root.path(), "real", 1, &[3.0]),
        run(root.path(), "kd", 1, &[9.0, 1.0]),
        run(root.path(), "kd", 2, &[9.0, 8.0, 2.0]),
        run(root.path(), "kd", 3, &[1.0, f64::NAN]),
    ];
    let tables = metric_tables(&runs, "loss/kl").unwrap();
    assert_eq!(tables.len(), 1);
    let text = tables[0].to_grid().to_markdown();
    assert!(text.contains("| kd | synthetic | 3 | 1.5 ± 0.707 (n = 2) |\n| real† | REAL† | 1 | 3 |"), "{text}");
    assert!(text.contains("loss/kl (nat)") && text.contains("Lower is better."), "{text}");
    let csv = tables[0].to_csv();
    assert!(csv.starts_with("loss/kl,,,,,,e,kd,synthetic,1 2 3,1.5,0.7071067811865476,2\n"), "{csv}");
    let columns = |line: &str| line.split(',').count();
    assert!(csv.lines().all(|line| columns(line) == columns(&MetricTable::csv_header())), "{csv}");
    let json = tables[0].to_json();
    assert_eq!(json["rows"][0]["values"][1], json!({ "seed": 2, "value": 2.0 }));
    assert!(json["rows"][0]["values"][2]["value"].is_null() && json["rows"][0]["value"]["n"] == 2);
}

#[test]
fn a_run_given_twice_and_a_tag_that_no_run_has_are_the_user_s_faults() {
    let root = tempfile::tempdir().unwrap();
    let twice = [run(root.path(), "kd", 1, &[1.0]), run(root.path(), "kd", 1, &[1.0])];
    let error = metric_tables(&twice, "loss/kl").unwrap_err();
    assert!(is_usage(&error) && error.to_string().contains("seed 1 was given twice"), "{error}");
    let error = metric_tables(&twice[..1], "loss/k1").unwrap_err();
    assert!(is_usage(&error) && error.to_string().contains("did you mean `loss/kl`"), "{error}");
}

#[test]
fn protocols_have_tables_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let (path, summary) = run(root.path(), "kd", 1, &[1.0]);
    let brecq = Summary { protocol: "brecq".into(), seed: 2, ..summary.clone() };
    assert_eq!(metric_tables(&[(path.clone(), summary), (path, brecq)], "loss/kl").unwrap().len(), 2);
}
