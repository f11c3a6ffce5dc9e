//! The tables of a sheet: one a measure over all bit widths, one a bit width over all measures.

use super::measure::{BEST, DROP, MEASURES, Measure, TOP1};
use super::sheet::Sheet;
use super::verdict::{against_baseline, p_text, sign, winner};
use crate::record::{BEST_ON_TEST, Grid, GridCell, LEAST_PAIRS, REAL_DATA, SIGNIFICANT, Stat, csv_cell};

const NOTHING: &str = "–";

/// One measure: variants by bit widths. `None` where no run has it.
pub(crate) fn measure_grid(sheet: &Sheet, measure: &Measure) -> Option<Grid> {
    sheet.all().find_map(|run| (measure.of)(run))?;
    let mut sources = Sources::default();
    let (mut bold, mut signed, mut other_bits) = (false, false, false);
    let winners: Vec<Option<&str>> = sheet.columns.iter().map(|column| winner(sheet, measure, column)).collect();
    let mut rows = Vec::new();
    for variant in &sheet.variants {
        let mut cells: Vec<GridCell> = vec![sheet.label(&variant.name).into()];
        for (column, winner) in sheet.columns.iter().zip(&winners) {
            let Some(stat) = sheet.stat(&variant.name, column, measure) else {
                cells.push(GridCell::default());
                continue;
            };
            let sign = sign(measure, against_baseline(sheet, measure, variant, column));
            let mut text = format!("{}{sign}", measure.text(&stat));
            if let Some(own) = sheet.own_bits(&variant.name, column) {
                text += &format!(" ({own})");
                other_bits = true;
            }
            if measure.key == DROP.key
                && let Some(published) = sheet.published(&variant.name, column)
            {
                text += &format!(" / {:.2} {}", published.drop, sources.mark(&published.source));
            }
            let wins = *winner == Some(variant.name.as_str());
            bold |= wins;
            signed |= !sign.is_empty();
            cells.push(GridCell { text, bold: wins });
        }
        rows.push(cells);
    }
    let mut notes = Vec::new();
    if other_bits {
        notes.push(
            "in brackets: the bits in place of the column's: of a format of one width, or, where a method's weights take over \
             half as much again, their mean with scales and codebooks; never bold"
                .to_owned(),
        );
    }
    if bold {
        notes.push(format!(
            "**bold**: significantly better than the second best data-free method of the column's bits (paired t-test over equal seeds, \
             two-sided, p < {SIGNIFICANT}, at least {LEAST_PAIRS} seeds)"
        ));
    }
    if let (true, Some(baseline)) = (signed, &sheet.baseline) {
        notes.push(format!(
            "⁺ significantly better, ⁻ significantly worse than `{baseline}` (the same test; not corrected for the number of \
             comparisons)"
        ));
    }
    if sheet.variants.iter().any(|variant| sheet.is_real(&variant.name)) {
        notes.push(REAL_DATA.to_owned());
    }
    if measure.key == BEST.key {
        notes.push(BEST_ON_TEST.to_owned());
    }
    if !sources.0.is_empty() {
        notes.push("after the stroke: the drop that the paper printed, on its own checkpoint".to_owned());
    }
    notes.extend(sources.notes());
    let spread = match (sheet.has_seeds(), measure.better) {
        (false, _) => "",
        (true, Some(_)) => " Mean ± std (n − 1) over seeds.",
        (true, None) => " Mean over seeds.",
    };
    let header =
        std::iter::once("method".to_owned()).chain(sheet.columns.iter().map(|bits| bits.to_uppercase())).collect();
    Some(Grid {
        caption: format!("**{}**: {}.{spread}", measure.title, sheet.setting()),
        header,
        words: 1,
        rows,
        notes,
    })
}

/// One bit width: variants by measures, with intervals and tests. `None` where no run is finished.
pub(crate) fn column_grid(sheet: &Sheet, column: &str) -> Option<Grid> {
    let mut sources = Sources::default();
    let mut rows: Vec<Vec<GridCell>> = Vec::new();
    let won: Vec<(&str, Option<&str>)> =
        MEASURES.iter().map(|measure| (measure.key, winner(sheet, measure, column))).collect();
    let mut has_best = false;
    for variant in &sheet.variants {
        let name = variant.name.as_str();
        let runs = sheet.runs(name, column).count();
        if runs == 0 {
            continue;
        }
        let bold = |measure: &Measure| won.iter().any(|(key, winner)| *key == measure.key && *winner == Some(name));
        let cell = |measure: &Measure| {
            let stat = sheet.stat(name, column, measure);
            let text = stat.map_or_else(|| NOTHING.to_owned(), |stat| fewer(measure.text(&stat), stat.n, runs));
            GridCell { text, bold: bold(measure) }
        };
        let interval = |measure: &Measure| {
            let interval = sheet.stat(name, column, measure).as_ref().and_then(Stat::interval);
            GridCell::from(interval.map_or_else(|| NOTHING.to_owned(), |[low, high]| format!("{low:.2} to {high:.2}")))
        };
        let p = against_baseline(sheet, &DROP, variant, column);
        let published = sheet.published(name, column);
        has_best |= sheet.stat(name, column, &BEST).is_some();
        let mut cells: Vec<GridCell> = vec![
            sheet.label(name).into(),
            runs.to_string().into(),
            cell(&TOP1),
            interval(&TOP1),
            cell(&BEST),
            cell(&DROP),
            interval(&DROP),
            p.map_or_else(|| NOTHING.to_owned(), |paired| p_text(paired.p)).into(),
            published
                .map_or_else(
                    || NOTHING.to_owned(),
                    |figure| format!("{:.2} {}", figure.drop, sources.mark(&figure.source)),
                )
                .into(),
        ];
        cells.extend(MEASURES.iter().filter(|measure| !FIRST.contains(&measure.key)).map(cell));
        rows.push(cells);
    }
    if rows.is_empty() {
        return None;
    }
    let baseline = sheet.baseline.as_ref().map_or_else(|| "p".to_owned(), |baseline| format!("p against {baseline}"));
    let first = ["method", "n", TOP1.head, "95 %", BEST.head, DROP.head, "95 %", &baseline, "published drop"];
    let others = MEASURES.iter().filter(|measure| !FIRST.contains(&measure.key)).map(|measure| measure.head);
    let header = first.into_iter().chain(others).map(str::to_owned).collect();
    let mut notes = vec!["95 %: interval of the mean by Student's t, from two runs on".to_owned()];
    if sheet.baseline.is_some() {
        notes.push("p: paired t-test of the drop over equal seeds, two-sided, from two common seeds on".to_owned());
    }
    if won.iter().any(|(_, winner)| winner.is_some()) {
        notes.push(format!(
            "**bold**: significantly better than the second best data-free method of these bits (that test, p < {SIGNIFICANT}, at least \
             {LEAST_PAIRS} seeds)"
        ));
    }
    if sheet.variants.iter().any(|variant| sheet.is_real(&variant.name)) {
        notes.push(REAL_DATA.to_owned());
    }
    if has_best {
        notes.push(BEST_ON_TEST.to_owned());
    }
    notes.extend(sources.notes());
    let caption = format!("**{}**: {}. Mean ± std (n − 1) over n seeds.", column.to_uppercase(), sheet.setting());
    Some(Grid { caption, header, words: 1, rows, notes })
}

