//! Method files: finding them, and what they say.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blindfold_zoo::near_matches;
use toml::{Table, Value};

use super::files::{names, read_table, take_table};
use super::merge::merge;
use super::run_config::MethodTable;
use crate::Usage;
use crate::project::Project;

/// Where a method's file lies, if there is one.
pub(super) fn method_path(project: &Project, method: &str) -> PathBuf {
    project.configs().join("methods").join(format!("{method}.toml"))
}

/// The tables that a method file sets.
///
/// # Errors
/// An unknown method with near matches, and what is wrong with its file.
pub fn read_method_table(project: &Project, method: &str) -> Result<Table> {
    let path = method_path(project, method);
    if !path.is_file() {
        let known = method_names(project)?;
        let near = near_matches(method, known.iter().map(String::as_str));
        let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
        let message = format!(
            "there is no method `{method}`{hint}: {} is not a file; there are: {}",
            path.display(),
            known.join(", ")
        );
        return Err(Usage(message).into());
    }
    read_table(&path)
}

/// What a method file says of the method.
///
/// # Errors
/// As [`read_method_table`].
pub fn read_method(project: &Project, method: &str) -> Result<MethodTable> {
    let table = read_method_table(project, method)?;
    let own = table.get("method").cloned().unwrap_or(Value::Table(Table::new()));
    own.try_into().map_err(|error: toml::de::Error| {
        Usage(format!("configs/methods/{method}.toml: [method]: {}", error.to_string().trim())).into()
    })
}

/// The names of all method files.
///
/// # Errors
/// When the folder cannot be listed.
pub fn method_names(project: &Project) -> Result<Vec<String>> {
    names(&project.configs().join("methods"))
}

/// A method's table for one of its two budgets: `[budget]` holds `short`, what share of the paper's the file's own sizes
/// are, and `[budget.full]`, the keys with which it is the paper's.
pub(super) fn with_budget(mut method: Table, path: &Path, full: bool) -> Result<Table> {
    let wrong = |what: String| Usage(format!("{}: [budget]: {what}", path.display()));
    let mut budget = take_table(&mut method, "budget").map_err(|error| wrong(error.to_string()))?;
    let short = match budget.remove("short") {
        None if budget.is_empty() => None,
        Some(Value::String(share)) => Some(format!("short: {share}")),
        _ => {
            return Err(
                wrong("`short` is missing: say what share of the paper's budget the file has".to_owned()).into()
            );
        }
    };
    let sizes = take_table(&mut budget, "full").map_err(|error| wrong(error.to_string()))?;
    if let Some(stranger) = budget.keys().next() {
        return Err(wrong(format!("`{stranger}` is no key of it: write `short` and [budget.full]")).into());
    }
    let which = match (full, short) {
        (true, Some(_)) => {
            merge(&mut method, sizes);
            Some("full".to_owned())
        }
        (_, short) => short,
    };
    if let (Some(which), Some(Value::Table(head))) = (which, method.get_mut("method")) {
        head.insert("budget".to_owned(), Value::String(which));
    }
    Ok(method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Experiment, Wishes, experiment_names};

    /// Fitting steps that learn by gradient, one unit of the network after another.
    const RECONSTRUCTIONS: [&str; 7] =
        ["adaround", "brecq", "activation-steps", "qdrop", "pd-quant", "genie-m", "admm"];

    #[test]
    fn a_short_budget_says_what_share_it_is_and_no_reconstruction_is_without() {
        let project = Project::find(None).unwrap();
        for name in method_names(&project).unwrap() {
            let table = read_method_table(&project, &name).unwrap();
            let steps = table.get("fit").and_then(|fit| fit.get("steps")).and_then(Value::as_array);
            let reconstructs = |step: &Value| step.as_str().is_some_and(|step| RECONSTRUCTIONS.contains(&step));
            let Some(budget) = table.get("budget") else {
                assert!(!steps.into_iter().flatten().any(reconstructs), "{name} has no [budget]");
                continue;
            };
            let short = budget["short"].as_str().unwrap();
            let is_share = short.split_once(" % ").is_some_and(|(share, _)| share.parse::<f64>().is_ok());
            let says_less = short.split_whitespace().any(|word| ["fewer", "less"].contains(&word));
            assert!(is_share || says_less, "{name}: begin with a share, such as \"5 % of\": {short}");
            let full = budget.get("full").and_then(Value::as_table);
            assert!(full.is_some_and(|full| !full.is_empty()), "{name}: [budget.full] has no keys");
        }
    }

    #[test]
    fn an_experiment_may_have_a_table_for_a_method_that_it_does_not_name() {
        let project = Project::find(None).unwrap();
        let target = |name: &str, full: bool| {
            let experiment = Experiment::read(&project, name).unwrap();
            assert!(!experiment.methods().iter().any(|method| method == "intraq"));
            let wishes = Wishes { full, ..Wishes::default() };
            let images = experiment.resolve(&project, "intraq", 1, wishes).unwrap().images;
            images.table.get("target").and_then(Value::as_float)
        };
        for full in [false, true] {
            assert_eq!(target("cifar100-w4a4", full), Some(0.6), "the source's for CIFAR-100");
            assert_eq!(target("cifar10-w4a4", full), None, "the plugin's own");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.toml");
        let text = "[experiment]\nname = 'small'\nmethods = ['zeroq']\n[methods.my-own.images]\ncount = 8";
        std::fs::write(&path, text).unwrap();
        let read = || Experiment::read(&project, path.to_str().unwrap());
        let chain = format!("{:#}", read().unwrap_err());
        assert!(chain.ends_with("`methods.my-own`: `experiment.methods` does not name it"), "{chain}");
        std::fs::create_dir(folder.path().join("methods")).unwrap();
        std::fs::write(folder.path().join("methods/my-own.toml"), "").unwrap();
        assert!(read().is_ok());
    }

    #[test]
    fn the_constants_of_the_sources_for_cifar_100_are_in_all_of_its_experiments() {
        let project = Project::find(None).unwrap();
        let tables = |path: PathBuf| take_table(&mut read_table(&path).unwrap(), "methods").unwrap();
        let study = tables(project.root().join("experiments/cifar100-resnet20/study.toml"));
        let names = experiment_names(&project).unwrap();
        let mut compared = 0;
        for name in names.iter().filter(|name| name.starts_with("cifar100-")) {
            let own = tables(project.configs().join(format!("{name}.toml")));
            for method in ["intraq", "hast", "qimera", "qimera-ait"] {
                assert_eq!(own[method], study[method], "{name} / {method}");
                compared += 1;
            }
        }
        assert!(compared >= 16, "{compared}");
    }
}
