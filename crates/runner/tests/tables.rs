//! The leaderboard and what is made from it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::fs;

use common::{Bench, text};

fn works(bench: &Bench, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = text(&bench.run(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    stdout + &stderr
}

#[test]
fn finished_runs_come_onto_the_leaderboard_and_their_tables_outlive_them() {
    let bench = Bench::new();
    works(&bench, &["exp", "small", "--method", "zeroq", "--method", "real", "--out", "a"]);
    works(&bench, &["compare", "small", "--write", "--out", "a"]);
    let results = bench.folder.path().join("a");
    let page = results.join("tables/small.md");
    let compared = fs::read_to_string(&page).unwrap();
    fs::remove_file(&page).unwrap();

    let told = works(&bench, &["tables", "--out", "a"]);
    assert!(told.contains("leaderboard.csv: 2 rows") && told.contains("tables/small.md"), "{told}");
    assert_eq!(fs::read_to_string(&page).unwrap(), compared);
    let board = fs::read_to_string(results.join("leaderboard.csv")).unwrap();
    for column in ["config.quant.weight_bits", "version.burn", "device", "size_bytes", "weight_bits_mean", "drop"] {
        assert!(board.lines().next().unwrap().split(',').any(|name| name == column), "{column}: {board}");
    }

    fs::remove_dir_all(results.join("runs")).unwrap();
    works(&bench, &["tables", "--out", "a"]);
    assert_eq!(fs::read_to_string(&page).unwrap(), compared);
    assert_eq!(fs::read_to_string(results.join("leaderboard.csv")).unwrap(), board);
    works(&bench, &["tables", "--check", "--out", "a"]);
    fs::write(&page, compared.replace("synthetic", "imaginary")).unwrap();
    let (code, _, stderr) = text(&bench.run(&["tables", "--check", "--out", "a"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("tables/small.md"), "{stderr}");
}

#[test]
fn runs_with_keys_set_by_hand_are_taken_up_when_asked_for() {
    let bench = Bench::new();
    works(&bench, &["exp", "small", "--method", "zeroq", "--set", "quant.weight_bits=3", "--out", "a"]);
    let told = works(&bench, &["tables", "--out", "a"]);
    assert!(told.contains("leaderboard.csv: 0 rows") && told.contains("small+quant.weight_bits=3"), "{told}");
    let told = works(&bench, &["tables", "--import", "a/runs", "--out", "a"]);
    assert!(told.contains("leaderboard.csv: 1 rows"), "{told}");
    assert!(!bench.folder.path().join("a/tables").exists(), "it is no table of an experiment");
}

#[test]
fn results_elsewhere_leave_the_pages_of_studies_alone() {
    let bench = common::study::bench(common::study::STUDY);
    let page = bench.folder.path().join("experiments/small/README.md");
    let told = works(&bench, &["tables", "--out", "scratch"]);
    assert!(bench.folder.path().join("scratch/leaderboard.csv").is_file(), "{told}");
    assert!(!page.exists() && !told.contains("experiments"), "{told}");
    for own in [&["tables"][..], &["tables", "--out", "results"]] {
        works(&bench, own);
        assert!(page.is_file(), "{own:?}");
        fs::remove_file(&page).unwrap();
    }
}
