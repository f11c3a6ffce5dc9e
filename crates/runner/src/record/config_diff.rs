//! Configurations compared key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest, Sha256};
use toml::{Table, Value};

/// A key whose value differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key's whole path, such as `quant.weight_bits`.
    pub key: String,
    /// Its value in the old configuration, as TOML; absent when the key was.
    pub old: Option<String>,
    /// Its value in the new one.
    pub new: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "{}: was {}, now {}", self.key, say(&self.old), say(&self.new))
    }
}

/// Every value by its whole path, `a.b` for tables and `a[0].b` for arrays of tables; other arrays are one value. Empty
/// tables and arrays are kept, as `{}` and `[]`.
pub fn flatten(table: &Table) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        descend(key.clone(), value, &mut flat);
    }
    flat
}

fn descend(path: String, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                descend(format!("{path}.{key}"), value, flat);
            }
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
            for (index, item) in items.iter().enumerate() {
                descend(format!("{path}[{index}]"), item, flat);
            }
        }
        _ => {
            flat.insert(path, value.to_string());
        }
    }
}

/// The keys in which two configurations differ, in alphabetical order.
pub fn differences(old: &Table, new: &Table) -> Vec<Difference> {
    let (old, new) = (flatten(old), flatten(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differing
        .map(|key| Difference { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() })
        .collect()
}

/// Keys of words about a run, which change nothing of what it does: what `wordless` of a run's configuration empties, but for
/// the sinks, since a folder that goes on with others would have half a file of each.
const WORDS: [&str; 5] =
    ["experiment.summary", "method.summary", "method.source", "method.differences", "method.budget"];

/// As [`differences`], without the words about a run: empty for two configurations of the same run.
pub(super) fn differences_of_runs(old: &Table, new: &Table) -> Vec<Difference> {
    let of_run = |difference: &Difference| !WORDS.contains(&difference.key.as_str());
    differences(old, new).into_iter().filter(of_run).collect()
}

/// SHA-256 in hexadecimal over the flattened configuration, one `path = value` a line: the same for any order of keys, any
/// layout and any comments.
pub fn config_hash(table: &Table) -> String {
    let mut hasher = Sha256::new();
    for (key, value) in flatten(table) {
        hasher.update(format!("{key} = {value}\n"));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn differing_keys_are_named_with_both_values() {
        let old = table("name = 'a'\n[quant]\nweight_bits = 4\nprotocol = 'gdfq'\n[[loss]]\nkind = 'kl'\nweight = 1.0");
        let new = table("name = 'a'\n[quant]\nweight_bits = 3\n[[loss]]\nkind = 'kl'\nweight = 0.5\n[extra]\n");
        let text: Vec<String> = differences(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "extra: was not set, now {}",
                "loss[0].weight: was 1.0, now 0.5",
                "quant.protocol: was \"gdfq\", now not set",
                "quant.weight_bits: was 4, now 3",
            ]
        );
        assert!(differences(&old, &old).is_empty());
    }

    #[test]
    fn words_about_a_run_make_no_other_run() {
        let old = table("[experiment]\nname = 'a'\n[method]\nname = 'm'\nsummary = 'x'\ndifferences = []");
        let words = "[experiment]\nname = 'a'\nsummary = 'of a'\n[method]\nname = 'm'\nsummary = 'y'\nsource = 's'\n\
                     differences = ['smaller']\nbudget = 'short: 1 %'";
        assert_eq!(differences(&old, &table(words)).len(), 5);
        assert!(differences_of_runs(&old, &table(words)).is_empty());
        let other = words.replace("'m'", "'n'");
        let keys: Vec<String> = differences_of_runs(&old, &table(&other)).into_iter().map(|found| found.key).collect();
        assert_eq!(keys, ["method.name"]);
    }

    #[test]
    fn the_hash_sees_values_and_not_layout() {
        let a = table("x = 1\ny = 'two' # comment\n[t]\nz = [1, 2]");
        let b = table("y = \"two\"\nx = 1\nt.z = [1,2]");
        assert_eq!(config_hash(&a), config_hash(&b));
        assert_eq!(config_hash(&a).len(), 64);
        assert_ne!(config_hash(&a), config_hash(&table("x = 1.0\ny = 'two'\n[t]\nz = [1, 2]")));
        assert_eq!(config_hash(&Table::new()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
