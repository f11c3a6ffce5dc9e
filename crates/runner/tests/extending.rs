//! What someone who adds a plugin meets: the template of a loss, `blindfold new`, completions.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;
#[path = "../templates/my_loss.rs"]
mod my_loss;

use std::path::Path;
use std::process::Command;

use blindfold_distill::{Loss, Signals};
use common::{repository, text};

/// What the template's own tests use of the crate that it is written for.
mod reference {
    use burn::tensor::Tensor;

    pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }
}

fn blindfold(root: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blindfold"));
    text(&command.args(arguments).current_dir(root).env_remove("BLINDFOLD_ROOT").output().unwrap())
}

/// A repository with nothing in it but what `new` works on.
fn bare() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let losses = root.path().join("crates/distill/src/loss");
    std::fs::create_dir_all(&losses).unwrap();
    std::fs::create_dir_all(root.path().join("configs")).unwrap();
    std::fs::copy(repository().join("crates/distill/src/loss/mod.rs"), losses.join("mod.rs")).unwrap();
    root
}

/// The template is compiled into this test, its own tests among these.
#[test]
fn the_template_is_a_plugin_as_the_suite_of_losses_asks_for() {
    let defaults = (my_loss::ENTRY.defaults)();
    assert_eq!(defaults, toml::Table::try_from(my_loss::MyLossConfig::default()).unwrap());
    let loss: Box<dyn Loss> = (my_loss::ENTRY.build)(defaults).unwrap();
    let same = burn::tensor::Tensor::<2>::from_floats([[1.0, -2.0]], &burn::tensor::Device::default());
    assert_eq!(reference::floats(loss.value(&Signals::of_logits(same.clone(), same))), [0.0]);
    let error = (my_loss::ENTRY.build)("no_such_option = 1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no_such_option"), "{error}");
}

#[test]
fn a_new_loss_is_written_and_listed_with_all_that_is_asked_of_it() {
    let root = bare();
    let (code, stdout, stderr) = blindfold(root.path(), &["new", "loss", "quartic-norm"]);
    assert_eq!(code, Some(0), "{stderr}");
    for words in ["loss/quartic_norm.rs", "distill_losses.py", "NO_DISTANCES", "kind = \"quartic-norm\""] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    let losses = root.path().join("crates/distill/src/loss");
    let file = std::fs::read_to_string(losses.join("quartic_norm.rs")).unwrap();
    let template = std::fs::read_to_string(repository().join("crates/runner/templates/my_loss.rs")).unwrap();
    let back = file.replace("QuarticNorm", "MyLoss").replace("quartic-norm", "my-loss");
    assert_eq!(back, template, "it is the template, which this test compiles, under another name");
    for section in ["/// ```text", "/// # Shapes", "/// # Range", "/// # Source"] {
        assert!(file.lines().any(|line| line == section), "there is no line `{section}`");
    }
    for code in ["pub struct QuarticNormConfig", "deny_unknown_fields, default", "name: \"quartic-norm\"", "#[test]"] {
        assert!(file.contains(code), "{code}");
    }
    let before = std::fs::read_to_string(repository().join("crates/distill/src/loss/mod.rs")).unwrap();
    let after = std::fs::read_to_string(losses.join("mod.rs")).unwrap();
    for mark in ["pub mod quartic_norm;", " quartic_norm::ENTRY"] {
        assert_eq!(after.matches(mark).count(), 1, "{mark}: {after}");
    }
    for bracket in ['{', '}', '[', ']', '(', ')'] {
        assert_eq!(after.matches(bracket).count(), before.matches(bracket).count(), "{bracket}");
    }
    assert_eq!(after.matches("::ENTRY").count(), before.matches("::ENTRY").count() + 1);
}

