//! What the properties are tested on.

use blindfold_zoo::Entry;

use super::promise::{Promise, TABLES, promise};
use crate::format::{BUILTIN, NumberFormat};

/// A format with one of its tables.
pub(super) struct Subject {
    entry: &'static Entry<dyn NumberFormat>,
    table: &'static str,
    pub(super) promise: &'static Promise,
}

impl Subject {
    /// Every format with its defaults, and with the other tables.
    pub(super) fn all() -> Vec<Self> {
        let defaults = BUILTIN.iter().map(|entry| Self { entry, table: "", promise: promise(entry.name) });
        let others = TABLES.iter().map(|(table, promise)| {
            let entry = BUILTIN.iter().find(|entry| entry.name == promise.name).unwrap();
            Self { entry, table: *table, promise }
        });
        defaults.chain(others).collect()
    }

    pub(super) fn build(&self) -> Box<dyn NumberFormat> {
        (self.entry.build)(toml::from_str(self.table).unwrap()).unwrap()
    }

    pub(super) fn what(&self) -> String {
        format!("{} {:?}", self.entry.name, self.table)
    }
}
