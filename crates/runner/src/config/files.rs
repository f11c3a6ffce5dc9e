//! TOML files, and the tables in them.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::Usage;

/// A file's table.
///
/// # Errors
/// When it cannot be read or is no TOML.
pub(crate) fn read_table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
    text.parse::<Table>().map_err(|error| Usage(format!("{}: {}", path.display(), error.to_string().trim())).into())
}

/// A table taken out of another; an empty one where there is none.
///
/// # Errors
/// When there is something else under that key.
pub(super) fn take_table(table: &mut Table, key: &str) -> Result<Table> {
    match table.remove(key) {
        None => Ok(Table::new()),
        Some(Value::Table(inner)) => Ok(inner),
        Some(other) => Err(Usage(format!("`{key}` is {}, not a table: write [{key}]", other.type_str())).into()),
    }
}

/// The names of a folder's TOML files without their ending, sorted.
///
/// # Errors
/// When the folder cannot be listed.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
