//! What a user types, and what the program answers.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::process::Command;

use common::{Bench, repository, text};

fn blindfold(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_blindfold"))
        .args(arguments)
        .current_dir(repository())
        .env("BLINDFOLD_DATA", "/nonexistent/blindfold-data")
        .env_remove("BLINDFOLD_ROOT")
        .output()
        .unwrap();
    text(&output)
}

#[test]
fn wrong_input_ends_with_2_and_says_what_to_do() {
    for (arguments, words) in [
        (vec!["exp", "cifar10-w4a9"], "did you mean `cifar10-w4a4`"),
        (vec!["exp", "shapes10-w4a8", "--method", "zerog"], "did you mean `zeroq`"),
        (vec!["exp", "shapes10-w4a8", "--set", "quant.weight_bits=9", "--dry-run"], "weight_bits"),
        (vec!["exp", "shapes10-w4a8", "--set", "quant.weigth_bits=4", "--dry-run"], "did you mean `weight_bits`?"),
        (vec!["exp", "shapes10-w4a8", "--set", "images.iterationss=4", "--method", "zeroq"], "iterationss"),
        (vec!["exp", "shapes10-w4a8", "--set", "nonsense", "--dry-run"], "write key=value"),
        (vec!["exp", "shapes10-w4a8", "--set", "images.source=zeroqq", "--dry-run"], "did you mean `zeroq`?"),
        (vec!["config", "shapes10-w4a8", "--set", "images.count=-5"], "count"),
        (vec!["exp", "shapes10-w4a8", "--method", "noise", "--method", "noise", "--dry-run"], "`noise` twice"),
        (vec!["exp", "shapes10-w4a8", "--seeds", "1,2,1", "--dry-run"], "`1` twice"),
        (vec!["exp", "shapes10-w4a8", "--seeds", "3..1"], "both ends included"),
        (vec!["exp", "shapes10-w4a8", "--device", "cuda"], "there is no device `cuda`"),
        (vec!["describe", "loss", "kll"], "did you mean `kl`"),
        (vec!["list", "losses", "--markdown"], "write `list methods --markdown`"),
        (vec!["teacher", "verify", "resnet20-cifar11"], "did you mean `resnet20-cifar10"),
        (vec!["data", "verify", "cifar10"], "blindfold data fetch cifar10"),
        (vec!["exp", "cifar10-w8a8"], "blindfold teacher fetch resnet20-cifar10"),
        (vec!["compare", "no-such-runs"], "blindfold exp no-such-runs"),
        (vec!["tables", "--import", "/nonexistent"], "there is no such folder"),
        (vec!["nonsense"], "unrecognized subcommand"),
        (vec!["exp", "shapes10-w4a8", "--set", "evaluation.every=0"], "`evaluation.every`: 0 is not valid"),
        (vec!["exp", "shapes10-w4a8", "--set", "data.limit=0"], "`data.limit`: 0 is not valid"),
        (vec!["exp", "shapes10-w4a8", "--set", "quant.weight.quantizer=foo"], "there is no quantizer `foo`"),
        (vec!["exp", "shapes10-w4a8", "--method", "zeroq-kd", "--set", "distill.batch=9999"], "`distill.batch`: 9999"),
        (
            vec!["exp", "shapes10-w4a8", "--set", "evaluation.held_out={ source = 'real' }"],
            "held-out images are synthetic",
        ),
        (
            vec!["exp", "shapes10-w4a8", "--set", "images={ source = 'out-of-domain' }"],
            "`images.data.name`: `shapes10` is the experiment's own data set",
        ),
        (
            vec![
                "exp",
                "shapes10-w4a8",
                "--method",
                "zeroq",
                "--set",
                "images={ source = 'out-of-domain', data = { name = 'cifar100' } }",
            ],
            "blindfold data fetch cifar100",
        ),
        (
            vec!["exp", "shapes10-w4a8", "--method", "zeroq-kd", "--set", "distill.augmentation=[{ kind = 'mixpu' }]"],
            "did you mean `mixup`?",
        ),
        (vec!["bench", "--repeat", "0"], "--repeat"),
        (vec!["exp", "shapes10-w4a8", "--seed", "-1"], "write a whole number, 0 or more"),
        (vec!["exp", "shapes10-w4a8", "--seeds", "-1"], "both ends included"),
        (vec!["analyze", "shapes10-w4a8", "--seed", "-1"], "write a whole number, 0 or more"),
        (vec!["config", "shapes10-w4a8", "--seed", "x"], "write a whole number, 0 or more"),
        (vec!["exp", "shapes10-w4a8", "--set", "seed=5"], "use --seed"),
        (vec!["exp", "shapes10-w4a8", "--set", "teacher.hash=00"], "`teacher.hash`"),
    ] {
        let (code, stdout, stderr) = blindfold(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn arguments_that_are_not_utf_8_panic_nowhere() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let bench = Bench::new();
    let mut command = bench.command(&["exp", "small", "--method", "zeroq", "--out"]);
    let (code, _, stderr) = text(&command.arg(OsStr::from_bytes(b"a\xff")).output().unwrap());
    assert!(code.is_some_and(|code| code <= 2) && !stderr.contains("panicked"), "{code:?}: {stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn exit_codes_hold_where_nothing_can_be_said() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blindfold"));
        command.args(arguments).current_dir(repository()).env_remove("BLINDFOLD_ROOT");
        command
    };
    let status = program(&["describe", "loss", "klx"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    for arguments in [&["config", "--schema"][..], &["list", "experiments"], &["--help"]] {
        let (code, _, stderr) = text(&program(arguments).stdout(full()).output().unwrap());
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_root_that_is_no_repository_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blindfold"));
    let (code, _, stderr) = text(&command.args(["compare", "x"]).env("BLINDFOLD_ROOT", "/nope").output().unwrap());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("BLINDFOLD_ROOT is /nope"), "{stderr}");
}

#[test]
fn every_experiment_resolves_for_every_method_and_is_named_as_its_file() {
    let (code, stdout, stderr) = blindfold(&["list", "experiments", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    assert!(rows.len() >= 8);
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert!(!row["summary"].as_str().unwrap().is_empty(), "{name}");
        for fast in [false, true] {
            let mut arguments = vec!["exp", name, "--dry-run"];
            arguments.extend(fast.then_some("--fast"));
            let (code, stdout, stderr) = blindfold(&arguments);
            assert_eq!(code, Some(0), "{name}: {stderr}");
            assert!(stdout.lines().all(|line| line.starts_with(name)), "{stdout}");
        }
    }
}

#[test]
fn lists_and_descriptions_name_what_there_is() {
    for (what, name) in [
        ("methods", "zeroq-kd"),
        ("sources", "zeroq"),
        ("losses", "attention"),
        ("quantizers", "brecq-affine"),
        ("ranges", "percentile"),
        ("architectures", "densenet-bc"),
        ("data", "shapes100"),
        ("teachers", "resnet56-cifar100"),
        ("sinks", "tensorboard"),
        ("statistics", "norm"),
        ("priors", "total-variation"),
        ("generators", "gdfq"),
        ("augmentations", "low-pass"),
    ] {
        let (code, stdout, stderr) = blindfold(&["list", what]);
        assert_eq!(code, Some(0), "{what}: {stderr}");
        assert!(stdout.lines().any(|line| line.split_whitespace().next() == Some(name)), "{what}: {stdout}");
    }
    let (_, stdout, _) = blindfold(&["describe", "augmentation", "mixup"]);
    assert!(stdout.contains("alpha = 0.2") && stdout.contains("source:"), "{stdout}");
    let (_, stdout, _) = blindfold(&["describe", "loss", "kl"]);
    assert!(stdout.contains("temperature") && stdout.contains("source:"), "{stdout}");
    let (_, stdout, _) = blindfold(&["describe", "method", "zeroq-kd"]);
    assert!(stdout.contains("difference:") && stdout.contains("[distill"), "{stdout}");
}

#[test]
fn the_resolved_configuration_is_one_that_can_be_run() {
    let bench = Bench::new();
    let (code, stdout, stderr) =
        text(&bench.run(&["config", "small", "--method", "zeroq", "--set", "quant.activation_bits=8"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("activation_bits = 8"), "{stdout}");
    let path = bench.folder.path().join("mine.toml");
    std::fs::write(&path, &stdout).unwrap();
    let (code, _, stderr) = text(&bench.run(&["exp", path.to_str().unwrap(), "--out", "mine"]));
    assert_eq!(code, Some(0), "{stderr}");
    let info = std::fs::read_to_string(bench.folder_of("mine", "zeroq").join("run.json")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    for key in ["teacher_sha256", "dataset_sha256"] {
        assert_eq!(info[key].as_str().map(str::len), Some(64), "{key}");
    }
    let written = std::fs::read_to_string(bench.folder_of("mine", "zeroq").join("config.toml")).unwrap();
    let mut written: toml::Table = written.parse().unwrap();
    // The run adds what it ran on.
    assert_eq!(written.remove("device").unwrap().as_str(), Some("flex"));
    assert_eq!(written["teacher"].as_table_mut().unwrap().remove("hash").unwrap().as_str().unwrap().len(), 64);
    assert_eq!(written, stdout.parse::<toml::Table>().unwrap());
    let (_, difference, _) =
        text(&bench.run(&["config", "small", "--method", "zeroq", "--set", "quant.weight_bits=8", "--diff", "small"]));
    assert!(difference.contains("quant.weight_bits") && difference.lines().count() == 1, "{difference}");
}

#[test]
fn without_the_test_set_an_experiment_quantizes_and_says_that_accuracy_was_not_measured() {
    let results = tempfile::tempdir().unwrap();
    let out = results.path().to_str().unwrap();
    let arguments = ["exp", "cifar100-w4a8", "--fast", "--seed", "1", "--out", out];
    let (code, stdout, stderr) = blindfold(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("not measured"), "{stdout}");
    assert!(stderr.contains("left out: real (uses real data)") && stderr.contains("left out: real-kd"), "{stderr}");
    assert!(
        stderr.contains("accuracy was not measured") && stderr.contains("blindfold data fetch cifar100"),
        "{stderr}"
    );
    let summary = results.path().join("runs/cifar100-w4a8+fast/zeroq/seed-1/summary.json");
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary).unwrap()).unwrap();
    assert!(summary["student_top1"].is_null() && summary["accuracy_measured"] == false);
    assert!(summary["agreement"].as_f64().unwrap() > 0.0 && summary["logit_mse"].as_f64().unwrap() > 0.0);
}

#[test]
fn images_of_another_data_set_are_marked_as_real_and_cost_their_calibration_alone() {
    let bench = Bench::new();
    let images = "images={ source = 'out-of-domain', count = 8, data = { name = 'shapes100' } }";
    let (code, _, stderr) = text(&bench.run(&["exp", "small", "--method", "zeroq", "--set", images, "--out", "a"]));
    assert_eq!(code, Some(0), "{stderr}");
    let summary = |results: &str| -> serde_json::Value {
        // Keys set on the command line are part of the experiment's name.
        let runs = std::fs::read_dir(bench.folder.path().join(results).join("runs")).unwrap().flatten();
        let named = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("small");
        let run = runs.map(|run| run.file_name()).find(named).unwrap();
        let path = bench.folder.path().join(results).join("runs").join(run).join("zeroq/seed-1/summary.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    assert_eq!(
        (summary("a")["uses_real_data"].as_bool(), summary("a")["image_passes"].as_u64()),
        (Some(true), Some(8))
    );
    // Eight images in five iterations; the second time they come from the cache, and cost the same.
    for cached in [false, true] {
        let mut arguments = vec!["exp", "small", "--method", "zeroq", "--out", "b"];
        arguments.extend(cached.then_some("--fresh"));
        let (code, _, stderr) = text(&bench.run(&arguments));
        let found = stderr.contains("zeroq/1 8 images of zeroq from the cache");
        assert_eq!((code, found), (Some(0), cached), "{stderr}");
        let summary = summary("b");
        assert_eq!((summary["uses_real_data"].as_bool(), summary["image_passes"].as_u64()), (Some(false), Some(48)));
    }
}

#[test]
fn the_glossary_page_is_the_program_s() {
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    assert!(
        page.contains(&blindfold::record::glossary_markdown()),
        "docs/metrics.md is old: run `blindfold list metrics > docs/metrics.md`"
    );
}

#[test]
fn every_tag_that_a_run_writes_stands_in_the_glossary() {
    let bench = Bench::new();
    assert_eq!(text(&bench.run(&["exp", "small", "--out", "a"])).0, Some(0));
    let mut tags = std::collections::BTreeSet::new();
    for method in ["zeroq", "zeroq-kd", "brecq", "real"] {
        let path = bench.folder_of("a", method).join("metrics.jsonl");
        for record in blindfold::record::read_history(&path).unwrap() {
            for tag in record.values.keys() {
                assert!(blindfold::record::describe(tag).is_some(), "{tag} of {method} is not in the glossary");
                tags.insert(tag.split('/').next().unwrap().to_owned());
            }
        }
    }
    let groups = ["fit", "loss", "lr", "perf", "quant", "student", "synth", "teacher", "train"];
    assert_eq!(tags.iter().map(String::as_str).collect::<Vec<_>>(), groups, "every kind of tag is among them");
}

#[test]
fn every_column_that_an_analysis_writes_is_explained() {
    let bench = Bench::new();
    let (code, _, stderr) = text(&bench.run(&["analyze", "small", "--method", "zeroq", "--out", "a", "--images", "4"]));
    assert_eq!(code, Some(0), "{stderr}");
    let page = std::fs::read_to_string(repository().join("docs/analysis.md")).unwrap();
    let folder = bench.folder.path().join("a/analysis/small/zeroq/seed-1");
    for file in ["layers.csv", "enable-one.csv", "disable-one.csv"] {
        let table = std::fs::read_to_string(folder.join(file)).unwrap();
        for column in table.lines().next().unwrap().split(',') {
            // MSE, relative MSE, SQNR and cosine of the three modes are explained together.
            let modes = ["weights_only_", "activations_only_", "both_"];
            let explained = modes.iter().any(|mode| column.starts_with(mode)) || page.contains(&format!("`{column}`"));
            assert!(explained, "{column} of {file} is not in docs/analysis.md");
        }
    }
}

#[test]
fn compare_prints_and_writes_the_tables_of_finished_runs() {
    let bench = Bench::new();
    assert_eq!(text(&bench.run(&["exp", "small", "--out", "a"])).0, Some(0));
    let (code, stdout, stderr) = text(&bench.run(&["compare", "small", "--out", "a", "--format", "json", "--write"]));
    assert_eq!(code, Some(0), "{stderr}");
    let tables: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(tables.as_array().unwrap().len(), 1);
    let written = std::fs::read_to_string(bench.folder.path().join("a/tables/small.md")).unwrap();
    assert!(written.contains("| zeroq-kd |") && written.contains("REAL"), "{written}");
    let curves = std::fs::read_to_string(bench.folder.path().join("a/curves/small.svg")).unwrap();
    assert!(curves.starts_with("<svg"));
}

#[test]
fn names_that_lead_out_of_the_results_are_refused() {
    let bench = Bench::new();
    let configs = bench.folder.path().join("configs");
    let own = std::fs::read_to_string(configs.join("small.toml")).unwrap();
    let (code, resolved, stderr) = text(&bench.run(&["config", "small", "--method", "zeroq"]));
    assert_eq!(code, Some(0), "{stderr}");
    for (file, old, new, words) in [
        (&own, "name = \"small\"", "name = \"../../evil\"", "`experiment.name`: \"../../evil\" is no name of a folder"),
        (&own, "name = \"small\"", "name = \"\"", "`experiment.name`: \"\" is no name of a folder"),
        (&own, "name = \"small\"", "name = \".\"", "`experiment.name`: \".\" is no name of a folder"),
        (&resolved, "name = \"zeroq\"", "name = \"../../evil\"", "`method.name`: \"../../evil\" is not valid"),
    ] {
        assert!(file.contains(old), "{file}");
        let path = configs.join("evil.toml");
        std::fs::write(&path, file.replacen(old, new, 1)).unwrap();
        let (code, _, stderr) = text(&bench.run(&["exp", path.to_str().unwrap(), "--dry-run"]));
        assert_eq!(code, Some(2), "{new}: {stderr}");
        assert!(stderr.contains(words), "{new}: {stderr}");
    }
}

#[test]
fn keys_of_the_training_are_not_set_for_methods_without_one() {
    let bench = Bench::new();
    let (one, all) =
        (["exp", "small", "--dry-run", "--method", "zeroq", "--set"], ["exp", "small", "--dry-run", "--set"]);
    for arguments in [&one[..], &all[..]] {
        for key in ["distill.batch", "distill.lr"] {
            let set = format!("{key}=2");
            let (code, _, stderr) = text(&bench.run(&[arguments, &[set.as_str()]].concat()));
            assert_eq!(code, Some(2), "{set}: {stderr}");
            let words = format!(
                "`{key}`: method `zeroq` does not train (of the methods of small these do not: zeroq, brecq, real)"
            );
            assert!(stderr.contains(&words), "{stderr}");
        }
    }
    let whole = ["config", "small", "--method", "zeroq", "--set", "distill={ batch = 4 }", "--set", "distill.epochs=3"];
    let trained = ["config", "small", "--method", "zeroq-kd", "--set", "distill.epochs=3"];
    for arguments in [&whole[..], &trained[..]] {
        let (code, stdout, stderr) = text(&bench.run(arguments));
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("[distill]") && stdout.contains("epochs = 3"), "{stdout}");
    }
}

#[test]
fn the_full_budget_goes_over_what_an_experiment_sets_for_the_method() {
    let bench = Bench::new();
    let file = bench.folder.path().join("configs/small.toml");
    let small = std::fs::read_to_string(&file).unwrap();
    let images = |arguments: &[&str]| -> Vec<i64> {
        let arguments = [&["config", "small", "--method", "zeroq-kd"], arguments].concat();
        let (code, stdout, stderr) = text(&bench.run(&arguments));
        assert_eq!(code, Some(0), "{stderr}");
        let table: toml::Table = stdout.parse().unwrap();
        ["count", "iterations"].iter().map(|key| table["images"][*key].as_integer().unwrap()).collect()
    };
    let (short, full) = (images(&[]), images(&["--full"]));
    assert!(full[0] > short[0] && full[1] > short[1], "{short:?} {full:?}");
    std::fs::write(&file, small + "\n[methods.zeroq-kd.budget.full.images]\ncount = 9\n").unwrap();
    assert_eq!(images(&[]), short);
    assert_eq!(images(&["--full"]), [9, full[1]]);
    assert_eq!(images(&["--full", "--set", "images.count=11"]), [11, full[1]]);
}

#[test]
fn what_is_wrong_with_a_method_beside_an_experiment_is_said_of_its_own_file() {
    let bench = Bench::new();
    let elsewhere = bench.folder.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("methods")).unwrap();
    let experiment = elsewhere.join("small.toml");
    std::fs::copy(bench.folder.path().join("configs/small.toml"), &experiment).unwrap();
    let own = std::fs::read_to_string(bench.folder.path().join("configs/methods/zeroq.toml")).unwrap();
    let file = elsewhere.join("methods/zeroq.toml");
    std::fs::write(&file, own + "\n[budget]\nlong = 'all'\n").unwrap();
    let arguments = ["exp", experiment.to_str().unwrap(), "--method", "zeroq", "--dry-run"];
    let (code, _, stderr) = text(&bench.run(&arguments));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains(&format!("{}: [budget]: `short` is missing", file.display())), "{stderr}");
}
