//! A small study in a project of its own.

use std::fs;

use super::Bench;

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
