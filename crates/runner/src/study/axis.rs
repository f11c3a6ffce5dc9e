//! The further axes of a study: keys of the configuration that take several values in turn.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::own_keys::{is_within, owner};
use crate::Usage;

/// A key of the configuration, or several that change together, with what it takes in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The key, or the name that the study gives to several.
    pub name: String,
    /// What it takes, in the order of the file.
    pub choices: Vec<Choice>,
}

/// One place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What experiments and tables call it.
    pub label: String,
    /// The keys and values that it sets.
    pub keys: Vec<(String, Value)>,
}

impl Axis {
    /// What an experiment's name says of a choice, such as `+images.count=64`.
    pub(super) fn part(&self, choice: &Choice) -> String {
        format!("+{}={}", tidy(&self.name), tidy(&choice.label))
    }

    /// Whether a choice sets this key or one within it.
    pub fn sets(&self, key: &str) -> bool {
        self.choices.iter().flat_map(|choice| &choice.keys).any(|(own, _)| is_within(own, key))
    }

    fn of(name: String, values: Vec<Value>) -> Result<Self, Usage> {
        let wrong = |what: String| Usage(format!("`study.axes.{name}`: {what}"));
        if values.is_empty() {
            return Err(wrong("the list is empty: name at least one value".to_owned()));
        }
        let tables = values.iter().filter(|value| value.is_table()).count();
        if tables != 0 && tables != values.len() {
            let message = "some values are tables and some are not: write tables of keys throughout, or plain values";
            return Err(wrong(message.to_owned()));
        }
        let mut choices = Vec::new();
        for value in values {
            let choice = match value {
                Value::Table(table) => linked(&name, table).map_err(wrong)?,
                value => Choice { label: words(&value), keys: vec![(name.clone(), value)] },
            };
            if let Some((key, own)) = choice.keys.iter().find_map(|(key, _)| Some((key, owner(key)?))) {
                return Err(wrong(format!("`{key}` is no key for an axis: it is set by {own}")));
            }
            choices.push(choice);
        }
        let mut labels: Vec<String> = choices.iter().map(|choice| tidy(&choice.label)).collect();
        labels.sort();
        match labels.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong(format!("two values are called `{}`: give each a `label` of its own", pair[0]))),
            None => Ok(Self { name, choices }),
        }
    }
}

impl Choice {
    /// The assignments as `--set` takes them.
    pub(super) fn sets(&self) -> impl Iterator<Item = String> + '_ {
        self.keys.iter().map(|(key, value)| format!("{key}={value}"))
    }
}

/// The axes of `[study.axes]`, in alphabetical order.
pub(super) fn read_axes(table: Table) -> Result<Vec<Axis>, Usage> {
    let mut lists = Vec::new();
    collect(String::new(), table, &mut lists)?;
    let axes: Vec<Axis> = lists.into_iter().map(|(name, values)| Axis::of(name, values)).collect::<Result<_, _>>()?;
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for axis in &axes {
        for (key, _) in axis.choices.iter().flat_map(|choice| &choice.keys) {
            let other = known.insert(key, &axis.name).filter(|other| *other != axis.name);
            if let Some(other) = other {
                let message = format!("`study.axes`: the axes `{other}` and `{}` both set `{key}`", axis.name);
                return Err(Usage(message));
            }
        }
    }
    Ok(axes)
}

/// Every combination of one choice an axis, the last axis fastest; one empty combination where there are no axes.
pub(super) fn combinations(axes: &[Axis]) -> Vec<Vec<(&Axis, &Choice)>> {
    let mut all = vec![Vec::new()];
    for axis in axes {
        let mut longer = Vec::new();
        for begun in &all {
            for choice in &axis.choices {
                let mut combination: Vec<(&Axis, &Choice)> = begun.clone();
                combination.push((axis, choice));
                longer.push(combination);
            }
        }
        all = longer;
    }
    all
}

/// Cuts a name that is too long for a folder, and keeps it unlike others by a part of its hash.
pub(crate) fn shorten(name: &mut String) {
    if name.len() <= 100 {
        return;
    }
    let table = Table::from_iter([("name".to_owned(), Value::String(name.clone()))]);
    let digest = crate::record::config_hash(&table);
    let mut end = 80;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name.push_str(&format!("+{}", &digest[..12]));
}

/// The lists of a table by their whole keys: `images.count = [..]` is a table in a table.
fn collect(path: String, table: Table, lists: &mut Vec<(String, Vec<Value>)>) -> Result<(), Usage> {
    for (key, value) in table {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            Value::Array(values) => lists.push((path, values)),
            Value::Table(inner) => collect(path, inner, lists)?,
            other => {
                let message = format!("`study.axes.{path}` is {}: write a list of values", other.type_str());
                return Err(Usage(message));
            }
        }
    }
    Ok(())
}

