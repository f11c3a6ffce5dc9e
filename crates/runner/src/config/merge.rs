//! Deep merging of tables, and `--set key=value`.

use anyhow::Result;
use toml::{Table, Value};

use crate::Usage;

/// `over` on top of `base`: tables are merged key by key, everything else is replaced. A table that names another plugin
/// (`kind`, `source`) is replaced as well: its keys are another plugin's.
pub fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) if !names_another(base, &over) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn names_another(base: &Table, over: &Table) -> bool {
    ["kind", "source"].iter().any(|key| over.contains_key(*key) && base.contains_key(*key) && over[*key] != base[*key])
}

/// Sets `a.b.c=value`; the value is read as TOML, and as a plain string where it is none.
///
/// # Errors
/// When there is no `=`, or a part of the path is not a table.
pub fn set_key(table: &mut Table, assignment: &str) -> Result<()> {
    let Some((path, text)) = assignment.split_once('=') else {
        return Err(Usage(format!("--set {assignment}: write key=value, such as quant.weight_bits=3")).into());
    };
    let value = format!("value = {}", text.trim())
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.trim().to_owned()));
    let mut parts: Vec<&str> = path.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty());
    let Some(last) = last else {
        return Err(Usage(format!("--set {assignment}: there is no key before `=`")).into());
    };
    let mut place = table;
    for (depth, part) in parts.iter().enumerate() {
        let next = place.entry((*part).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        match next {
            Value::Table(next) => place = next,
            other => {
                let found = parts[..=depth].join(".");
                return Err(Usage(format!("--set {assignment}: `{found}` is {}, not a table", other.type_str())).into());
            }
        }
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_another_plugin_is_replaced() {
        let mut base: Table = "range = { kind = 'mse', p = 2.0 }\nother = { kind = 'mse', p = 2.0 }".parse().unwrap();
        merge(&mut base, "range = { kind = 'kl' }\nother = { kind = 'mse', q = 1 }".parse().unwrap());
        assert_eq!(base, "range = { kind = 'kl' }\nother = { kind = 'mse', p = 2.0, q = 1 }".parse().unwrap());
    }

    #[test]
    fn tables_merge_and_other_values_are_replaced() {
        let mut base: Table = "a = 1\n[b]\nx = 1\ny = [1, 2]".parse().unwrap();
        merge(&mut base, "a = 2\n[b]\ny = [3]\nz = 4".parse().unwrap());
        assert_eq!(base, "a = 2\n[b]\nx = 1\ny = [3]\nz = 4".parse().unwrap());
    }

    #[test]
    fn values_are_read_as_toml_and_else_as_text() {
        let mut table = Table::new();
        for assignment in ["a.b=3", "a.c=1e-4", "a.d=resnet20", "e=[1, 2]", "f=true"] {
            set_key(&mut table, assignment).unwrap();
        }
        let expected: Table = "e = [1, 2]\nf = true\n[a]\nb = 3\nc = 1e-4\nd = 'resnet20'".parse().unwrap();
        assert_eq!(table, expected);
        assert!(set_key(&mut table, "a.b.c=1").unwrap_err().to_string().contains("`a.b` is integer, not a table"));
        assert!(set_key(&mut table, "nothing").is_err());
    }
}
