//! What a parser answers to a value that is most likely wrong.

use toml::{Table, Value};

/// A name that nothing has, for it has blanks.
pub(super) const STRANGER: &str = "no such name";

/// What is learned from one value that was given to a parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The form is right; what it says may still have been refused.
    Read,
    /// The table has these keys and no others.
    Keys(Vec<String>),
    /// The text is one of these.
    Variants(Vec<String>),
    /// The text names a member of this plugin family.
    Family(String),
    /// The form is right as far as it was read, and this key is missing.
    Missing(String),
    /// So many elements were expected.
    Length(usize),
    /// The form is wrong.
    Refused,
}

impl Answer {
    /// The answer in a parser's own words: those of serde, of [`blindfold_zoo::ConfigError`], or none.
    pub(super) fn of(outcome: Result<(), String>) -> Self {
        let Err(text) = outcome else { return Self::Read };
        let after = |words: &str| text.split_once(words).map(|(_, rest)| rest.lines().next().unwrap_or_default());
        if let Some(known) = after(&format!("unknown field `{STRANGER}`")) {
            return Self::Keys(quoted(known));
        }
        if let Some(known) = after(&format!("unknown variant `{STRANGER}`")) {
            return Self::Variants(quoted(known));
        }
        if let Some((before, _)) = text.split_once(&format!(" `{STRANGER}`"))
            && let Some((_, family)) = before.rsplit_once("there is no ")
        {
            return Self::Family(family.to_owned());
        }
        if let Some(rest) = after("missing field `") {
            return Self::Missing(rest.split('`').next().unwrap_or_default().to_owned());
        }
        if let Some(expected) = after("invalid length 0, expected ") {
            let length = expected.split_whitespace().find_map(|word| word.parse().ok());
            return length.map_or(Self::Refused, Self::Length);
        }
        if text.contains(" is not valid: ") { Self::Read } else { Self::Refused }
    }

    /// Whether the form is right.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Read | Self::Missing(_))
    }
}

/// What stands in backticks, without the hint at the end.
fn quoted(text: &str) -> Vec<String> {
    let text = text.split(" (did you mean").next().unwrap_or_default();
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A table of one key.
pub(super) fn table(key: &str, value: impl Into<Value>) -> Value {
    Value::Table(Table::from_iter([(key.to_owned(), value.into())]))
}

/// A table of two keys.
pub(super) fn pair(first: (&str, &str), second: (&str, Value)) -> Value {
    let own = (second.0.to_owned(), second.1);
    Value::Table(Table::from_iter([(first.0.to_owned(), Value::String(first.1.to_owned())), own]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::of(Err(text.to_owned()))
    }

    #[test]
    fn the_parsers_words_are_understood() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (text, found) in [
            ("unknown field `no such name`, expected `a` or `b`\nin `c`", Answer::Keys(names(&["a", "b"]))),
            ("unknown field `no such name`, there are no fields", Answer::Keys(Vec::new())),
            (
                "in `x`: unknown variant `no such name`, expected one of `a`, `b`, `c` (did you mean `a`?)",
                Answer::Variants(names(&["a", "b", "c"])),
            ),
            (
                "there is no batch-norm loss `no such name`; there are: a, b",
                Answer::Family("batch-norm loss".to_owned()),
            ),
            ("missing field `kind`\nin `optimizer`", Answer::Missing("kind".to_owned())),
            ("invalid length 0, expected an array of length 2", Answer::Length(2)),
            ("`bits`: 1 is not valid: write 2 to 8", Answer::Read),
            ("invalid type: boolean `true`, expected usize", Answer::Refused),
            ("invalid value: integer `-1`, expected usize", Answer::Refused),
        ] {
            assert_eq!(answer(text), found, "{text}");
        }
        assert_eq!(Answer::of(Ok(())), Answer::Read);
    }
}
