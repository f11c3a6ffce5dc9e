//! The source of a run's images, and another one in its place.

use anyhow::Result;
use toml::{Table, Value};

use super::merge::set_key;

/// The name of the source, where the tables have one.
pub(super) fn source_of(table: &Table) -> Option<String> {
    table.get("images")?.get("source")?.as_str().map(str::to_owned)
}

/// Whether a `--set` names a source.
pub(super) fn is_source(assignment: &str) -> bool {
    assignment.split_once('=').is_some_and(|(key, _)| key.trim() == "images.source")
}

/// Another source of images, without the keys of the one before but for their number, which all have. What else is set
/// comes after, in any order, so that `[fast]` and the other assignments are about the new source.
pub(super) fn change_source(table: &mut Table, assignment: &str) -> Result<()> {
    let before = source_of(table);
    set_key(table, assignment)?;
    let after = source_of(table);
    if after != before
        && let Some(Value::Table(images)) = table.get_mut("images")
    {
        images.retain(|key, _| key == "count" || key == "source");
    }
    Ok(())
}
