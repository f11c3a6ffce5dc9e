//! A small study in a project of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::{Bench, text};

/// Two methods, two seeds; tests change its lines.
pub const STUDY: &str = r#"
[study]
summary = "a small study"
base = "base/small.toml"
protocols = ["gdfq"]
bits = ["w4a4"]
methods = ["zeroq", "zeroq-kd"]
seeds = [1, 2]
baseline = "zeroq"

[methods.zeroq.images]
count = 8
batch = 8
iterations = 5

[methods.zeroq-kd.images]
count = 8
batch = 8
iterations = 5

[methods.zeroq-kd.distill]
epochs = 2
batch = 4
lr = 1e-3
log_every = 1
"#;

/// A project whose study `small` has that file.
pub fn bench(study: &str) -> Bench {
    let bench = Bench::new();
    let root = bench.folder.path();
    let mut base: toml::Table = fs::read_to_string(root.join("configs/small.toml")).unwrap().parse().unwrap();
    base.remove("experiment");
    base.remove("methods");
    fs::create_dir_all(root.join("configs/base")).unwrap();
    fs::write(root.join("configs/base/small.toml"), toml::to_string(&base).unwrap()).unwrap();
    fs::create_dir_all(root.join("experiments/small")).unwrap();
    fs::write(root.join("experiments/small/study.toml"), study).unwrap();
    bench
}

/// Where the study's ledger lies.
pub fn ledger(bench: &Bench) -> PathBuf {
    bench.folder.path().join("experiments/small/results.jsonl")
}

/// The ledger's rows by hash, without what differs from run to run: time. No hash stands twice.
pub fn rows(bench: &Bench) -> BTreeMap<String, serde_json::Value> {
    let mut rows = BTreeMap::new();
    for line in fs::read_to_string(ledger(bench)).unwrap_or_default().lines() {
        let Ok(mut row) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        for key in ["wall_seconds", "image_seconds"] {
            row["summary"][key] = serde_json::Value::Null;
        }
        let twice = rows.insert(row["config_sha256"].as_str().unwrap().to_owned(), row);
        assert!(twice.is_none(), "{twice:?}");
    }
    rows
}

/// Runs the study to its end, takes its rows, and puts the ledger away.
pub fn rows_of(bench: &Bench, arguments: &[&str]) -> BTreeMap<String, serde_json::Value> {
    let (code, _, stderr) = text(&bench.run(&[&["study", "small"][..], arguments].concat()));
    assert_eq!(code, Some(0), "{stderr}");
    let rows = rows(bench);
    fs::remove_file(ledger(bench)).unwrap();
    rows
}

/// Runs the study in a process of its own.
pub fn start(bench: &Bench, arguments: &[&str]) -> Child {
    let mut command = bench.command(&[&["study", "small"][..], arguments].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How the study's runs stand, of those that have begun.
pub fn statuses(bench: &Bench, results: &str) -> Vec<String> {
    let runs = bench.folder.path().join(results).join("runs/small-gdfq-w4a4");
    let folders = ["zeroq", "zeroq-kd"].iter().flat_map(|method| [1, 2].map(|seed| format!("{method}/seed-{seed}")));
    let read = |folder: String| fs::read_to_string(runs.join(folder).join("run.json")).ok();
    let status =
        |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap()["status"].as_str().unwrap().to_owned();
    folders.filter_map(read).map(status).collect()
}
