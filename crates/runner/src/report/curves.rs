//! What was measured while the run went on.

use std::collections::BTreeSet;

use super::chart::{Chart, Series};
use super::html::{Section, aside};
use super::run_files::RunFiles;
use super::table::{Cell, Column, table};
use crate::plot::number;
use crate::record::{Phase, Record, describe};

/// The columns of the table of measurements.
const MEASURED: [(&str, &str); 6] = [
    ("student/top1", "top-1 (%)"),
    ("student/top5", "top-5 (%)"),
    ("student/test_agreement", "agreement, test set (%)"),
    ("student/agreement", "agreement, held-out images (%)"),
    ("student/logit_mse", "logit MSE"),
    ("student/kl", "KL (nat)"),
];

/// What runs along a chart, and the values that stand there.
type Along = (&'static str, fn(&Record) -> Option<f64>);

const STEP: Along = ("step", |record| Some(record.step as f64));
const EPOCH: Along = ("epoch", |record| record.epoch.map(|epoch| epoch as f64));

/// Charts of all metrics but those of layers and of fitting steps' units, and the table of measurements.
pub(super) fn curves(files: &RunFiles) -> Section {
    let charts: String = charts(files).iter().map(Chart::to_html).collect();
    let mut body = match charts.is_empty() {
        true => aside("No curve has been recorded."),
        false => format!("<div class=\"cards\">\n{charts}</div>\n"),
    };
    body += &measurements(files);
    Section { id: "curves", title: "Curves", body }
}

fn charts(files: &RunFiles) -> Vec<Chart> {
    let drawn = Drawn { files };
    let mut charts = drawn.evaluation();
    charts.extend(drawn.losses());
    for (phase, tag, title) in [
        (Phase::Distill, "train/agreement", "Agreement on training batches"),
        (Phase::Distill, "lr", "Learning rate"),
        (Phase::Distill, "quant/codes_changed", "Weights whose code changed"),
    ] {
        charts.push(drawn.one(phase, tag, title));
    }
    let synth = drawn.tags(Phase::Synth, |tag| tag.starts_with("synth/") && tag != "synth/lr");
    charts.push(
        drawn.several(Phase::Synth, "Making the images", "", STEP, &synth, |tag| tag["synth/".len()..].to_owned()),
    );
    charts.push(drawn.one(Phase::Synth, "synth/lr", "Step size of the images' optimizer"));
    charts.extend(drawn.others());
    charts.retain(|chart| chart.series.iter().any(|series| series.points.len() > 1));
    charts
}

struct Drawn<'a> {
    files: &'a RunFiles,
}

