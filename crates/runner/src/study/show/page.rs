//! The generated part of a study's page.

use super::figures::Figure;
use super::measure::{BEST, DROP, MEASURES, Measure};
use super::sheet::Sheet;
use super::tables::measure_grid;
use crate::Usage;

const BEGIN: &str = "<!-- study: begin (written by `blindfold study`; do not edit between the marks) -->";
const END: &str = "<!-- study: end -->";

/// A sheet with the figures that were drawn of it.
pub(crate) struct Shown {
    pub(crate) sheet: Sheet,
    pub(crate) figures: Vec<Figure>,
}

/// Tables and figures of all sheets, a section each: protocols never share one.
pub(crate) fn section(shown: &[Shown]) -> String {
    shown.iter().map(|Shown { sheet, figures }| of_sheet(sheet, figures)).collect()
}

fn of_sheet(sheet: &Sheet, figures: &[Figure]) -> String {
    let place = sheet.stem.strip_prefix(&format!("{}-", sheet.protocol));
    let place = place.map_or_else(String::new, |place| format!(", {place}"));
    let head = format!("\n## Protocol `{}`{place}\n\n", sheet.protocol);
    if sheet.all().next().is_none() {
        return head + "No run is finished yet.\n";
    }
    let finished = match sheet.missing {
        0 => "All runs are finished.".to_owned(),
        missing => format!("Runs that are not finished: {missing}; their cells are empty or have fewer seeds."),
    };
    let stem = &sheet.stem;
    let mut text = format!(
        "{head}{}. {finished} Intervals, tests and all figures by bit width: [tables/{stem}.md](tables/{stem}.md), \
         [.tex](tables/{stem}.tex), [.csv](tables/{stem}.csv).\n",
        sheet.setting()
    );
    if let Some(note) = sheet.all().find_map(|run| run.accuracy_note.as_deref()) {
        text += &format!("\nAccuracy was not measured in all runs: {note}\n");
    }
    let grid = |measure: &Measure| measure_grid(sheet, measure).map(|grid| grid.to_markdown());
    text.extend([&DROP, &BEST].into_iter().filter_map(grid).map(|grid| format!("\n{grid}")));
    for figure in figures {
        text += &format!("\n![{}](figures/{}.svg)\n", figure.title, figure.name);
    }
    for measure in MEASURES.iter().filter(|measure| measure.key != DROP.key && measure.key != BEST.key) {
        if let Some(grid) = grid(measure) {
            text += &format!("\n<details><summary>{}</summary>\n\n{grid}\n</details>\n", measure.title);
        }
    }
    text
}

/// The page with the text between its marks replaced; marks are added at the end where there are none.
///
/// # Errors
/// A page that has only one of the marks.
pub(crate) fn fill(page: &str, text: &str) -> Result<String, Usage> {
    match (page.find(BEGIN), page.find(END)) {
        (Some(begin), Some(end)) if begin < end => Ok(format!("{}{BEGIN}\n{text}\n{}", &page[..begin], &page[end..])),
        (None, None) => Ok(format!("{}\n\n{BEGIN}\n{text}\n{END}\n", page.trim_end())),
        _ => Err(Usage(format!("the page needs both marks, in order: {BEGIN} and {END}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sheet::Spot;
    use super::super::sheet::tests::{small_sheet, spot};
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let first = fill("# Title\n\nwords\n", "one").unwrap();
        assert!(first.starts_with("# Title\n\nwords\n\n<!-- study: begin"));
        let second = fill(&(first.clone() + "after\n"), "two").unwrap();
        assert!(second.contains("two") && !second.contains("one") && second.ends_with("after\n"));
        assert!(fill(END, "x").is_err());
    }

    #[test]
    fn the_drop_comes_first_then_figures_then_the_rest() {
        let figures = vec![Figure { name: "gdfq-bits".into(), title: "top-1 by bit width".into(), svg: String::new() }];
        let text = section(&[Shown { sheet: small_sheet(), figures }]);
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        assert!(place("## Protocol `gdfq`\n") < place("Runs that are not finished: 1;"));
        assert!(
            place("tables/gdfq.tex") < place("**Drop of top-1")
                && place("**Drop of top-1") < place("figures/gdfq-bits.svg")
        );
        assert!(place("figures/gdfq-bits.svg") < place("<details><summary>Top-1 after the last epoch"));
        assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
    }

    #[test]
    fn a_study_without_finished_runs_says_so() {
        let sheet =
            Sheet::new("small", "brecq", None, &[Spot { protocol: "brecq".into(), ..spot("mse", "w4a4", 1, None) }]);
        let text = section(&[Shown { sheet: sheet.unwrap(), figures: Vec::new() }]);
        assert_eq!(text, "\n## Protocol `brecq`\n\nNo run is finished yet.\n");
    }
}
