//! The configuration of a run as columns.

use toml::{Table, Value};

use super::row::Cells;
use crate::record::flatten;

/// Names and words, which have columns of their own or change no outcome.
const WORDS: [&str; 8] = [
    "seed",
    "experiment.name",
    "experiment.summary",
    "experiment.sinks",
    "method.name",
    "method.summary",
    "method.source",
    "method.differences",
];
/// What a run itself writes into its configuration, and what is said of the method's budget.
const PINNED: [&str; 3] = ["device", "teacher.hash", "method.budget"];

/// Every key of a configuration with its value, words left out, strings without their quotes.
pub(crate) fn settings(config: &Table) -> Cells {
    let plain =
        |text: String| match format!("value = {text}").parse::<Table>().ok().and_then(|mut one| one.remove("value")) {
            Some(Value::String(inner)) => inner,
            _ => text,
        };
    let keys = flatten(config).into_iter().filter(|(key, _)| !WORDS.contains(&key.as_str()));
    keys.map(|(key, value)| (key, plain(value))).collect()
}

/// Whether what a run was computed with is what is asked for now, as far as both say it: keys that one of the two does
/// not have came or went with a version of the program.
pub(crate) fn agree(ran: &Cells, asked: &Cells) -> bool {
    let asked = asked.iter().filter(|(key, _)| !PINNED.contains(&key.as_str()));
    asked.into_iter().all(|(key, value)| ran.get(key).is_none_or(|own| own == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cells {
        settings(&text.parse().unwrap())
    }

    #[test]
    fn words_are_left_out_and_strings_lose_their_quotes() {
        let cells = of(
            "seed = 1\n[method]\nname = 'm'\nsource = 's'\nbudget = 'full'\n[quant]\nbits = 4\nkind = 'a \"b\"'\nlist = ['x']",
        );
        let pairs: Vec<(&str, &str)> = cells.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("method.budget", "full"), ("quant.bits", "4"), ("quant.kind", "a \"b\""), ("quant.list", "[\"x\"]")]
        );
    }

    #[test]
    fn a_run_agrees_with_what_is_asked_unless_a_key_of_both_differs() {
        let ran = of("device = 'flex'\n[images]\ncount = 256\nold = 1\n[teacher]\nhash = 'abc'");
        assert!(agree(&ran, &of("[images]\ncount = 256\nnew = 2\n[teacher]\nname = 't'")));
        assert!(agree(&ran, &of("device = 'wgpu'\n[teacher]\nhash = 'def'")));
        assert!(!agree(&ran, &of("[images]\ncount = 64")));
        assert!(agree(&Cells::new(), &of("[images]\ncount = 64")), "nothing is known of it");
    }
}
