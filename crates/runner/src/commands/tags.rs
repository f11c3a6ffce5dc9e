//! The metrics that runs have, for a user who named one that they have not.

use std::collections::BTreeSet;

use blindfold_zoo::near_matches;

use crate::Usage;
use crate::record::{Record, describe};

/// Tags of one family that are listed one by one.
const LISTED: usize = 3;

/// No run has a value of `tag`: what is near it, and what there is.
pub(super) fn unknown_tag<'a>(tag: &str, records: impl Iterator<Item = &'a Record>) -> Usage {
    let known: BTreeSet<&str> = records.flat_map(|record| record.values.keys()).map(String::as_str).collect();
    if known.is_empty() {
        return Usage(format!("no run has a value of `{tag}`: their metrics.jsonl have no records yet"));
    }
    let near = near(tag, known.iter().copied());
    let hint = if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(" or ")) };
    Usage(format!(
        "no run has a value of `{tag}`{hint}; the runs have:\n  {}",
        families(known.iter().copied()).join("\n  ")
    ))
}

/// The nearest tags, each in backticks: by their letters, else those that hold the word.
fn near<'a>(tag: &str, known: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let mut found: Vec<String> =
        known.clone().filter(|name| name.rsplit('/').next() == Some(tag)).map(str::to_owned).collect();
    if found.is_empty() {
        found = near_matches(tag, known.clone());
    }
    if found.is_empty() {
        found = known.filter(|name| name.contains(tag)).map(str::to_owned).collect();
    }
    found.iter().take(LISTED).map(|name| format!("`{name}`")).collect()
}

/// The tags in order, those of a large family (`quant/<layer>/sqnr_db`) as one line with an example.
fn families<'a>(known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in known {
        let family = describe(name).map_or(name, |metric| metric.tag);
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push(name),
            None => families.push((family, vec![name])),
        }
    }
    let lines = families.into_iter().flat_map(|(family, members)| match members.as_slice() {
        [first, ..] if members.len() > LISTED => vec![format!("{family} ({} of them, such as {first})", members.len())],
        members => members.iter().map(|name| (*name).to_owned()).collect(),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Phase;

    fn records() -> Vec<Record> {
        let layers = (0..5).map(|index| (format!("quant/conv{index}/sqnr_db"), 1.0));
        let eval = Record::new(Phase::Eval, 0, 0.0).with("student/top1", 1.0).with("student/agreement", 1.0);
        vec![eval, Record::new(Phase::Calibrate, 0, 0.0).with_all(layers)]
    }

    #[test]
    fn near_tags_come_first_and_families_stand_in_one_line() {
        let records = records();
        let text = unknown_tag("student/topl", records.iter()).to_string();
        assert!(text.starts_with("no run has a value of `student/topl` (did you mean `student/top1`"), "{text}");
        assert!(text.contains("\n  quant/<layer>/sqnr_db (5 of them, such as quant/conv0/sqnr_db)"), "{text}");
        assert!(text.contains("\n  student/agreement\n  student/top1"), "{text}");
        let text = unknown_tag("top1", records.iter()).to_string();
        assert!(text.contains("(did you mean `student/top1`?)"), "{text}");
    }

    #[test]
    fn runs_without_records_say_so() {
        assert!(unknown_tag("lr", [].iter()).to_string().contains("no records yet"));
    }
}