impl Drawn<'_> {
    /// Accuracy, agreement and logit error by epoch.
    fn evaluation(&self) -> Vec<Chart> {
        let names = ["student/top1", "student/test_agreement", "student/agreement"];
        let name = |tag: &str| -> String {
            let name = match tag {
                "student/top1" => "student top-1",
                "student/test_agreement" => "agreement, test set",
                _ => "agreement, held-out images",
            };
            name.to_owned()
        };
        let tags: Vec<String> = names.map(str::to_owned).to_vec();
        let mut accuracy = self.several(Phase::Eval, "Accuracy and agreement", "%", EPOCH, &tags, name);
        if let Some(top1) = self.files.last(Phase::Eval, "teacher/top1") {
            accuracy.levels.push(("teacher top-1".to_owned(), top1));
        }
        let one = |tag: &str, title: &str, unit: &str| {
            self.several(Phase::Eval, title, unit, EPOCH, &[tag.to_owned()], |_| "student".to_owned())
        };
        vec![accuracy, one("student/logit_mse", "Logit MSE", "logit²"), one("student/kl", "KL of the answers", "nat")]
    }

    /// The whole loss with its weighted terms, and the terms by themselves.
    fn losses(&self) -> [Chart; 2] {
        let weighted = |tag: &str| tag == "loss/total" || (tag.starts_with("loss/") && tag.ends_with("/weighted"));
        let mut tags = self.tags(Phase::Distill, weighted);
        tags.sort_by_key(|tag| tag != "loss/total");
        let raw = self.tags(Phase::Distill, |tag| tag.starts_with("loss/") && !weighted(tag));
        let name = |tag: &str| -> String {
            let term = tag.strip_prefix("loss/").unwrap_or(tag);
            term.strip_suffix("/weighted").unwrap_or(term).to_owned()
        };
        [("Loss", "weighted", &tags), ("Loss terms", "unweighted", &raw)]
            .map(|(title, unit, tags)| self.several(Phase::Distill, title, unit, STEP, tags, name))
    }

    /// One metric over steps; of a rate the range it ran through.
    fn one(&self, phase: Phase, tag: &str, title: &str) -> Chart {
        let unit = describe(tag).map(|metric| metric.unit).unwrap_or_default();
        let mut chart = self.several(phase, title, unit, STEP, &[tag.to_owned()], |tag| tag.to_owned());
        if tag.ends_with("lr") {
            chart.note = range(chart.series.first());
        }
        chart
    }

    /// Metrics that no chart above shows, by phase and family: those of plugins.
    fn others(&self) -> Vec<Chart> {
        let shown = |phase: Phase, tag: &str| match phase {
            Phase::Synth => tag.starts_with("synth/"),
            Phase::Eval => tag.starts_with("student/") || tag.starts_with("teacher/"),
            Phase::Distill => {
                tag.starts_with("loss/") || ["lr", "train/agreement", "quant/codes_changed"].contains(&tag)
            }
            _ => false,
        };
        let of_parts = |tag: &str| tag.starts_with("perf/") || is_of_parts(tag);
        let mut families: BTreeSet<(Phase, String)> = BTreeSet::new();
        for record in &self.files.records {
            let tags = record.values.keys().filter(|tag| !shown(record.phase, tag) && !of_parts(tag));
            families.extend(tags.map(|tag| (record.phase, family(tag).to_owned())));
        }
        let chart = |(phase, name): (Phase, String)| {
            let tags = self.tags(phase, |tag| family(tag) == name && !shown(phase, tag) && !of_parts(tag));
            self.several(phase, &format!("{name}, phase {phase}"), "", STEP, &tags, |tag| tag.to_owned())
        };
        families.into_iter().map(chart).collect()
    }

    fn tags(&self, phase: Phase, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let records = self.files.records.iter().filter(|record| record.phase == phase);
        let tags: BTreeSet<&String> =
            records.flat_map(|record| record.values.keys()).filter(|tag| wanted(tag)).collect();
        tags.into_iter().cloned().collect()
    }

    fn several(
        &self,
        phase: Phase,
        title: &str,
        unit: &str,
        (along, place): Along,
        tags: &[String],
        name: impl Fn(&str) -> String,
    ) -> Chart {
        let series = tags.iter().filter_map(|tag| {
            let values = self.files.values(phase, tag);
            let points: Vec<(f64, f64)> = values.filter_map(|(record, value)| Some((place(record)?, value))).collect();
            (!points.is_empty()).then(|| Series { name: name(tag), points })
        });
        let series = series.collect();
        Chart { title: title.to_owned(), unit: unit.to_owned(), along, series, ..Chart::default() }
    }
}

/// What a tag stands with: `fit/bias-correction` of `fit/bias-correction/mean_error`.
fn family(tag: &str) -> &str {
    tag.rsplit_once('/').map_or(tag, |(family, _)| family)
}

/// Whether a tag belongs to one layer or unit: these have sections of their own.
fn is_of_parts(tag: &str) -> bool {
    let parts = tag.matches('/').count() + 1;
    (tag.starts_with("quant/") && parts == 3) || (tag.starts_with("fit/") && parts > 3)
}

fn range(series: Option<&Series>) -> String {
    let values =
        || series.iter().flat_map(|series| &series.points).map(|(_, value)| *value).filter(|value| value.is_finite());
    let (Some(first), Some(last)) = (values().next(), values().next_back()) else { return String::new() };
    let (least, most) = (values().fold(first, f64::min), values().fold(first, f64::max));
    match least == most {
        true => format!("{} throughout", number(first)),
        false => format!("from {} to {}, between {} and {}", number(first), number(last), number(least), number(most)),
    }
}

