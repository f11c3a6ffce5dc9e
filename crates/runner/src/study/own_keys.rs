//! Keys of the configuration that a study sets by other means.

use toml::{Table, Value};

/// Each with what sets it.
const OWN: [(&str, &str); 7] = [
    ("seed", "`study.seeds`"),
    ("device", "`--device`"),
    ("method", "`study.methods`"),
    ("experiment", "the study, which names its experiments"),
    ("quant.protocol", "`study.protocols`"),
    ("quant.weight_bits", "`study.bits`"),
    ("quant.activation_bits", "`study.bits`"),
];

/// Of the table `experiment`, which a study may have: where records go is its own choice.
const FREE: &str = "sinks";

/// What sets this key, where the study does.
pub(super) fn owner(key: &str) -> Option<&'static str> {
    OWN.iter().find(|(own, _)| is_within(key, own)).map(|(_, owner)| *owner)
}

/// What a study's further tables set though the study does.
pub(super) fn fault(table: &Table) -> Option<String> {
    OWN.iter().find_map(|(own, owner)| {
        let value = match own.split_once('.') {
            Some((outer, inner)) => table.get(outer)?.get(inner)?,
            None => table.get(*own)?,
        };
        let found = match value {
            Value::Table(inner) => format!("{own}.{}", inner.keys().find(|key| *key != FREE || *own != "experiment")?),
            _ => (*own).to_owned(),
        };
        Some(format!("`{found}` is set by {owner}: leave it out"))
    })
}

/// Whether a key is another one, or lies in the table of that name.
pub(super) fn is_within(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_set_what_the_study_sets() {
        for (text, found) in [
            ("quant.weight_bits = 4", Some("`quant.weight_bits` is set by `study.bits`")),
            ("quant.protocol = 'gdfq'", Some("`quant.protocol` is set by `study.protocols`")),
            ("seed = 3", Some("`seed` is set by `study.seeds`")),
            ("experiment = { sinks = ['csv'], name = 'x' }", Some("`experiment.name` is set by the study")),
            ("experiment.sinks = ['csv']", None),
            ("quant.weight.range = 'mse'", None),
            ("evaluation.batch = 4", None),
        ] {
            let fault = fault(&text.parse().unwrap());
            assert_eq!(fault.is_some(), found.is_some(), "{text}: {fault:?}");
            assert!(fault.unwrap_or_default().starts_with(found.unwrap_or_default()), "{text}");
        }
        assert_eq!((owner("method.name"), owner("images.count")), (Some("`study.methods`"), None));
    }
}
