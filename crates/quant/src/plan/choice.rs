//! A plugin as a config names it.

use serde::{Deserialize, Serialize};

/// A member of a plugin family with its options: in TOML `"mse"`, or `{ kind = "mse", p = 2.0 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct PluginChoice {
    /// The member's name.
    pub kind: String,
    /// The member's own table.
    pub options: toml::Table,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Table(toml::Table),
    /// Anything else, so that what to write is said of it as well.
    Other(toml::Value),
}

impl PluginChoice {
    /// The member of that name with its defaults.
    pub fn named(kind: &str) -> Self {
        Self { kind: kind.to_owned(), options: toml::Table::new() }
    }

    /// The same with one option set.
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.options.insert(key.to_owned(), value.into());
        self
    }
}

impl TryFrom<Written> for PluginChoice {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Name(kind) => Ok(Self::named(&kind)),
            Written::Table(mut options) => match options.remove("kind") {
                Some(toml::Value::String(kind)) => Ok(Self { kind, options }),
                Some(other) => Err(format!("`kind` is {other}: write the plugin's name, such as kind = \"mse\"")),
                None => Err("the plugin's name is missing: write it as kind = \"...\"".to_owned()),
            },
            Written::Other(value) => Err(format!(
                "{value} is {}, no plugin: write its name, such as \"mse\", or a table such as {{ kind = \"mse\" }}",
                value.type_str()
            )),
        }
    }
}

impl From<PluginChoice> for Written {
    fn from(PluginChoice { kind, mut options }: PluginChoice) -> Self {
        if options.is_empty() {
            return Self::Name(kind);
        }
        options.insert("kind".to_owned(), toml::Value::String(kind));
        Self::Table(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        range: PluginChoice,
    }

    #[test]
    fn both_forms_are_read_and_written() {
        let short: Holder = toml::from_str("range = \"mse\"").unwrap();
        assert_eq!(short.range, PluginChoice::named("mse"));
        let long: Holder = toml::from_str("range = { kind = \"mse\", p = 2.0 }").unwrap();
        assert_eq!(long.range, PluginChoice::named("mse").with("p", 2.0));
        for holder in [short, long] {
            assert_eq!(toml::from_str::<Holder>(&toml::to_string(&holder).unwrap()).unwrap(), holder);
        }
        assert!(toml::from_str::<Holder>("range = { p = 2.0 }").is_err());
    }

    #[test]
    fn what_is_neither_a_name_nor_a_table_is_told_both_forms() {
        for text in ["range = 3.5", "range = true", "range = [\"mse\"]"] {
            let error = toml::from_str::<Holder>(text).unwrap_err().to_string();
            assert!(error.contains("no plugin: write its name, such as \"mse\", or a table"), "{error}");
        }
    }
}