/// Each evaluation as a row.
fn measurements(files: &RunFiles) -> String {
    let records: Vec<&Record> = files.values(Phase::Eval, "student/agreement").map(|(record, _)| record).collect();
    if records.is_empty() {
        return aside("The student has not been measured yet.");
    }
    let there = |tag: &str| records.iter().any(|record| record.values.contains_key(tag));
    let columns: Vec<(&str, &str)> = MEASURED.into_iter().filter(|(tag, _)| there(tag)).collect();
    let mut headings = vec![Column::numbers("epoch")];
    headings.extend(columns.iter().map(|(_, name)| Column::numbers(name)));
    let row = |record: &&Record| -> Vec<Cell> {
        let cell = |(tag, name): &(&str, &str)| match record.values.get(*tag) {
            Some(value) if name.ends_with("(%)") && value.is_finite() => Cell::shown(*value, format!("{value:.2}")),
            value => Cell::number(value.copied()),
        };
        let epoch =
            record.epoch.map_or_else(|| Cell::unsorted("–"), |epoch| Cell::shown(epoch as f64, epoch.to_string()));
        std::iter::once(epoch).chain(columns.iter().map(cell)).collect()
    };
    let rows: Vec<Vec<Cell>> = records.iter().map(row).collect();
    format!("<h3 class=\"spaced\">Measurements</h3>\n{}", table(&headings, &rows))
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;
    use crate::record::METRICS_FILE;

    fn page(records: &[Record]) -> String {
        let text: String = records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
        let root = folder("COMPLETED", None, &[("config.toml", ""), (METRICS_FILE, text.as_str())]);
        curves(&RunFiles::read(root.path()).unwrap()).body
    }

    fn eval(epoch: u64, top1: f64) -> Record {
        let record = Record::new(Phase::Eval, 10 * epoch, 0.0).at_epoch(epoch);
        record.with("student/agreement", top1 + 1.0).with("student/top1", top1).with("student/kl", 0.5)
    }

    #[test]
    fn a_trained_run_has_accuracy_losses_and_rates() {
        let step = |step: u64| {
            let record = Record::new(Phase::Distill, step, 0.0).with("loss/total", 2.0).with("loss/kl", 1.0);
            record.with("loss/kl/weighted", 2.0).with("lr", 0.1 / (step + 1) as f64)
        };
        let teacher = Record::new(Phase::Eval, 0, 0.0).with("teacher/top1", 96.5);
        let html = page(&[teacher, eval(0, 80.0), eval(5, 90.0), step(0), step(1), step(9)]);
        for words in [
            "Accuracy and agreement <span class=\"soft\">(%)</span>",
            "<li class=\"k6 dashed\">teacher top-1 96.5</li>",
            "<li class=\"k0\">total</li><li class=\"k1\">kl</li>",
            "Loss terms <span",
            "<p class=\"soft small\">from 0.1 to 0.01, between 0.01 and 0.1</p>",
            "<td class=\"n\" data-v=\"5\">5</td><td class=\"n\" data-v=\"90\">90.00</td>",
        ] {
            assert!(html.contains(words), "{words}: {html}");
        }
        assert!(!html.contains("Making the images"), "{html}");
    }

    #[test]
    fn a_calibrated_run_has_its_one_measurement_and_metrics_of_plugins_their_chart() {
        let other = |step: u64| {
            let record = Record::new(Phase::Fit, step, 0.0).with("fit/mine/<gap>", 1.0 + step as f64);
            record.with("fit/brecq/layer1/hard", 1.0).with("perf/images_per_s", 9.0)
        };
        let html = page(&[eval(0, 80.0), other(0), other(1)]);
        assert!(html.contains("<h3>fit/mine, phase fit</h3>") && html.contains("fit/mine/&lt;gap&gt;: 2"), "{html}");
        assert!(!html.contains("fit/brecq") && !html.contains("Accuracy and agreement"), "{html}");
        assert!(html.contains("data-v=\"80\">80.00</td>"), "{html}");
        assert!(page(&[]).contains("No curve has been recorded") && page(&[]).contains("not been measured yet"));
    }
}
