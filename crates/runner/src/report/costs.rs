//! Times and image passes.

use super::html::{Section, aside, escape};
use super::run_files::RunFiles;
use crate::plot::number;
use crate::record::{Phase, duration};

/// Phases of run.json in the order of the work, with words for people.
const PHASES: [(&str, &str); 5] = [
    ("synth", "making the images"),
    ("calibrate", "calibration and fitting"),
    ("fit", "fitting"),
    ("distill", "training"),
    ("eval", "evaluation"),
];
/// Colours of the page.
const COLOURS: usize = 7;

/// Seconds by phase, and what a machine of any speed would have had to do.
pub(super) fn costs(files: &RunFiles) -> Section {
    let info = &files.info;
    let mut phases: Vec<(&str, f64)> =
        info.wall_seconds.iter().map(|(name, seconds)| (name.as_str(), *seconds)).collect();
    let place = |name: &str| PHASES.iter().position(|(known, _)| *known == name).unwrap_or(PHASES.len());
    phases.sort_by_key(|(name, _)| place(name));
    let total = info.total_wall();
    let mut body = match phases.is_empty() || total <= 0.0 {
        true => aside("No phase has ended yet."),
        false => times(&phases, total),
    };
    let passes = match info.image_passes {
        Some(passes) => format!("Image passes: {}, forward and backward of one image counted once.", grouped(passes)),
        None => "Image passes: not counted.".to_owned(),
    };
    body += &format!("<p>{passes}</p>\n");
    if let Some(speed) = files.last(Phase::Eval, "perf/images_per_s") {
        body += &format!("<p>Evaluation: {} images a second.</p>\n", escape(&number(speed)));
    }
    Section { id: "costs", title: "Times and image passes", body }
}

fn times(phases: &[(&str, f64)], total: f64) -> String {
    let (mut bar, mut rows) = (String::new(), String::new());
    for (index, (name, seconds)) in phases.iter().enumerate() {
        let words = PHASES.iter().find(|(known, _)| known == name).map_or(*name, |(_, words)| *words);
        let (words, time, share) = (escape(words), duration(*seconds), 100.0 * seconds / total);
        let colour = index % COLOURS;
        bar += &format!("<i class=\"k{colour}\" style=\"width:{share:.2}%\" title=\"{words}: {time}\"></i>");
        rows += &format!(
            "<tr><td><span class=\"swatch k{colour}\"></span>{words}</td><td class=\"n\">{time}</td>\
             <td class=\"n\">{share:.1} %</td></tr>\n"
        );
    }
    format!(
        "<div class=\"stack\">{bar}</div>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">phase</th>\
         <th scope=\"col\" class=\"n\">time</th><th scope=\"col\" class=\"n\">share</th></tr></thead>\n<tbody>\n{rows}\
         <tr><td>all, over all lives of the run</td><td class=\"n\">{}</td><td></td></tr>\n</tbody>\n</table></div>\n",
        duration(total)
    )
}

/// Such as `61 696`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("\u{202f}")
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    #[test]
    fn phases_stand_in_the_order_of_the_work_with_their_shares() {
        let root = folder("COMPLETED", None, &[("config.toml", "")]);
        let body = costs(&RunFiles::read(root.path()).unwrap()).body;
        assert!(body.find("making the images").unwrap() < body.find("calibration and fitting").unwrap(), "{body}");
        assert!(body.contains("width:75.00%") && body.contains(">30 s</td><td class=\"n\">75.0 %</td>"), "{body}");
        assert!(body.contains(">40 s</td><td></td>") && body.contains("Image passes: not counted."), "{body}");
    }

    #[test]
    fn numbers_stand_in_groups_of_three() {
        assert_eq!([7, 1000, 61_696].map(grouped), ["7", "1\u{202f}000", "61\u{202f}696"]);
    }
}