/// Measures that stand in the first columns, in an order of their own.
const FIRST: [&str; 3] = [TOP1.key, BEST.key, DROP.key];

/// A figure that not all runs have.
fn fewer(text: String, n: usize, runs: usize) -> String {
    if n < runs { format!("{text} (n = {n})") } else { text }
}

/// Sources of published figures, numbered as they come.
#[derive(Default)]
struct Sources(Vec<String>);

impl Sources {
    fn mark(&mut self, source: &str) -> String {
        let at = self.0.iter().position(|known| known == source).unwrap_or_else(|| {
            self.0.push(source.to_owned());
            self.0.len() - 1
        });
        format!("[{}]", at + 1)
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        self.0.iter().enumerate().map(|(at, source)| format!("[{}] {source}", at + 1))
    }
}

/// Every place with every measure at full precision, a line each; empty where nothing was measured.
pub(crate) fn csv(sheet: &Sheet) -> String {
    let mut text = String::from("protocol,variant,method,column,bits,data,n,seeds");
    for measure in &MEASURES {
        let key = measure.key;
        text += &format!(",{key}_mean,{key}_std,{key}_low95,{key}_high95,{key}_n");
    }
    text += ",baseline,drop_p,published_drop,published_source\n";
    for column in &sheet.columns {
        for variant in &sheet.variants {
            let name = variant.name.as_str();
            let Some((_, first)) = sheet.runs(name, column).next() else { continue };
            let seeds: Vec<String> = sheet.runs(name, column).map(|(seed, _)| seed.to_string()).collect();
            let data = if sheet.is_real(name) { "real" } else { "synthetic" };
            let (n, seeds) = (seeds.len().to_string(), seeds.join(" "));
            let words: [&str; 8] = [&sheet.protocol, name, &variant.method, column, &first.bits, data, &n, &seeds];
            text += &words.map(csv_cell).join(",");
            for measure in &MEASURES {
                match sheet.stat(name, column, measure) {
                    Some(stat) => {
                        let [low, high] = stat.interval().map_or([None, None], |interval| interval.map(Some));
                        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
                        let [std, low, high] = [stat.std, low, high].map(number);
                        text += &format!(",{},{std},{low},{high},{}", stat.mean, stat.n);
                    }
                    None => text += ",,,,,0",
                }
            }
            let p = against_baseline(sheet, &DROP, variant, column).map(|paired| paired.p.to_string());
            let baseline = sheet.baseline_of(variant).unwrap_or_default();
            let (drop, source) = match sheet.published(name, column) {
                Some(figure) => (figure.drop.to_string(), figure.source.clone()),
                None => (String::new(), String::new()),
            };
            text += &format!(",{},{},{drop},{}\n", csv_cell(&baseline), p.unwrap_or_default(), csv_cell(&source));
        }
    }
    text
}

/// The file `tables/<protocol>.md`.
pub(crate) fn markdown(sheet: &Sheet) -> String {
    let grids = grids(sheet).map(|grid| grid.to_markdown()).collect::<Vec<_>>().join("\n");
    format!("# {}, protocol `{}`\n\n{}\n\n{grids}", sheet.study, sheet.protocol, made(sheet, "<!-- ", " -->"))
}

/// The file `tables/<protocol>.tex`.
pub(crate) fn tex(sheet: &Sheet) -> String {
    let grids = grids(sheet).map(|grid| grid.to_latex()).collect::<Vec<_>>().join("\n");
    format!("{}\n% \\usepackage{{booktabs}}\n\n{grids}", made(sheet, "% ", ""))
}

fn made(sheet: &Sheet, begin: &str, end: &str) -> String {
    format!("{begin}made by `blindfold tables` and `blindfold study {}`; do not edit{end}", sheet.study)
}

/// All tables: measures, then bit widths.
fn grids(sheet: &Sheet) -> impl Iterator<Item = Grid> {
    let measures = MEASURES.iter().filter_map(|measure| measure_grid(sheet, measure));
    measures.chain(sheet.columns.iter().filter_map(|column| column_grid(sheet, column)))
}

#[cfg(test)]
mod tests;
