//! The last value of any metric, by method.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::mixing::{SETTING, alike, setting};
use crate::commands::tags::unknown_tag;
use crate::plot::number;
use crate::record::{
    CompareError, DAGGER, Grid, GridCell, METRICS_FILE, REAL_DATA, Record, Stat, Summary, csv_cell, describe,
    read_history,
};

const NONE: &str = "–";

/// A run with the last value of the metric.
struct Last<'a> {
    summary: &'a Summary,
    value: Option<f64>,
}

/// A method of an experiment, over its seeds.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    experiment: String,
    method: String,
    real: bool,
    /// By seed; none where the run has no value, or its last one is not finite.
    values: BTreeMap<u64, Option<f64>>,
}

/// One metric of methods that may stand beside each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricTable {
    tag: String,
    /// Protocol, test set, teacher, network, bits.
    setting: [String; 5],
    rows: Vec<Row>,
}

/// Tables of the last value of `tag`: one for each test set, teacher, network, protocol and bit width. Data-free
/// methods come first, otherwise rows keep the order in which their runs are given.
///
/// # Errors
/// A tag that no run has, with those that they have; a run given twice; records that cannot be read.
pub(super) fn metric_tables(runs: &[(PathBuf, Summary)], tag: &str) -> Result<Vec<MetricTable>> {
    let mut histories: Vec<Vec<Record>> = Vec::new();
    for (path, _) in runs {
        histories.push(read_history(&path.join(METRICS_FILE))?);
    }
    if !histories.iter().flatten().any(|record| record.values.contains_key(tag)) {
        return Err(unknown_tag(tag, histories.iter().flatten()).into());
    }
    let last = |records: &[Record]| records.iter().rev().find_map(|record| record.values.get(tag).copied());
    let measured: Vec<Last<'_>> = runs
        .iter()
        .zip(&histories)
        .map(|((_, summary), records)| Last { summary, value: last(records).filter(|value| value.is_finite()) })
        .collect();
    alike(&measured, |run| run.summary).into_iter().map(|runs| table(&runs, tag)).collect()
}

fn table(runs: &[&Last<'_>], tag: &str) -> Result<MetricTable> {
    let mut rows: Vec<Row> = Vec::new();
    for Last { summary, value } in runs {
        let Summary { experiment, method, seed, .. } = summary;
        let at = rows.iter().position(|row| row.experiment == *experiment && row.method == *method);
        let at = at.unwrap_or_else(|| {
            rows.push(Row {
                experiment: experiment.clone(),
                method: method.clone(),
                real: summary.uses_real_data,
                values: BTreeMap::new(),
            });
            rows.len() - 1
        });
        let row = &mut rows[at];
        if row.real != summary.uses_real_data {
            let about = "whether real data was used";
            let (experiment, method) = (experiment.clone(), method.clone());
            return Err(CompareError::Inconsistent { experiment, method, about }.into());
        }
        if row.values.insert(*seed, *value).is_some() {
            let (experiment, method) = (experiment.clone(), method.clone());
            return Err(CompareError::Duplicate { experiment, method, seed: *seed }.into());
        }
    }
    rows.sort_by_key(|row| row.real);
    Ok(MetricTable { tag: tag.to_owned(), setting: setting(runs[0].summary), rows })
}

impl Row {
    fn stat(&self) -> Option<Stat> {
        Stat::of(self.values.values().flatten().copied())
    }

    fn seeds(&self) -> String {
        self.values.keys().map(u64::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl MetricTable {
    /// For markdown and LaTeX.
    pub(super) fn to_grid(&self) -> Grid {
        let metric = describe(&self.tag);
        let unit = metric.map(|metric| metric.unit).unwrap_or_default();
        let several = self.rows.windows(2).any(|pair| pair[0].experiment != pair[1].experiment);
        let [protocol, dataset, teacher, network, bits] = &self.setting;
        let direction = match metric.and_then(|metric| metric.higher_is_better) {
            Some(true) => " Higher is better.",
            Some(false) => " Lower is better.",
            None => "",
        };
        let caption = format!(
            "**`{}`**, last value of each run: {network} on {dataset}, teacher `{teacher}`, {bits}, protocol \
             `{protocol}`. Mean ± std (n − 1) over n seeds.{direction}",
            self.tag
        );
        let value = if unit.is_empty() { self.tag.clone() } else { format!("{} ({unit})", self.tag) };
        let header = ["method".to_owned(), "data".to_owned(), "n".to_owned(), value].to_vec();
        let rows = self.rows.iter().map(|row| {
            let mark = if row.real { DAGGER } else { "" };
            let name = if several { format!("{}/{}", row.experiment, row.method) } else { row.method.clone() };
            let data = if row.real { format!("REAL{DAGGER}") } else { "synthetic".to_owned() };
            let cells = [format!("{name}{mark}"), data, row.values.len().to_string(), shown(row, unit)];
            cells.map(GridCell::from).to_vec()
        });
        let mut notes: Vec<String> = metric.map(|metric| metric.meaning.to_owned()).into_iter().collect();
        if self.rows.iter().any(|row| row.real) {
            notes.push(REAL_DATA.to_owned());
        }
        Grid { caption, header, words: 2, rows: rows.collect(), notes }
    }

    /// The header line of [`Self::to_csv`].
    pub(super) fn csv_header() -> String {
        format!("metric,{},experiment,method,data,seeds,mean,std,n\n", SETTING.join(","))
    }

    /// Comma-separated values at full precision, without a header line; empty where there is no value.
    pub(super) fn to_csv(&self) -> String {
        let line = |row: &Row| {
            let data = if row.real { "real" } else { "synthetic" };
            let seeds = row.seeds();
            let words = std::iter::once(self.tag.as_str()).chain(self.setting.iter().map(String::as_str)).chain([
                row.experiment.as_str(),
                row.method.as_str(),
                data,
                seeds.as_str(),
            ]);
            let numbers = match row.stat() {
                Some(Stat { n, mean, std }) => {
                    format!("{mean},{},{n}", std.map(|std| std.to_string()).unwrap_or_default())
                }
                None => ",,0".to_owned(),
            };
            format!("{},{numbers}\n", words.map(csv_cell).collect::<Vec<_>>().join(","))
        };
        self.rows.iter().map(line).collect()
    }

    /// One object, with the value of each seed under `rows`.
    pub(super) fn to_json(&self) -> Value {
        let metric = describe(&self.tag);
        let row = |row: &Row| {
            let values: Vec<Value> =
                row.values.iter().map(|(seed, value)| json!({ "seed": seed, "value": value })).collect();
            json!({
                "experiment": row.experiment, "method": row.method, "uses_real_data": row.real,
                "value": row.stat(), "values": values,
            })
        };
        let mut table = json!({
            "metric": self.tag,
            "unit": metric.map(|metric| metric.unit),
            "higher_is_better": metric.and_then(|metric| metric.higher_is_better),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        });
        for (key, value) in SETTING.iter().zip(&self.setting) {
            table[*key] = value.as_str().into();
        }
        table
    }
}

/// Two decimals for percentages, three digits for everything else.
fn shown(row: &Row, unit: &str) -> String {
    let Some(stat) = row.stat() else { return NONE.to_owned() };
    let text = match (unit, stat.std) {
        ("%", _) => stat.text(2),
        (_, Some(std)) => format!("{} ± {}", number(stat.mean), number(std)),
        (_, None) => number(stat.mean),
    };
    if stat.n < row.values.len() { format!("{text} (n = {})", stat.n) } else { text }
}

#[cfg(test)]
mod tests;
