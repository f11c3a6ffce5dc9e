//! What all plugin families share: an entry a member, an explicit table a family, clear errors.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::names::{near_matches, with_hint};

/// A fault in what the user wrote: what, where, what was found, what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value outside what its key allows.
    #[error("`{key}`: {found} is not valid: {fix}")]
    Invalid {
        /// Path of the key within its table.
        key: String,
        /// What was found.
        found: String,
        /// What to write instead.
        fix: String,
    },
    /// The table does not have the expected form; the text is the TOML parser's.
    #[error("{0}")]
    Parse(String),
    /// A name that no member of the family has.
    #[error("there is no {family} `{name}`{}; there are: {}", hint(.candidates), .known.join(", "))]
    UnknownName {
        /// The family's name, such as `loss`.
        family: &'static str,
        /// What was asked for.
        name: String,
        /// Names that look alike, best first.
        candidates: Vec<String>,
        /// All names of the family.
        known: Vec<String>,
    },
    /// Two entries of one family share a name.
    #[error("two {family} plugins are called `{name}`: rename one of them")]
    Duplicate {
        /// The family's name.
        family: &'static str,
        /// The name that stands twice.
        name: String,
    },
}

fn hint(candidates: &[String]) -> String {
    match candidates {
        [] => String::new(),
        [best, ..] => format!(" (did you mean `{best}`?)"),
    }
}

impl ConfigError {
    /// A value outside what its key allows.
    pub fn invalid(key: &str, found: impl Display, fix: impl Display) -> Self {
        Self::Invalid { key: key.to_owned(), found: found.to_string(), fix: fix.to_string() }
    }

    /// The same error with `prefix.` before its key, for a table that stands within another.
    pub fn within(self, prefix: &str) -> Self {
        match self {
            Self::Invalid { key, found, fix } => Self::Invalid { key: format!("{prefix}.{key}"), found, fix },
            Self::Parse(text) => Self::Parse(format!("in `{prefix}`: {text}")),
            other => other,
        }
    }
}

/// A member of a plugin family: what `list` and `describe` show, and how to build it from its own TOML table.
pub struct Entry<T: ?Sized> {
    /// Kebab-case, as TOML says it.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from: authors, title, venue, equation.
    pub source: &'static str,
    /// All keys with their defaults.
    pub defaults: fn() -> toml::Table,
    /// Builds it from its own table; keys that are absent take their defaults, unknown keys are errors.
    pub build: fn(toml::Table) -> Result<Box<T>, ConfigError>,
}

impl<T: ?Sized> Clone for Entry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Entry<T> {}

impl<T: ?Sized> std::fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All members of one plugin family, in the order in which they were registered.
pub struct Family<T: ?Sized + 'static> {
    name: &'static str,
    entries: Vec<Entry<T>>,
}

impl<T: ?Sized + 'static> Clone for Family<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, entries: self.entries.clone() }
    }
}

impl<T: ?Sized + 'static> std::fmt::Debug for Family<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family").field("name", &self.name).field("entries", &self.entries).finish()
    }
}

impl<T: ?Sized + 'static> Family<T> {
    /// A family of these entries.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when two entries share a name.
    pub fn new(name: &'static str, entries: &[Entry<T>]) -> Result<Self, ConfigError> {
        entries.iter().try_fold(Self { name, entries: Vec::new() }, |family, entry| family.with(*entry))
    }

    /// The same family with one more member.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with(mut self, entry: Entry<T>) -> Result<Self, ConfigError> {
        if self.entries.iter().any(|known| known.name == entry.name) {
            return Err(ConfigError::Duplicate { family: self.name, name: entry.name.to_owned() });
        }
        self.entries.push(entry);
        Ok(self)
    }

    /// The family's name, such as `loss`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// All members.
    pub fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// The member of that name.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with near matches.
    pub fn get(&self, name: &str) -> Result<&Entry<T>, ConfigError> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let known: Vec<String> = self.entries.iter().map(|entry| entry.name.to_owned()).collect();
            let candidates = near_matches(name, known.iter().map(String::as_str));
            ConfigError::UnknownName { family: self.name, name: name.to_owned(), candidates, known }
        })
    }

    /// Builds the member of that name from its own table.
    ///
    /// # Errors
    /// As [`Self::get`] and the member's own build.
    pub fn build(&self, name: &str, table: toml::Table) -> Result<Box<T>, ConfigError> {
        (self.get(name)?.build)(table).map_err(|error| error.within(name))
    }
}

/// Reads a plugin's own table into its config struct.
///
/// # Errors
/// [`ConfigError::Parse`] with the TOML parser's words.
pub fn parse<C: DeserializeOwned>(table: toml::Table) -> Result<C, ConfigError> {
    toml::Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Parse(with_hint(error.to_string().trim())))
}

/// A config struct's defaults as a table.
pub fn defaults_of<C: Serialize + Default>() -> toml::Table {
    toml::Table::try_from(C::default()).unwrap_or_default()
}

/// `defaults` with the keys of `own` over them, tables merged key by key: the whole of what a plugin is built from.
///
/// A table of another `kind` than the default's takes its place: the default's keys are not those of that kind.
pub fn merge_defaults(mut defaults: toml::Table, own: toml::Table) -> toml::Table {
    let other_kind =
        |base: &toml::Table, over: &toml::Table| over.contains_key("kind") && base.get("kind") != over.get("kind");
    for (key, value) in own {
        let merged = match (defaults.remove(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) if !other_kind(&base, &over) => {
                toml::Value::Table(merge_defaults(base, over))
            }
            (_, value) => value,
        };
        defaults.insert(key, merged);
    }
    defaults
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Entry<str> =
        Entry { name: "alpha", summary: "", source: "", defaults: toml::Table::new, build: |_| Ok("a".into()) };

    #[test]
    fn two_entries_of_one_name_are_an_error() {
        assert!(matches!(Family::new("letter", &[A, A]), Err(ConfigError::Duplicate { .. })));
    }

    #[test]
    fn tables_are_merged_unless_their_kind_changes() {
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        let defaults = table("a = 1\nschedule = { kind = 'plateau', patience = 50 }");
        let same = merge_defaults(defaults.clone(), table("schedule = { kind = 'plateau', factor = 0.5 }"));
        assert_eq!(same, table("a = 1\nschedule = { kind = 'plateau', patience = 50, factor = 0.5 }"));
        let other = merge_defaults(defaults, table("a = 2\nschedule = { kind = 'cosine' }"));
        assert_eq!(other, table("a = 2\nschedule = { kind = 'cosine' }"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_near_matches() {
        let family = Family::new("letter", &[A]).unwrap();
        let text = family.get("alpa").unwrap_err().to_string();
        assert_eq!(text, "there is no letter `alpa` (did you mean `alpha`?); there are: alpha");
    }

    #[test]
    fn a_nested_error_names_the_whole_path() {
        let error = ConfigError::invalid("bits", 9, "write 2 to 8").within("weight").within("quant");
        assert_eq!(error.to_string(), "`quant.weight.bits`: 9 is not valid: write 2 to 8");
    }
}
