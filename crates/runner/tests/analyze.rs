//! What `blindfold analyze` measures, and where it puts it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::path::{Path, PathBuf};

use common::{Bench, text};

fn analysed(bench: &Bench, arguments: &[&str]) -> (serde_json::Value, PathBuf) {
    let arguments = [&["analyze", "small", "--out", "a", "--json"][..], arguments].concat();
    let (code, stdout, stderr) = text(&bench.run(&arguments));
    assert_eq!(code, Some(0), "{stderr}");
    let value: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let folder = bench.folder.path().join(value["folder"].as_str().unwrap());
    (value, folder)
}

fn pictures(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("histograms")).unwrap().count()
}

#[test]
fn without_a_run_the_page_lies_apart_and_everything_is_on_it() {
    let bench = Bench::new();
    let (value, folder) = analysed(&bench, &["--method", "zeroq", "--images", "6"]);
    assert!(folder.ends_with("a/analysis/small/zeroq/seed-1"), "{}", folder.display());
    assert!(!bench.folder_of("a", "zeroq").exists());
    assert_eq!((value["images"].as_u64(), value["subject"].as_str()), (Some(6), Some("the calibrated network")));
    // ResNet-8: eight weights and seven ReLUs.
    let rows = value["ablation"]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), pictures(&folder)), (15, 15));
    let both = &value["ablation"]["both"];
    assert!(both["kl"].as_f64().unwrap() > 0.0 && both["mse"].as_f64().unwrap() > 0.0);
    let logits = value["layers"].as_array().unwrap().last().unwrap();
    let (last, whole) = (logits["output"]["both"]["mse"].as_f64().unwrap(), both["mse"].as_f64().unwrap());
    assert!((last - whole).abs() < 1e-6 * whole, "{last} {whole}");
    let page = std::fs::read_to_string(folder.join("analysis.md")).unwrap();
    assert!(page.contains(value["verdict"]["sentence"].as_str().unwrap()), "{page}");
    for (file, lines) in [
        ("layers.csv", 16),
        ("enable-one.csv", 16),
        ("disable-one.csv", 16),
        ("weights.csv", 9),
        ("activations.csv", 8),
    ] {
        assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap().lines().count(), lines, "{file}");
    }
    let activations = std::fs::read_to_string(folder.join("activations.md")).unwrap();
    let outputs = rows.iter().filter(|row| row["role"] == "output").map(|row| row["layer"].as_str().unwrap());
    let sites: Vec<&str> = outputs.collect();
    let shown = activations.lines().filter(|line| line.starts_with('|')).skip(2);
    let shown: Vec<&str> = shown.filter_map(|line| line.split(" | ").next()?.strip_prefix("| ")).collect();
    assert_eq!((shown, sites.len()), (sites, 7), "{activations}");
    assert!(page.contains("activations.md"), "{page}");
    assert!(std::fs::read_to_string(folder.join("overview.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn of_a_finished_run_the_trained_student_is_analysed_in_its_folder() {
    let bench = Bench::new();
    let (before, apart) = analysed(&bench, &["--method", "zeroq-kd"]);
    assert!(before["subject"].as_str().unwrap().contains("before its training"), "{}", before["subject"]);
    let (code, _, stderr) = text(&bench.run(&["exp", "small", "--method", "zeroq-kd", "--out", "a"]));
    assert_eq!(code, Some(0), "{stderr}");
    let (after, folder) = analysed(&bench, &["--method", "zeroq-kd"]);
    assert_eq!(
        folder.canonicalize().unwrap(),
        bench.folder_of("a", "zeroq-kd").canonicalize().unwrap().join("analysis")
    );
    assert_eq!(after["subject"].as_str(), Some("the trained network of the finished run"));
    assert_ne!(after["ablation"]["both"], before["ablation"]["both"]);
    assert!(apart.join("analysis.md").is_file() && folder.join("analysis.md").is_file());

    let (other, elsewhere) = analysed(&bench, &["--method", "zeroq-kd", "--set", "quant.activation_bits=8"]);
    assert!(elsewhere.ends_with("a/analysis/small+quant.activation_bits=8/zeroq-kd/seed-1"), "{}", elsewhere.display());
    assert_eq!(other["bits"].as_str(), Some("W4A8"));
}

#[test]
fn the_terminal_shows_the_verdict_and_wrong_input_ends_with_2() {
    let bench = Bench::new();
    let (code, stdout, stderr) = text(&bench.run(&["analyze", "small", "--out", "a"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("KL in nats") && stdout.contains("in floating point gains"), "{stdout}");
    assert!(stdout.trim_end().ends_with("analysis.md"), "{stdout}");
    for (arguments, words) in [
        (vec!["analyze", "small", "--images", "0"], "--images 0: write at least 1"),
        (vec!["analyze", "smal"], "did you mean `small`"),
        (vec!["analyze", "small", "--method", "zerog"], "did you mean `zeroq`"),
    ] {
        let (code, stdout, stderr) = text(&bench.run(&arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}
