//! What fitting steps and bit allocation did, by unit.

use super::html::{Section, data_uri};
use super::markdown;
use super::run_files::RunFiles;
use super::table::{Cell, Column, table};
use crate::record::Phase;

/// Values that come first, in this order.
const FIRST: [&str; 3] = ["before", "soft", "hard"];

/// The values of one step: units in the order in which they were done.
#[derive(Debug, Clone, Default, PartialEq)]
struct Step {
    name: String,
    columns: Vec<String>,
    units: Vec<(String, Vec<(String, f64)>)>,
}

/// A table for each step that reports units; none where no step does.
pub(super) fn fitting(files: &RunFiles) -> Option<Section> {
    let allocated = files.bytes("allocation.md").is_some();
    // The page of the allocation has the same numbers.
    let steps: Vec<Step> = steps(files).into_iter().filter(|step| !(allocated && step.name == "allocate")).collect();
    let body: String = steps.iter().map(Step::to_html).collect();
    (!body.is_empty()).then_some(Section { id: "fitting", title: "Fitting", body })
}

/// The bits of each layer and what they cost, where they were chosen.
pub(super) fn allocation(files: &RunFiles) -> Option<Section> {
    let text = files.text("allocation.md")?;
    let mut body = markdown::html(&text, &|_| None);
    if let Some(picture) = files.bytes("frontier.svg") {
        let address = data_uri("image/svg+xml", &picture);
        body +=
            &format!("<figure class=\"figure\"><img alt=\"cost against sensitivity\" src=\"{address}\"></figure>\n");
    }
    Some(Section { id: "allocation", title: "Bit allocation", body })
}

fn steps(files: &RunFiles) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for record in files.records.iter().filter(|record| record.phase == Phase::Fit) {
        for (tag, value) in &record.values {
            let Some((step, rest)) = tag.strip_prefix("fit/").and_then(|rest| rest.split_once('/')) else { continue };
            let Some((unit, name)) = rest.rsplit_once('/') else { continue };
            let at = steps.iter().position(|known| known.name == step).unwrap_or_else(|| {
                steps.push(Step { name: step.to_owned(), ..Step::default() });
                steps.len() - 1
            });
            steps[at].take(unit, name, *value);
        }
    }
    for step in &mut steps {
        let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
        step.columns.sort_by_key(|name| place(name));
    }
    steps
}

impl Step {
    fn take(&mut self, unit: &str, name: &str, value: f64) {
        if !self.columns.iter().any(|known| known == name) {
            self.columns.push(name.to_owned());
        }
        match self.units.iter_mut().find(|(known, _)| known == unit) {
            Some((_, values)) => values.push((name.to_owned(), value)),
            None => self.units.push((unit.to_owned(), vec![(name.to_owned(), value)])),
        }
    }

    fn to_html(&self) -> String {
        let shrinks = ["before", "hard"].iter().all(|name| self.columns.iter().any(|known| known == name));
        let mut columns = vec![Column::words("unit")];
        columns.extend(self.columns.iter().map(|name| Column::numbers(name)));
        columns.extend(shrinks.then(|| Column::numbers("hard / before")));
        let row = |(unit, values): &(String, Vec<(String, f64)>)| -> Vec<Cell> {
            let value = |wanted: &str| values.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| *value);
            let share = match (value("hard"), value("before")) {
                (Some(hard), Some(before)) if before > 0.0 => Some(hard / before),
                _ => None,
            };
            std::iter::once(Cell::text(unit.as_str()))
                .chain(self.columns.iter().map(|name| Cell::number(value(name))))
                .chain(shrinks.then(|| Cell::number(share)))
                .collect()
        };
        let rows: Vec<Vec<Cell>> = self.units.iter().map(row).collect();
        format!("<h3 class=\"spaced\">{}</h3>\n{}", super::html::escape(&self.name), table(&columns, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;
    use crate::record::{METRICS_FILE, Record};

    fn records() -> String {
        let first = Record::new(Phase::Fit, 1, 0.0)
            .with("fit/brecq/layer2.0/before", 4.0)
            .with("fit/brecq/layer2.0/hard", 1.0)
            .with("fit/brecq/layer2.0/soft", 0.5)
            .with("fit/bias-correction/mean_error", 0.1);
        let second =
            Record::new(Phase::Fit, 2, 0.0).with("fit/brecq/linear/before", 2.0).with("fit/brecq/linear/a", 7.0);
        let third = Record::new(Phase::Fit, 3, 0.0).with("fit/allocate/conv1/w4", 0.25);
        [first, second, third].map(|record| record.to_line().unwrap() + "\n").concat()
    }

    #[test]
    fn each_unit_has_a_row_in_the_order_of_the_work() {
        let records = records();
        let root = folder("COMPLETED", None, &[("config.toml", ""), (METRICS_FILE, records.as_str())]);
        let body = fitting(&RunFiles::read(root.path()).unwrap()).unwrap().body;
        let headings: Vec<&str> =
            body.split("<th scope=\"col\"").skip(1).map(|rest| rest.split(['>', '<']).nth(1).unwrap()).collect();
        assert_eq!(headings, ["unit", "before", "soft", "hard", "a", "hard / before", "unit", "w4"]);
        assert!(body.contains("<td>layer2.0</td><td class=\"n\" data-v=\"4\">4</td>"), "{body}");
        assert!(body.contains("data-v=\"0.25\">0.25</td></tr>\n<tr><td>linear</td>"), "{body}");
        assert!(body.contains("<h3 class=\"spaced\">allocate</h3>"), "{body}");
    }

    #[test]
    fn an_allocation_stands_once() {
        let records = records();
        let table = "| layer | bits |\n|---|---:|\n| conv1 | 8 |\n\nBudget: 4 bits a weight.\n";
        let files = [
            ("config.toml", ""),
            (METRICS_FILE, records.as_str()),
            ("allocation.md", table),
            ("frontier.svg", "<svg/>"),
        ];
        let root = folder("COMPLETED", None, &files);
        let files = RunFiles::read(root.path()).unwrap();
        assert!(!fitting(&files).unwrap().body.contains("allocate"));
        let body = allocation(&files).unwrap().body;
        assert!(
            body.contains("Budget: 4 bits a weight.") && body.contains("src=\"data:image/svg+xml;base64,"),
            "{body}"
        );
    }

    #[test]
    fn without_steps_there_is_no_section() {
        let root = folder("COMPLETED", None, &[("config.toml", "")]);
        let files = RunFiles::read(root.path()).unwrap();
        assert_eq!((fitting(&files), allocation(&files)), (None, None));
    }
}
