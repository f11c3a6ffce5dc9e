//! A table of methods, and its three renderings.

use serde::Serialize;

use super::compare::Published;
use super::grid::{Grid, GridCell};
use super::stat::Stat;

/// The mark of methods that use real data.
pub(crate) const DAGGER: &str = "\u{2020}";
/// The mark of figures whose epoch was chosen by looking at the test set.
pub(crate) const DOUBLE_DAGGER: &str = "\u{2021}";
/// What [`DAGGER`] says.
pub(crate) const REAL_DATA: &str = "\u{2020} uses REAL data: a control, not a data-free method";
/// What [`DOUBLE_DAGGER`] says.
pub(crate) const BEST_ON_TEST: &str =
    "\u{2021} epoch selected on test, as papers print it: optimistic; the result is the final epoch";
const NOT_MEASURED: &str = "not measured";

/// One method of one experiment, over its seeds. Accuracies and agreement in %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The experiment.
    pub experiment: String,
    /// The method, with its experiment before it where the table has several.
    pub method: String,
    /// Whether real images were used.
    pub uses_real_data: bool,
    /// The seeds, in ascending order.
    pub seeds: Vec<u64>,
    /// Full-precision top-1.
    pub fp_top1: Option<Stat>,
    /// Student top-1 at the end.
    pub final_top1: Option<Stat>,
    /// Student top-1 at the epoch that was best on the test set.
    pub best_on_test_top1: Option<Stat>,
    /// Full precision less student, run by run.
    pub drop: Option<Stat>,
    /// What the paper lost.
    pub published_drop: Option<Published>,
    /// Agreement with the teacher.
    pub agreement: Option<Stat>,
    /// What agreement was measured on.
    pub measured_on: Option<String>,
    /// Images that went through a network.
    pub image_passes: Option<Stat>,
    /// Seconds.
    pub wall_seconds: Option<Stat>,
}

impl Row {
    /// How many runs it stands for; a row whose seeds are not known has as many as the figure of most.
    pub fn runs(&self) -> usize {
        let stats =
            [self.fp_top1, self.final_top1, self.best_on_test_top1, self.drop, self.agreement, self.wall_seconds];
        let most = stats.iter().flatten().map(|stat| stat.n).max().unwrap_or(0);
        if self.seeds.is_empty() { most } else { self.seeds.len() }
    }
}

/// Methods that may stand beside each other: one test set, teacher, bit width and protocol.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What the table shows, the teacher and its network named.
    pub caption: String,
    /// Data-free methods first.
    pub rows: Vec<Row>,
    /// Why accuracies are missing, where they are.
    pub notes: Vec<String>,
}

impl Table {
    /// GitHub markdown: a heading, the table, and its footnotes.
    pub fn to_markdown(&self) -> String {
        self.grid().to_markdown()
    }

    /// A table environment of LaTeX, everything escaped; it wants the package `booktabs`.
    pub fn to_tex(&self) -> String {
        self.grid().to_latex()
    }

    fn grid(&self) -> Grid {
        let mut header = [
            "method",
            "data",
            "n",
            "FP top-1",
            "final top-1",
            "best-on-test top-1",
            "drop",
            "published drop",
            "agreement",
            "image passes",
            "time",
        ]
        .map(str::to_owned)
        .to_vec();
        let (mut notes, mut sources) = (self.notes.clone(), Vec::new());
        let rows = self.rows.iter().map(|row| cells(row, &mut sources).map(GridCell::from).to_vec()).collect();
        if self.rows.iter().any(|row| row.uses_real_data) {
            notes.push(REAL_DATA.to_owned());
        }
        if self.rows.iter().any(|row| row.best_on_test_top1.is_some()) {
            header[5].push_str(DOUBLE_DAGGER);
            notes.push(BEST_ON_TEST.to_owned());
        }
        notes.extend(sources.iter().enumerate().map(|(at, source)| format!("[{}] {source}", at + 1)));
        Grid { caption: self.caption.clone(), header, words: 2, rows, notes }
    }

    /// Comma-separated values at full precision, a header line first; empty where nothing was measured.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("experiment,method,data,seeds");
        for name in ["fp_top1", "final_top1", "best_on_test_top1", "drop", "agreement", "image_passes", "wall_seconds"]
        {
            text += &format!(",{name}_mean,{name}_std,{name}_n");
        }
        text += ",published_drop,published_source\n";
        for row in &self.rows {
            let seeds = row.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            let data = if row.uses_real_data { "real" } else { "synthetic" };
            text += &[&row.experiment, &row.method, data, &seeds].map(csv_cell).join(",");
            let stats = [row.fp_top1, row.final_top1, row.best_on_test_top1, row.drop, row.agreement];
            for stat in stats.into_iter().chain([row.image_passes, row.wall_seconds]) {
                match stat {
                    Some(Stat { n, mean, std }) => {
                        let std = std.map(|std| std.to_string()).unwrap_or_default();
                        text += &format!(",{mean},{std},{n}");
                    }
                    None => text += ",,,0",
                }
            }
            match &row.published_drop {
                Some(published) => text += &format!(",{},{}\n", published.drop, csv_cell(&published.source)),
                None => text += ",,\n",
            }
        }
        text
    }

    /// The table as JSON, one object a row under `rows`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "caption": self.caption, "rows": self.rows, "notes": self.notes })
    }
}

/// The page `results/tables/<name>.md`.
pub(crate) fn table_page(name: &str, tables: &[Table]) -> String {
    let made = format!("<!-- made by `blindfold tables` and `blindfold compare {name} --write`; do not edit -->\n");
    made + &tables.iter().map(|table| format!("\n{}\n", table.to_markdown())).collect::<String>()
}

