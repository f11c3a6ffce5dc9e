//! The plugin families of this crate.

use blindfold_zoo::Family;

use crate::quantizer::{self, Quantizer};
use crate::range::{self, RangeEstimator};

/// All quantizers and range estimators that a plan can name.
#[derive(Debug, Clone)]
pub struct Families {
    /// Makers of grids.
    pub quantizers: Family<dyn Quantizer>,
    /// Makers of ranges.
    pub ranges: Family<dyn RangeEstimator>,
}

impl Families {
    /// Those of this crate; [`Family::with`] adds others.
    pub fn builtin() -> Self {
        Self {
            quantizers: Family::new("quantizer", quantizer::BUILTIN)
                .expect("a test holds the names of the table apart"),
            ranges: Family::new("range estimator", range::BUILTIN).expect("a test holds the names of the table apart"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use blindfold_zoo::Entry;

    use super::*;

    fn check<T: ?Sized>(folder: &str, entries: &[Entry<T>]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
        let files: BTreeSet<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('_', "-"))
            .filter(|name| name != "mod")
            .collect();
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(files, names, "the files of src/{folder} and the table are not the same");
        for entry in entries {
            assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{}", entry.name);
            assert!((entry.build)((entry.defaults)()).is_ok(), "{}: its defaults do not build", entry.name);
            assert!((entry.build)(toml::Table::new()).is_ok(), "{}: it does not build from an empty table", entry.name);
            let unknown = toml::Table::from_iter([("no_such_key".to_owned(), toml::Value::Integer(1))]);
            assert!((entry.build)(unknown).is_err(), "{}: it accepts unknown keys", entry.name);
        }
    }

    #[test]
    fn every_file_is_in_its_table() {
        check("quantizer", quantizer::BUILTIN);
        check("range", range::BUILTIN);
        assert_eq!(Families::builtin().quantizers.entries().len(), 3);
        assert_eq!(Families::builtin().ranges.entries().len(), 5);
    }
}
