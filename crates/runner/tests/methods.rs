//! Every post-training method with images of every kind: noise, optimised, real.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use common::{Bench, repository, text};
use serde_json::Value;

/// The methods of the study of all of them, but for `real`: that is a source of images, of which every method gets each
/// here.
fn methods() -> Vec<String> {
    let path = repository().join("experiments/ptq-cifar10/study.toml");
    let study: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let methods = study["study"]["methods"].as_array().unwrap().iter().map(|method| method.as_str().unwrap());
    methods.filter(|method| *method != "real").map(str::to_owned).collect()
}

/// A short search for those that have one.
const SHORT: &str = r#"
[methods.adaround.fit]
adaround = { iterations = 4, batch = 4 }
[methods.brecq.fit]
brecq = { iterations = 4, batch = 4 }
activation-steps = { iterations = 4, batch = 4 }
[methods.qdrop.fit]
qdrop = { iterations = 4, batch = 4 }
[methods.pd-quant.fit]
pd-quant = { iterations = 4, batch = 4, correction.iterations = 2 }
[methods.genie-m.fit]
genie-m = { iterations = 4, batch = 4 }
[methods.admm.fit]
admm = { iterations = 4, batch = 4 }
[methods.lapq.fit]
lapq = { points = 3, evaluations = 4, images = 4 }
"#;

/// The small experiment with these methods.
fn bench(all: &[String]) -> Bench {
    let bench = Bench::new();
    let configs = bench.folder.path().join("configs");
    for method in all {
        let name = format!("methods/{method}.toml");
        std::fs::copy(repository().join("configs").join(&name), configs.join(&name)).unwrap();
    }
    let small = std::fs::read_to_string(configs.join("small.toml")).unwrap();
    let head = small.split("[methods.zeroq.images]").next().unwrap();
    let methods = r#"methods = ["zeroq", "zeroq-kd", "brecq", "real"]"#;
    assert!(head.contains(methods));
    let text = head.replace(methods, &format!("methods = {all:?}")) + SHORT;
    std::fs::write(configs.join("small.toml"), text).unwrap();
    bench
}

#[test]
fn every_method_runs_with_every_kind_of_images() {
    let methods = methods();
    let bench = bench(&methods);
    for (source, own) in [("noise", None), ("zeroq", Some("images.iterations=2")), ("real", None)] {
        let source_set = format!("images.source={source}");
        let mut arguments = vec!["exp", "small", "--out", source, "--set", &source_set, "--set", "images.count=8"];
        arguments.extend(["--set", "data.limit=20"]);
        arguments.extend(own.into_iter().flat_map(|own| ["--set", own]));
        let (code, _, errors) = text(&bench.run(&arguments));
        assert_eq!(code, Some(0), "{source}: {errors}");
        let runs = std::fs::read_dir(bench.folder.path().join(source).join("runs")).unwrap();
        let mut folders = runs.map(|entry| entry.unwrap().path());
        let experiment = folders.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("small")).unwrap();
        for method in &methods {
            let summary = experiment.join(method).join("seed-1/summary.json");
            let summary =
                std::fs::read_to_string(&summary).unwrap_or_else(|error| panic!("{source}, {method}: {error}"));
            let summary: Value = serde_json::from_str(&summary).unwrap();
            assert_eq!(summary["uses_real_data"], source == "real", "{method}");
            assert!(summary["student_top1"].as_f64().is_some_and(f64::is_finite), "{source}, {method}: {summary}");
        }
    }
}