/// The cells of a row; sources of published figures are collected for the footnotes.
fn cells(row: &Row, sources: &mut Vec<String>) -> [String; 11] {
    let runs = row.runs();
    let stat = |stat: &Option<Stat>, none: &str, digits| match stat {
        Some(stat) if stat.n < runs => format!("{} (n = {})", stat.text(digits), stat.n),
        Some(stat) => stat.text(digits),
        None => none.to_owned(),
    };
    let published = match &row.published_drop {
        Some(published) => {
            let at = sources.iter().position(|source| *source == published.source).unwrap_or_else(|| {
                sources.push(published.source.clone());
                sources.len() - 1
            });
            format!("{:.2} [{}]", published.drop, at + 1)
        }
        None => "–".to_owned(),
    };
    let mark = if row.uses_real_data { DAGGER } else { "" };
    [
        format!("{}{mark}", row.method),
        if row.uses_real_data { format!("REAL{DAGGER}") } else { "synthetic".to_owned() },
        runs.to_string(),
        row.fp_top1.map_or_else(|| NOT_MEASURED.to_owned(), |stat| format!("{:.2}", stat.mean)),
        stat(&row.final_top1, NOT_MEASURED, 2),
        stat(&row.best_on_test_top1, "–", 2),
        stat(&row.drop, NOT_MEASURED, 2),
        published,
        stat(&row.agreement, "–", 2),
        row.image_passes.map_or_else(|| "–".to_owned(), |stat| count(stat.mean)),
        row.wall_seconds.map_or_else(|| "–".to_owned(), |stat| duration(stat.mean)),
    ]
}

/// Such as `64`, `32.1 k`, `1.28 M`.
pub(crate) fn count(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// Such as `48 s`, `3 min 20 s`, `2 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A cell of RFC 4180: quoted where it must be.
pub(crate) fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str) -> Row {
        Row {
            experiment: "e".into(),
            method: method.into(),
            uses_real_data: false,
            seeds: vec![1, 2],
            fp_top1: None,
            final_top1: None,
            best_on_test_top1: None,
            drop: None,
            published_drop: None,
            agreement: Stat::of([98.0, 99.0]),
            measured_on: None,
            image_passes: Stat::of([1_280_000.0]),
            wall_seconds: Stat::of([199.6]),
        }
    }

    #[test]
    fn missing_accuracy_says_so() {
        let table = Table { caption: "c".into(), rows: vec![row("zeroq")], notes: vec!["no data".into()] };
        let expected = "| zeroq | synthetic | 2 | not measured | not measured | – | not measured | – | 98.50 ± 0.71 | 1.28 M | 3 min 20 s |";
        assert_eq!(table.to_markdown().lines().nth(4).unwrap(), expected);
        assert!(table.to_markdown().ends_with("\n\n- no data\n"));
        assert!(table.to_csv().lines().nth(1).unwrap().starts_with("e,zeroq,synthetic,1 2,,,0,,,0,,,0,,,0,98.5,0.707"));
        assert!(table.to_json()["rows"][0]["final_top1"].is_null());
    }

    #[test]
    fn real_data_best_on_test_and_published_numbers_are_marked() {
        let published = Published { drop: 1.5, source: "Paper, table 2".into() };
        let real = Row {
            uses_real_data: true,
            best_on_test_top1: Stat::of([91.0]),
            published_drop: Some(published.clone()),
            ..row("real")
        };
        let other = Row { published_drop: Some(published), ..row("a|b") };
        let text = Table { caption: "c".into(), rows: vec![other, real], notes: vec![] }.to_markdown();
        assert!(text.contains("| a\\|b | synthetic |") && text.contains("| real† | REAL† |"), "{text}");
        assert!(text.contains("best-on-test top-1‡") && text.contains("91.00 (n = 1)"), "{text}");
        assert!(
            text.contains("1.50 [1]") && !text.contains("[2]") && text.contains("- [1] Paper, table 2\n"),
            "{text}"
        );
    }

    #[test]
    fn latex_has_the_same_cells_escaped() {
        let published = Published { drop: 1.5, source: "Paper & Co, 50 %".into() };
        let table = Table {
            caption: "c".into(),
            rows: vec![Row { published_drop: Some(published), ..row("a_b") }],
            notes: vec![],
        };
        let text = table.to_tex();
        assert!(text.contains("a\\_b & synthetic & 2 & not measured"), "{text}");
        assert!(text.contains("98.50 $\\pm$ 0.71 & 1.28 M & 3 min 20 s \\\\"), "{text}");
        assert!(text.contains("{[}1{]} Paper \\& Co, 50 \\%"), "{text}");
        assert_eq!(text.matches("rule\n").count(), 3, "{text}");
    }

    #[test]
    fn a_row_without_known_seeds_counts_the_runs_of_its_figures() {
        let printed = Row { seeds: vec![], wall_seconds: Stat::of([1.0]), ..row("printed") };
        assert_eq!((printed.runs(), row("run").runs()), (2, 2));
        let text = Table { caption: "c".into(), rows: vec![printed], notes: vec![] }.to_markdown();
        assert!(text.contains("| printed | synthetic | 2 |"), "{text}");
    }

    #[test]
    fn cells_of_csv_are_quoted_where_needed() {
        assert_eq!(csv_cell("plain"), "plain");
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!([duration(3.4), duration(59.6), duration(7500.0)], ["3 s", "1 min 00 s", "2 h 05 min"]);
    }
}
