//! The plugin families of this crate.

use blindfold_zoo::Family;

use crate::allocate::{self, Sensitivity};
use crate::format::{self, NumberFormat};
use crate::learned::{self, LearnedQuantizer};
use crate::pass::{self, Pass};
use crate::quantizer::{self, Quantizer};
use crate::range::{self, RangeEstimator};
use crate::step::{self, FittingStep};

/// All plugins of this crate that a configuration can name.
#[derive(Debug, Clone)]
pub struct Families {
    /// Makers of grids.
    pub quantizers: Family<dyn Quantizer>,
    /// Makers of ranges.
    pub ranges: Family<dyn RangeEstimator>,
    /// Number formats other than uniform integers.
    pub formats: Family<dyn NumberFormat>,
    /// Quantizers whose parameters are trained with the network.
    pub learned: Family<dyn LearnedQuantizer>,
    /// How much a layer suffers from fewer bits.
    pub sensitivities: Family<dyn Sensitivity>,
    /// Rewrites of the network before it is quantized.
    pub passes: Family<dyn Pass>,
    /// Fitting steps after it is quantized.
    pub steps: Family<dyn FittingStep>,
}

impl Families {
    /// Those of this crate; [`Family::with`] adds others.
    pub fn builtin() -> Self {
        const APART: &str = "a test holds the names of the table apart";
        Self {
            quantizers: Family::new("quantizer", quantizer::BUILTIN).expect(APART),
            ranges: Family::new("range estimator", range::BUILTIN).expect(APART),
            formats: Family::new("number format", format::BUILTIN).expect(APART),
            learned: Family::new("learned quantizer", learned::BUILTIN).expect(APART),
            sensitivities: Family::new("sensitivity", allocate::sensitivity::BUILTIN).expect(APART),
            passes: Family::new("pass", pass::BUILTIN).expect(APART),
            steps: Family::new("fitting step", step::BUILTIN).expect(APART),
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
        let sources: String = std::fs::read_dir(path)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("mod.rs"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.to_owned()).collect();
        let written = sources.matches("ENTRY: Entry<dyn").count();
        assert_eq!(written, names.len(), "src/{folder} holds {written} entries, its table {names:?}");
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
        check("format", format::BUILTIN);
        check("learned", learned::BUILTIN);
        check("pass", pass::BUILTIN);
        check("allocate/sensitivity", allocate::sensitivity::BUILTIN);
        let reconstruct = ["adaround", "brecq", "activation-steps", "qdrop", "pd-quant", "genie-m", "admm"];
        let (within, beside): (Vec<_>, Vec<_>) =
            step::BUILTIN.iter().copied().partition(|entry| reconstruct.contains(&entry.name));
        check("step", &beside);
        check("step/reconstruct", &within);
    }
}
