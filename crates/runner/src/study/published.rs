//! Published numbers, each for what it was measured on.

use blindfold_zoo::{near_matches, with_hint};
use serde::Deserialize;
use toml::{Table, Value};

use super::Cell;
use crate::Usage;
use crate::record::Published;

/// A number of a paper, and which runs it stands beside.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    method: String,
    bits: Option<String>,
    protocol: Option<String>,
    teacher: Option<String>,
    published: Published,
}

/// What a study has of everything that a number belongs to.
pub(super) struct Scope<'a> {
    pub(super) methods: &'a [String],
    pub(super) bits: &'a [String],
    pub(super) protocols: &'a [String],
    /// Whether an axis changes the teacher.
    pub(super) several_teachers: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FigureTable {
    drop: f64,
    source: String,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    teacher: Option<String>,
}

impl Figure {
    /// The number where it was measured on what the cell runs.
    pub(super) fn of(&self, cell: &Cell) -> Option<&Published> {
        let fits = |own: &Option<String>, other: &str| own.as_ref().is_none_or(|own| own == other);
        let same = self.method == cell.method
            && fits(&self.bits, &cell.bits)
            && fits(&self.protocol, &cell.protocol)
            && fits(&self.teacher, &cell.config.teacher.name);
        same.then_some(&self.published)
    }

    fn read(method: &str, bits: Option<&str>, value: Value, scope: &Scope<'_>) -> Result<Self, Usage> {
        let place = bits.map_or_else(|| method.to_owned(), |bits| format!("{method}.{bits}"));
        let wrong = |what: String| Usage(format!("`study.published.{place}`: {what}"));
        let table: FigureTable =
            value.try_into().map_err(|error: toml::de::Error| wrong(with_hint(error.to_string().trim())))?;
        if !table.drop.is_finite() {
            return Err(wrong(format!("`drop` is {}: write points of top-1, such as 2.5", table.drop)));
        }
        // A number that fits several rows would stand beside some that it was not measured for.
        let missing = [
            (
                scope.bits.len() > 1 && bits.is_none(),
                "the study has several bits: write it under its own, as in `zeroq.w4a4`",
            ),
            (scope.protocols.len() > 1 && table.protocol.is_none(), "the study has several protocols: add `protocol`"),
            (scope.several_teachers && table.teacher.is_none(), "the study has several teachers: add `teacher`"),
        ];
        if let Some((_, what)) = missing.into_iter().find(|(missing, _)| *missing) {
            return Err(wrong(what.to_owned()));
        }
        if let Some(protocol) = table.protocol.as_ref().filter(|protocol| !scope.protocols.contains(protocol)) {
            return Err(wrong(format!("the study has no protocol `{protocol}`")));
        }
        Ok(Self {
            method: method.to_owned(),
            bits: bits.map(str::to_owned),
            protocol: table.protocol,
            teacher: table.teacher,
            published: Published { drop: table.drop, source: table.source },
        })
    }
}

/// The numbers of `[study.published]`: a table a method, or a table a method and bit width; a list of such tables where
/// there are several protocols or teachers.
pub(super) fn read_published(table: Table, scope: &Scope<'_>) -> Result<Vec<Figure>, Usage> {
    let mut figures = Vec::new();
    for (method, value) in table {
        if !scope.methods.contains(&method) {
            return Err(stranger(&method, "`study.methods` does not name it", scope.methods));
        }
        let by_bits =
            value.as_table().is_some_and(|table| table.values().all(|inner| inner.is_table() || inner.is_array()));
        match value {
            Value::Table(table) if by_bits => {
                for (bits, value) in table {
                    if !scope.bits.contains(&bits) {
                        return Err(stranger(&format!("{method}.{bits}"), "`study.bits` does not name it", scope.bits));
                    }
                    for value in several(value) {
                        figures.push(Figure::read(&method, Some(&bits), value, scope)?);
                    }
                }
            }
            value => {
                for value in several(value) {
                    figures.push(Figure::read(&method, None, value, scope)?);
                }
            }
        }
    }
    Ok(figures)
}

fn several(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

fn stranger(name: &str, what: &str, known: &[String]) -> Usage {
    let own = name.rsplit('.').next().unwrap_or(name);
    let near = near_matches(own, known.iter().map(String::as_str));
    let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
    Usage(format!("`study.published.{name}`: {what}{hint}; it has: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, bits: &[&str], protocols: &[&str], several_teachers: bool) -> Result<Vec<Figure>, String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let (methods, bits, protocols) = (own(&["zeroq", "gdfq"]), own(bits), own(protocols));
        let scope = Scope { methods: &methods, bits: &bits, protocols: &protocols, several_teachers };
        read_published(text.parse().unwrap(), &scope).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_stand_by_method_and_by_bits() {
        let one = read("zeroq = { drop = 14.59, source = 'AIT' }", &["w4a4"], &["gdfq"], false).unwrap();
        assert_eq!((one.len(), one[0].published.drop, &one[0].bits), (1, 14.59, &None));
        let text = "zeroq.w4a4 = { drop = 14, source = 'AIT' }\nzeroq.w5a5 = { drop = 0.5, source = 'AIT' }";
        let two = read(text, &["w4a4", "w5a5"], &["gdfq"], false).unwrap();
        assert_eq!(two.iter().map(|figure| figure.published.drop).collect::<Vec<_>>(), [14.0, 0.5]);
        let text =
            "zeroq = [{ drop = 1, source = 'A', protocol = 'gdfq' }, { drop = 2, source = 'A', protocol = 'brecq' }]";
        assert_eq!(read(text, &["w4a4"], &["gdfq", "brecq"], false).unwrap().len(), 2);
    }

    #[test]
    fn a_number_that_would_stand_beside_others_runs_is_refused() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], bool, &'a str);
        let (two, one) = (["w4a4", "w5a5"], ["w4a4"]);
        let cases: [Case<'_>; 9] = [
            ("zerog = { drop = 1, source = 'A' }", &one, &["gdfq"], false, "did you mean `zeroq`"),
            ("zeroq = { drop = 1, source = 'A' }", &two, &["gdfq"], false, "several bits"),
            ("zeroq.w4a5 = { drop = 1, source = 'A' }", &two, &["gdfq"], false, "`study.bits` does not name it"),
            ("zeroq = { drop = 1, source = 'A' }", &one, &["gdfq", "brecq"], false, "several protocols"),
            ("zeroq = { drop = 1, source = 'A', protocol = 'x' }", &one, &["gdfq"], false, "no protocol `x`"),
            ("zeroq = { drop = 1, source = 'A' }", &one, &["gdfq"], true, "several teachers"),
            ("zeroq = { drop = 1, sorce = 'A' }", &one, &["gdfq"], false, "did you mean `source`"),
            ("zeroq = { drop = nan, source = 'A' }", &one, &["gdfq"], false, "`drop` is NaN"),
            ("zeroq = 3", &one, &["gdfq"], false, "`study.published.zeroq`"),
        ];
        for (text, bits, protocols, teachers, words) in cases {
            let error = read(text, bits, protocols, teachers).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
