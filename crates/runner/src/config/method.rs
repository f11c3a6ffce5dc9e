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
