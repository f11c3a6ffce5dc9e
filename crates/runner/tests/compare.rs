//! What `blindfold compare` puts into one table, in which formats, and what it refuses to.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod fabricated;

use fabricated::{End, Results, Run};

/// Two methods, one of them with two seeds, and a run that was killed.
fn results() -> Results {
    let results = Results::new();
    results.add(&Run::new("w4", "kd", 1).top1(&[70.0, 81.5, 80.0]), End::Completed(80.0));
    results.add(&Run::new("w4", "kd", 2).top1(&[70.0, 81.0, 82.0]), End::Completed(82.0));
    results.add(&Run::new("w4", "real", 1).top1(&[90.0]), End::Completed(90.0));
    results.add(&Run::new("w4", "kd", 3).top1(&[10.0]), End::Killed);
    results
}

fn csv(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn the_usual_columns_come_in_every_format() {
    let results = results();
    let (code, stdout, stderr) = results.blindfold(&["compare", "w4"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("| kd | synthetic | 2 | 96.00 | 81.00 ± 1.41 |") && stdout.contains("| real† |"),
        "{stdout}"
    );
    assert!(stderr.contains("left out") && stderr.contains("seed-3"), "{stderr}");
    let rows = csv(&results.works(&["compare", "w4", "--format", "csv"]));
    let at = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    assert_eq!((rows.len(), rows[1].len()), (3, rows[0].len()), "{rows:?}");
    assert_eq!(rows[1][at("final_top1_std")], "1.4142135623730951");
    assert_eq!(
        [rows[1][at("protocol")].as_str(), &rows[1][at("bits")], &rows[2][at("data")]],
        ["gdfq", "W4A4", "real"]
    );
    let json: serde_json::Value = serde_json::from_str(&results.works(&["compare", "w4", "--format", "json"])).unwrap();
    assert_eq!(json[0]["rows"][0]["final_top1"]["std"].as_f64(), Some(2.0_f64.sqrt()));
    assert_eq!((json[0]["dataset"].as_str(), json.as_array().unwrap().len()), (Some("shapes10"), 1));
    let tex = results.works(&["compare", "w4", "--format", "tex"]);
    assert!(tex.contains("\\begin{tabular}") && tex.contains("81.00 $\\pm$ 1.41"), "{tex}");
}

#[test]
fn any_metric_is_compared_by_its_last_value() {
    let results = results();
    let metric = ["compare", "w4", "--metric", "student/agreement"];
    let text = results.works(&metric);
    assert!(text.contains("| kd | synthetic | 2 | 80.00 ± 1.41 |\n| real† | REAL† | 1 | 89.00 |"), "{text}");
    assert!(text.contains("student/agreement (%)") && text.contains("Higher is better"), "{text}");
    let rows = csv(&results.works(&[&metric[..], &["--format", "csv"]].concat()));
    let expected = ["student/agreement", "gdfq", "shapes10", "resnet20", "resnet20", "W4A4", "w4", "kd", "synthetic"];
    assert_eq!(rows[1][..9], expected);
    assert_eq!(rows[1][9..], ["1 2", "80", "1.4142135623730951", "2"]);
    let json: serde_json::Value =
        serde_json::from_str(&results.works(&[&metric[..], &["--format", "json"]].concat())).unwrap();
    assert_eq!(
        json[0]["rows"][0]["values"],
        serde_json::json!([{ "seed": 1, "value": 79.0 }, { "seed": 2, "value": 81.0 }])
    );
    assert!(results.works(&[&metric[..], &["--format", "tex"]].concat()).contains("\\toprule"));
    let text = results.refused(&["compare", "w4", "--metric", "student/top"]);
    assert!(text.contains("did you mean `student/top1`") && text.contains("\n  student/agreement"), "{text}");
}

#[test]
fn what_does_not_compare_is_refused_with_the_reason_and_split_on_demand() {
    let results = results();
    let other = |experiment: &str| Run::new(experiment, "kd", 1).top1(&[50.0]);
    results.add(&Run { protocol: "brecq".into(), ..other("w4-brecq") }, End::Completed(60.0));
    results.add(&Run { bits: "W3A3".into(), ..other("w3") }, End::Completed(70.0));
    results.add(&Run { dataset: "cifar10".into(), ..other("w4-cifar10") }, End::Completed(75.0));
    for (experiment, what, why) in [
        ("w4-brecq", "protocol: `brecq` (w4-brecq) and `gdfq` (w4)", "keep other layers at 8 bit"),
        ("w3", "bits: `W3A3` (w3) and `W4A4` (w4)", "fewer bits lose more"),
        ("w4-cifar10", "test set: `cifar10` (w4-cifar10) and `shapes10` (w4)", "two measures"),
    ] {
        for metric in [&[][..], &["--metric", "student/top1"]] {
            let text = results.refused(&[&["compare", "w4", experiment][..], metric].concat());
            assert!(text.contains(what) && text.contains(why) && text.contains("--split"), "{text}");
            let text = results.works(&[&["compare", "w4", experiment, "--split"][..], metric].concat());
            assert_eq!(text.matches("| method |").count(), 2, "{text}");
        }
    }
    let rows = csv(&results.works(&["compare", "w*", "--split", "--format", "csv"]));
    assert_eq!((rows.len(), rows.iter().filter(|row| row[0] == "protocol").count()), (6, 1), "{rows:?}");
}

#[test]
fn teachers_of_one_name_and_two_contents_do_not_compare() {
    let results = Results::new();
    let of = |experiment: &str, teacher: Option<&str>| Run {
        teacher_sha256: teacher.map(|digits| digits.repeat(32)),
        ..Run::new(experiment, "kd", 1).top1(&[50.0])
    };
    for run in [of("one", Some("ab")), of("two", Some("cd")), of("old", None)] {
        results.add(&run, End::Completed(50.0));
    }
    for metric in [&[][..], &["--metric", "student/top1"]] {
        let text = results.refused(&[&["compare", "one", "two"][..], metric].concat());
        assert!(text.contains("content of the teacher: `abababababab` (one) and `cdcdcdcdcdcd` (two)"), "{text}");
        let text = results.works(&[&["compare", "one", "two", "--split"][..], metric].concat());
        assert_eq!(text.matches("| method |").count(), 2, "{text}");
        let text = results.works(&[&["compare", "two", "old"][..], metric].concat());
        assert_eq!(text.matches("| method |").count(), 1, "{text}");
    }
}

#[test]
fn runs_are_named_by_experiment_folder_or_pattern_and_count_once() {
    let results = results();
    let whole = results.works(&["compare", "w4"]);
    assert_eq!(results.works(&["compare", "w4", "w4/kd", "results/runs/w4/*"]), whole);
    assert_eq!(results.works(&["compare", "results/runs/w4/kd", "*/real"]), whole);
    let one = results.works(&["compare", "w4/kd/seed-2"]);
    assert!(one.contains("| kd | synthetic | 1 | 96.00 | 82.00 |") && !one.contains("real"), "{one}");
    assert!(results.refused(&["compare", "x*"]).contains("no runs match `x*`"));
    assert!(results.refused(&["compare", "w4/kd/seed-3"]).contains("no finished run there"));
}

#[test]
fn tables_and_curves_are_still_written() {
    let results = results();
    results.works(&["compare", "w4", "--write"]);
    let table = std::fs::read_to_string(results.root.path().join("results/tables/w4.md")).unwrap();
    assert!(table.contains("| kd | synthetic | 2 |") && table.contains("do not edit"), "{table}");
    assert!(std::fs::read_to_string(results.root.path().join("results/curves/w4.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn files_are_named_after_the_experiment_whatever_part_of_it_was_named() {
    let results = results();
    results.add(&Run::new("w4+fast", "kd", 1).top1(&[60.0, 61.0]), End::Completed(61.0));
    let (code, _, stderr) = results.blindfold(&["compare", "w4+fast/kd/seed-1", "w4/kd", "w4/real", "--write"]);
    assert_eq!(code, Some(0), "{stderr}");
    let folder = results.root.path().join("results/tables");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["w4+fast.md", "w4.md"]);
    let table = std::fs::read_to_string(folder.join("w4.md")).unwrap();
    assert!(table.contains("| kd |") && table.contains("| real† |"), "{table}");
    for file in ["tables/w4.md", "tables/w4+fast.md", "curves/w4.svg"] {
        assert!(stderr.contains(file), "{stderr}");
    }
}

#[test]
fn damaged_files_and_places_that_are_no_folders_are_the_user_s_to_mend() {
    let results = results();
    let root = results.root.path();
    std::fs::write(root.join("file"), "").unwrap();
    for place in ["file", "file/below"] {
        let text = results.refused(&["compare", "w4", "--out", place]);
        assert!(text.contains("file is not a folder"), "{text}");
    }
    std::fs::write(root.join("results/leaderboard.csv"), b"method\n\xff\n").unwrap();
    let text = results.refused(&["tables"]);
    assert!(text.contains("leaderboard.csv") && text.contains("take the committed file again"), "{text}");
    std::fs::write(root.join("results/runs/w4/kd/seed-1/run.json"), "").unwrap();
    let text = results.refused(&["compare", "w4"]);
    assert!(text.contains("seed-1/run.json") && text.contains("move its folder aside"), "{text}");
}
