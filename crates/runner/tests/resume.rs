//! A run is the same run however often it is made, stopped or killed.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use blindfold::record::{Record, equal_but_time, read_history};
use common::{Bench, text};

fn history(bench: &Bench, results: &str, method: &str) -> Vec<Record> {
    read_history(&bench.folder_of(results, method).join("metrics.jsonl")).unwrap()
}

fn summary(bench: &Bench, results: &str, method: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(bench.folder_of(results, method).join("summary.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["wall_seconds", "image_seconds"] {
        value[key] = serde_json::Value::Null;
    }
    value
}

#[test]
fn two_runs_of_one_seed_are_equal_to_the_bit_and_another_seed_is_not() {
    let bench = Bench::new();
    for results in ["a", "b"] {
        let (code, _, stderr) = text(&bench.run(&["exp", "small", "--out", results]));
        assert_eq!(code, Some(0), "{stderr}");
    }
    for method in ["zeroq", "zeroq-kd", "real"] {
        let (a, b) = (history(&bench, "a", method), history(&bench, "b", method));
        assert!(!a.is_empty() && equal_but_time(&a, &b), "{method}");
        assert_eq!(summary(&bench, "a", method), summary(&bench, "b", method));
        let folder = bench.folder_of("a", method);
        for file in [
            "config.toml",
            "run.json",
            "summary.json",
            "audit.md",
            "log.txt",
            "metrics.csv",
            "overrides.txt",
            "samples",
        ] {
            assert!(folder.join(file).exists(), "{method} lacks {file}");
        }
        let events =
            std::fs::read_dir(&folder).unwrap().flatten().any(|f| f.file_name().to_string_lossy().contains("tfevents"));
        assert!(events, "{method} has no TensorBoard events");
    }
    let (code, ..) = text(&bench.run(&["exp", "small", "--method", "zeroq", "--seed", "2", "--out", "c"]));
    assert_eq!(code, Some(0));
    let other = bench.folder.path().join("c/runs/small/zeroq/seed-2/metrics.jsonl");
    assert!(!equal_but_time(&history(&bench, "a", "zeroq"), &read_history(&other).unwrap()));
}

/// Kills a run at ten points of its life, and holds its end against that of an undisturbed one.
fn killed_at_ten_points(method: &str) {
    let bench = Bench::new();
    let arguments = |results: &'static str| ["exp", "small", "--method", method, "--out", results];
    let began = Instant::now();
    let (code, _, stderr) = text(&bench.run(&arguments("whole")));
    let whole = began.elapsed();
    assert_eq!(code, Some(0), "{stderr}");
    let mut kills = 0;
    for point in 1..=10u32 {
        let mut child =
            bench.command(&arguments("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole * point / 11);
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if bench.folder_of("killed", method).join("summary.json").exists() {
            // It came to its end before the kill: the next points start over, with the images made anew as well.
            let folder = bench.folder.path().join("killed");
            std::fs::rename(&folder, bench.folder.path().join(format!("done-{point}"))).unwrap();
        }
    }
    assert!(kills >= 5, "only {kills} of ten kills met a living process");
    let (code, _, stderr) = text(&bench.run(&arguments("killed")));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(summary(&bench, "whole", method), summary(&bench, "killed", method));
    assert!(equal_but_time(&history(&bench, "whole", method), &history(&bench, "killed", method)));
}

#[test]
fn a_training_killed_at_ten_points_ends_with_the_numbers_of_an_undisturbed_one() {
    killed_at_ten_points("zeroq-kd");
}

#[test]
fn a_reconstruction_killed_at_ten_points_ends_with_the_numbers_of_an_undisturbed_one() {
    killed_at_ten_points("brecq");
}

/// An analysis of a finished run takes its fitted network from the run's checkpoint.
#[test]
fn an_analysis_does_not_fit_again() {
    let bench = Bench::new();
    let (code, _, stderr) = text(&bench.run(&["exp", "small", "--method", "brecq", "--out", "a"]));
    assert_eq!(code, Some(0), "{stderr}");
    let analyze = ["analyze", "small", "--method", "brecq", "--out", "a", "--images", "4"];
    let (code, _, stderr) = text(&bench.run(&analyze));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("brecq/1 brecq"), "{stderr}");
    let page = bench.folder_of("a", "brecq").join("analysis");
    let kept = std::fs::read_to_string(page.join("analysis.md")).unwrap();
    std::fs::remove_file(bench.folder_of("a", "brecq").join("checkpoints/fit.bin")).unwrap();
    let (code, _, stderr) = text(&bench.run(&analyze));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("brecq/1 brecq"), "{stderr}");
    assert_eq!(kept, std::fs::read_to_string(page.join("analysis.md")).unwrap(), "the same network either way");
}

#[test]
fn a_finished_run_is_not_run_again_and_another_configuration_is_refused_with_its_keys() {
    let bench = Bench::new();
    let first = bench.run(&["exp", "small", "--method", "zeroq", "--out", "a"]);
    assert_eq!(text(&first).0, Some(0));
    let before = std::fs::read(bench.folder_of("a", "zeroq").join("run.json")).unwrap();
    let (code, stdout, stderr) = text(&bench.run(&["exp", "small", "--method", "zeroq", "--out", "a"]));
    assert_eq!(code, Some(0));
    assert!(stderr.contains("is finished already") && stdout.contains("| zeroq |"), "{stdout}{stderr}");
    assert_eq!(before, std::fs::read(bench.folder_of("a", "zeroq").join("run.json")).unwrap());

    let path = bench.folder.path().join("configs/small.toml");
    let changed = std::fs::read_to_string(&path).unwrap().replace("weight_bits = 4", "weight_bits = 5");
    std::fs::write(&path, changed).unwrap();
    let (code, _, stderr) = text(&bench.run(&["exp", "small", "--method", "zeroq", "--out", "a"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("quant.weight_bits"), "{stderr}");
}
