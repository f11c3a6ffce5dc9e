//! The tables of a study's page.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Cell, Ledger, Study};
use crate::Usage;
use crate::record::{Stat, Summary};

const BEGIN: &str = "<!-- study: begin (written by `blindfold study`; do not edit between the marks) -->";
const END: &str = "<!-- study: end -->";

struct Measure {
    title: &'static str,
    digits: usize,
    scientific: bool,
    of: fn(&Summary) -> Option<f64>,
}

const MEASURES: [Measure; 5] = [
    Measure { title: "Drop of top-1 against full precision, points", digits: 2, scientific: false, of: |s| s.drop },
    Measure {
        title: "Mean squared error of the quantized weights, all layers together",
        digits: 2,
        scientific: true,
        of: |s| s.weight_mse,
    },
    Measure {
        title: "Mean squared error of the logits on held-out synthetic images",
        digits: 3,
        scientific: false,
        of: |s| s.logit_mse,
    },
    Measure {
        title: "Agreement with the teacher on held-out synthetic images, %",
        digits: 1,
        scientific: false,
        of: |s| s.agreement,
    },
    Measure {
        title: "Seconds, images included where they were made for the run",
        digits: 0,
        scientific: false,
        of: |s| Some(s.wall_seconds),
    },
];

/// The tables of all finished runs, a section a protocol: protocols never share a table.
///
/// # Errors
/// None today.
pub fn report(study: &Study, cells: &[(Cell, String)], ledger: &Ledger) -> Result<String> {
    let mut text = String::new();
    for protocol in &study.protocols {
        let mut found: BTreeMap<(&str, &str), Vec<&Summary>> = BTreeMap::new();
        let mut missing = 0;
        for (cell, hash) in cells.iter().filter(|(cell, _)| cell.protocol == *protocol) {
            match ledger.find(hash) {
                Some(entry) => found.entry((&cell.method, &cell.bits)).or_default().push(&entry.summary),
                None => missing += 1,
            }
        }
        let Some(first) = found.values().flatten().next() else {
            text += &format!("\n## Protocol `{protocol}`\n\nNo run is finished yet.\n");
            continue;
        };
        text += &format!(
            "\n## Protocol `{protocol}`\n\n{} on {}, teacher `{}`{}. Mean ± std (n − 1) over seeds where there are several. \
             {}\n\n![Drop of each method by bit width]({protocol}.svg)\n",
            first.network,
            first.dataset,
            first.teacher,
            first.fp_top1.map_or_else(String::new, |top1| format!(", {top1:.2} % in full precision")),
            if missing == 0 {
                "All runs are finished.".to_owned()
            } else {
                format!("{missing} runs are not finished: their cells are empty or have fewer seeds.")
            },
        );
        for measure in &MEASURES {
            text += &format!("\n### {}\n\n{}", measure.title, table(study, &found, measure));
        }
    }
    Ok(text)
}

fn table(study: &Study, found: &BTreeMap<(&str, &str), Vec<&Summary>>, measure: &Measure) -> String {
    let mut text = format!("| method | {} |\n|---|", study.bits.join(" | ").to_uppercase());
    text += &"--:|".repeat(study.bits.len());
    text.push('\n');
    for method in &study.methods {
        let uses_data = study.bits.iter().filter_map(|bits| found.get(&(method.as_str(), bits.as_str())));
        let dagger = if uses_data.flatten().any(|summary| summary.uses_real_data) { " \u{2020}" } else { "" };
        text += &format!("| {method}{dagger} |");
        for bits in &study.bits {
            let runs = found.get(&(method.as_str(), bits.as_str()));
            let stat = runs.and_then(|runs| Stat::of(runs.iter().filter_map(|summary| (measure.of)(summary))));
            let own = runs.and_then(|runs| runs.first()).map(|summary| summary.bits.to_lowercase());
            let note =
                own.filter(|own| own != bits).map_or_else(String::new, |own| format!(" ({})", own.to_uppercase()));
            text += &match stat {
                Some(stat) if measure.scientific => format!(" {:.*e}{note} |", measure.digits, stat.mean),
                Some(stat) => format!(" {}{note} |", stat.text(measure.digits)),
                None => " |".to_owned(),
            };
        }
        text.push('\n');
    }
    if text.contains('\u{2020}') {
        text += "\n\u{2020} uses REAL data: an upper bound, not a data-free method.\n";
    }
    text
}

/// The page with the text between its marks replaced; marks are added at the end where there are none.
///
/// # Errors
/// A page that has only one of the marks.
pub fn fill(page: &str, text: &str) -> Result<String> {
    match (page.find(BEGIN), page.find(END)) {
        (Some(begin), Some(end)) if begin < end => Ok(format!("{}{BEGIN}\n{text}\n{}", &page[..begin], &page[end..])),
        (None, None) => Ok(format!("{}\n\n{BEGIN}\n{text}\n{END}\n", page.trim_end())),
        _ => Err(Usage(format!("the page needs both marks, in order: {BEGIN} and {END}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let first = fill("# Title\n\nwords\n", "one").unwrap();
        assert!(first.starts_with("# Title\n\nwords\n\n<!-- study: begin"));
        let second = fill(&(first.clone() + "after\n"), "two").unwrap();
        assert!(second.contains("two") && !second.contains("one") && second.ends_with("after\n"));
        assert!(fill(END, "x").is_err());
    }
}