#[test]
fn a_name_that_is_taken_or_badly_formed_and_a_place_that_is_no_repository_are_refused() {
    let root = bare();
    std::fs::write(root.path().join("crates/distill/src/loss/lying_about.rs"), "").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(elsewhere.path().join("configs")).unwrap();
    let untouched = std::fs::read_to_string(root.path().join("crates/distill/src/loss/mod.rs")).unwrap();
    for (place, name, words) in [
        (&root, "kl", "there is a loss `kl` already"),
        (&root, "lying-about", "lying_about.rs is there already"),
        (&root, "KL2", "lower-case letters and digits"),
        (&root, "my_loss", "such as my-loss"),
        (&root, "match", "a word of Rust"),
        (&elsewhere, "quartic-norm", "docs/extending.md"),
    ] {
        let (code, _, stderr) = blindfold(place.path(), &["new", "loss", name]);
        assert_eq!(code, Some(2), "{name}: {stderr}");
        assert!(stderr.contains(words), "{name}: {stderr}");
    }
    let after = std::fs::read_to_string(root.path().join("crates/distill/src/loss/mod.rs")).unwrap();
    assert_eq!(after, untouched);
}

#[test]
fn shells_get_a_script_that_knows_the_commands_and_their_options() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef blindfold"), ("fish", "complete -c blindfold")] {
        let (code, stdout, stderr) = blindfold(&repository(), &["completions", shell]);
        assert_eq!(code, Some(0), "{stderr}");
        for words in [mark, "analyze", "dry-run"] {
            assert!(stdout.contains(words), "{shell}: {words}");
        }
    }
    let (code, _, stderr) = blindfold(&repository(), &["completions", "tcsh"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("bash") && stderr.contains("fish"), "{stderr}");
}

/// An experiment that is given by its path finds the methods that lie beside it, before those of the project.
#[test]
fn methods_beside_an_experiment_come_first() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("elsewhere");
    std::fs::create_dir_all(folder.join("methods")).unwrap();
    let own = "[method]\nname = 'zeroq'\nsummary = 'mine'\nsource = 'me'\n[images]\nsource = 'noise'\ncount = 7\n";
    std::fs::write(folder.join("methods/zeroq.toml"), own).unwrap();
    let experiment = "
        [experiment]
        name = 'mine'
        summary = 'x'
        methods = ['zeroq', 'noise']
        [teacher]
        name = 'resnet20-shapes10'
        [data]
        name = 'shapes10'
        [quant]
        weight_bits = 4
    ";
    let path = folder.join("mine.toml");
    std::fs::write(&path, experiment).unwrap();
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = blindfold(&repository(), &["config", path, "--method", "zeroq"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("count = 7") && stdout.contains("summary = \"mine\""), "{stdout}");
    let (code, stdout, stderr) = blindfold(&repository(), &["config", path, "--method", "noise"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("source = \"noise\"") && !stdout.contains("count = 7"), "{stdout}");
}

/// The configuration of docs/extending.md, as a newcomer pastes it. Its code is compiled as documentation tests.
#[test]
fn the_walks_files_are_read() {
    let page = std::fs::read_to_string(repository().join("docs/extending.md")).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [method, experiment] = blocks.as_slice() else { panic!("{} blocks of TOML", blocks.len()) };
    let walk = tempfile::tempdir().unwrap();
    let configs = walk.path().join("configs");
    std::fs::create_dir_all(configs.join("methods")).unwrap();
    std::fs::write(configs.join("methods/huber.toml"), method).unwrap();
    let clone = repository().canonicalize().unwrap();
    let experiment = experiment.replace("../../blindfold", clone.to_str().unwrap());
    std::fs::write(configs.join("mine.toml"), experiment).unwrap();
    let path = configs.join("mine.toml");
    // All but the loss itself is known to Blindfold's own program.
    let (code, _, stderr) = blindfold(&repository(), &["config", path.to_str().unwrap(), "--method", "huber"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("there is no loss `huber`"), "{stderr}");
    let known = method.replace("kind = \"huber\"\ndelta = 2.0", "kind = \"kl\"\ntemperature = 2.0");
    std::fs::write(configs.join("methods/huber.toml"), known).unwrap();
    for (method, words) in [("huber", "zeroq images, then training by Huber"), ("zeroq-kd", "temperature")] {
        let (code, stdout, stderr) = blindfold(&repository(), &["config", path.to_str().unwrap(), "--method", method]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(words) && stdout.contains("iterations = 100"), "{stdout}");
    }
    for recipe in ["new-loss NAME:", "schema:", "completions SHELL:"] {
        let recipes = std::fs::read_to_string(repository().join("justfile")).unwrap();
        assert!(recipes.lines().any(|line| line == recipe), "{recipe}");
    }
}
