//! Tables of our accuracies beside those of an independent program: `results/reference/*.toml`.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::leaderboard::Leaderboard;
use crate::record::{Grid, GridCell, Stat};
use crate::{Project, Usage};

/// A file of `results/reference/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    /// What stands above the table.
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Line>,
}

/// Which runs stand in a column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    title: String,
    method: String,
    /// What the experiment's name ends with, such as `+quant.activation.range=min-max`.
    #[serde(default)]
    overrides: String,
}

/// Which experiment stands in a row, and the other program's values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    title: String,
    experiment: String,
    reference: Vec<f64>,
}

/// Each of those tables, by the name of its file in `results/tables/`.
///
/// # Errors
/// A file that cannot be read, or whose rows have not a value a column.
pub(crate) fn reference_tables(project: &Project, board: &Leaderboard) -> Result<Vec<(String, String)>> {
    let folder = project.root().join("results/reference");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let mut tables = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let table = of(&text, board).map_err(|what| Usage(format!("{}: {what}", path.display())))?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        tables.push((format!("reference-{stem}"), table));
    }
    Ok(tables)
}

fn of(text: &str, board: &Leaderboard) -> Result<String, String> {
    let reference: Reference = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
    let Reference { caption, columns, rows: lines } = reference;
    let mut rows: Vec<Vec<GridCell>> = Vec::new();
    for line in &lines {
        if line.reference.len() != columns.len() {
            let (found, wanted) = (line.reference.len(), columns.len());
            return Err(format!("`rows`, {}: `reference` has {found} values for {wanted} columns", line.title));
        }
        let ours: Vec<Option<Stat>> = columns.iter().map(|column| measured(board, line, column)).collect();
        let mut counts: Vec<usize> = ours.iter().map(|stat| stat.map_or(0, |stat| stat.n)).collect();
        counts.sort_unstable();
        counts.dedup();
        let counts = counts.iter().map(usize::to_string).collect::<Vec<_>>().join("/");
        let figures = ours.iter().map(|stat| stat.map_or_else(|| "–".to_owned(), |stat| stat.text(2)));
        rows.push([line.title.clone(), counts].into_iter().chain(figures).map(GridCell::from).collect());
        let others = line.reference.iter().map(|value| format!("{value:.2}"));
        rows.push(["reference".to_owned(), "1".to_owned()].into_iter().chain(others).map(GridCell::from).collect());
    }
    let header = ["", "n"].into_iter().chain(columns.iter().map(|column| column.title.as_str())).map(str::to_owned);
    Ok(Grid { caption, header: header.collect(), words: 1, rows, notes: Vec::new() }.to_markdown())
}

/// Top-1 over the seeds of a cell.
fn measured(board: &Leaderboard, line: &Line, column: &Column) -> Option<Stat> {
    let name = format!("{}{}", line.experiment, column.overrides);
    let own = || {
        let rows = board.rows().iter().filter(|row| row.study.is_none());
        rows.filter(|row| row.summary.experiment == name && row.summary.method == column.method)
    };
    let printed = own().find_map(|row| row.printed.as_ref());
    match printed {
        Some(printed) => printed.figures.get("student_top1").copied(),
        None => Stat::of(own().filter_map(|row| row.summary.student_top1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{printed, run};
    use super::*;

    const FILE: &str = "caption = 'Ours and theirs.'\n\
        columns = [{ title = 'noise min-max', method = 'noise', overrides = '+x=1' }, { title = 'noise mse', method = 'noise' }]\n\
        rows = [{ title = 'W4A4', experiment = 'e', reference = [81.87, 87.76] }]";

    #[test]
    fn ours_stand_above_the_reference() {
        let mut board = Leaderboard::default();
        for row in [printed("e+x=1", "noise", 83.06), run("e", "noise", 1, 87.5), run("e", "noise", 2, 87.7)] {
            board.put(row);
        }
        let expected = "Ours and theirs.\n\n|  | n | noise min-max | noise mse |\n|---|--:|--:|--:|\n\
                        | W4A4 | 2/3 | 83.06 ± 0.25 | 87.60 ± 0.14 |\n| reference | 1 | 81.87 | 87.76 |\n";
        assert_eq!(of(FILE, &board).unwrap(), expected);
        assert!(of(FILE, &Leaderboard::default()).unwrap().contains("| W4A4 | 0 | – | – |"));
    }

    #[test]
    fn a_row_without_a_value_a_column_is_an_error() {
        let error = of(&FILE.replace(", 87.76", ""), &Leaderboard::default()).unwrap_err();
        assert!(error.contains("W4A4: `reference` has 1 values for 2 columns"), "{error}");
    }
}