/// A choice that sets several keys.
fn linked(name: &str, mut table: Table) -> Result<Choice, String> {
    let label = match table.remove("label") {
        None => None,
        Some(Value::String(label)) if !label.is_empty() => Some(label),
        Some(other) => return Err(format!("`label` is {other}: write a short name")),
    };
    let mut keys = Vec::new();
    leaves(String::new(), table, &mut keys);
    if keys.is_empty() {
        return Err(
            "a table sets no key: write such as { \"teacher.name\" = \"..\", \"data.name\" = \"..\" }".to_owned()
        );
    }
    let label = label.unwrap_or_else(|| {
        let own: Vec<String> =
            keys.iter().filter(|(key, _)| is_within(key, name)).map(|(_, value)| words(value)).collect();
        let all = || keys.iter().map(|(_, value)| words(value)).collect::<Vec<_>>();
        if own.is_empty() { all().join(",") } else { own.join(",") }
    });
    Ok(Choice { label, keys })
}

fn leaves(path: String, table: Table, keys: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) if !inner.is_empty() => leaves(path, inner, keys),
            value => keys.push((path, value)),
        }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) if !values.is_empty() => values.iter().map(words).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The text with only such characters as are the same in every folder and shell.
fn tidy(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._,-".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(text: &str) -> Result<Vec<Axis>, String> {
        read_axes(text.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn plain_keys_may_be_written_with_or_without_quotes() {
        let quoted = axes("'images.count' = [64, 256]\n'fit.steps' = [['squant'], ['squant', 'bias-correction'], []]");
        let nested = axes("images.count = [64, 256]\nfit.steps = [['squant'], ['squant', 'bias-correction'], []]");
        assert_eq!(quoted, nested);
        let axes = quoted.unwrap();
        let labels: Vec<Vec<&str>> =
            axes.iter().map(|axis| axis.choices.iter().map(|choice| choice.label.as_str()).collect()).collect();
        assert_eq!(labels, [vec!["squant", "squant,bias-correction", "[]"], vec!["64", "256"]]);
        assert_eq!(axes[1].part(&axes[1].choices[0]), "+images.count=64");
        assert_eq!(axes[0].choices[1].sets().collect::<Vec<_>>(), [r#"fit.steps=["squant", "bias-correction"]"#]);
        assert_eq!(combinations(&axes).len(), 6);
        assert!(combinations(&[]).iter().map(Vec::len).eq([0]), "one combination of nothing");
    }

    #[test]
    fn linked_keys_change_together_and_are_called_by_the_key_of_the_axis() {
        let axes = axes(
            "teacher = [{ 'teacher.name' = 'a b', 'data.name' = 'x' }, { teacher.name = 'c', data.name = 'x' }]\n\
             images = [{ label = 'few', 'images.count' = 8 }]\nsize = [{ 'evaluation.batch' = 4, 'data.limit' = 9 }]",
        )
        .unwrap();
        let all: Vec<String> = combinations(&axes)
            .iter()
            .map(|combination| combination.iter().map(|(axis, choice)| axis.part(choice)).collect())
            .collect();
        assert_eq!(all, ["+images=few+size=9,4+teacher=a_b", "+images=few+size=9,4+teacher=c"]);
        let sets: Vec<String> = axes[2].choices[1].sets().collect();
        assert_eq!(sets, [r#"data.name="x""#, r#"teacher.name="c""#]);
        assert!(axes[2].sets("teacher") && axes[2].sets("data.name") && !axes[2].sets("teach"));
    }

    #[test]
    fn what_is_no_axis_is_an_error_that_says_so() {
        for (text, words) in [
            ("images.count = 64", "`study.axes.images.count` is integer: write a list"),
            ("images.count = []", "the list is empty"),
            ("images.count = [64, 64]", "two values are called `64`"),
            ("quant.weight_bits = [4]", "it is set by `study.bits`"),
            ("a = [{ method.name = 'zeroq' }]", "`method.name` is no key for an axis"),
            ("a = [{ x = 1 }, 2]", "some values are tables"),
            ("a = [{ label = 'empty' }]", "a table sets no key"),
            ("'x.y' = [1]\na = [{ 'x.y' = 1 }]", "both set `x.y`"),
        ] {
            let error = axes(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (mut a, mut b) = (format!("{}a", "é".repeat(60)), format!("{}b", "é".repeat(60)));
        shorten(&mut a);
        shorten(&mut b);
        assert!(a.len() <= 100 && b.len() <= 100 && a != b);
        let mut short = "small".to_owned();
        shorten(&mut short);
        assert_eq!(short, "small");
    }
}
