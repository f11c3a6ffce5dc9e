//! Tables that sort by a click.

use super::html::escape;
use crate::plot::number;

/// Rows from which a table scrolls within itself.
const TALL: usize = 16;

/// A column's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Stands at the right and sorts by value.
    pub(super) numeric: bool,
}

impl Column {
    pub(super) fn words(name: &str) -> Self {
        Self { name: name.to_owned(), numeric: false }
    }

    pub(super) fn numbers(name: &str) -> Self {
        Self { name: name.to_owned(), numeric: true }
    }
}

/// A cell's text, and what it sorts by where that is another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    key: Option<String>,
    strong: bool,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Three digits of a number, which sorts by all of them; nothing where there is none.
    pub(super) fn number(value: Option<f64>) -> Self {
        match value {
            Some(value) if value.is_finite() => Self::shown(value, number(value)),
            Some(_) => Self::unsorted("not finite"),
            None => Self::unsorted(""),
        }
    }

    /// A number in words of its own.
    pub(super) fn shown(value: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), key: Some(value.to_string()), strong: false }
    }

    /// Words among numbers: they stand last, however the table is sorted.
    pub(super) fn unsorted(text: impl Into<String>) -> Self {
        Self { text: text.into(), key: Some(String::new()), strong: false }
    }

    /// The same cell in bold.
    pub(super) fn strong(self) -> Self {
        Self { strong: true, ..self }
    }

    fn to_html(&self, numeric: bool) -> String {
        let class = if numeric { " class=\"n\"" } else { "" };
        let key = self.key.as_ref().map(|key| format!(" data-v=\"{}\"", escape(key))).unwrap_or_default();
        let text = escape(&self.text);
        let text = if self.strong { format!("<b>{text}</b>") } else { text };
        format!("<td{class}{key}>{text}</td>")
    }
}

/// A table whose headings sort it.
pub(super) fn table(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let heading = |column: &Column| {
        let class = if column.numeric { " class=\"n\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(&column.name))
    };
    let row = |cells: &Vec<Cell>| {
        let cells: String = columns.iter().zip(cells).map(|(column, cell)| cell.to_html(column.numeric)).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let frame = if rows.len() > TALL { "scroll tall" } else { "scroll" };
    format!(
        "<div class=\"{frame}\"><table data-sortable>\n<thead><tr>{}</tr></thead>\n\
         <tbody>\n{}</tbody>\n</table></div>\n",
        columns.iter().map(heading).collect::<String>(),
        rows.iter().map(row).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_sort_by_all_their_digits_and_empty_ones_by_nothing() {
        let columns = [Column::words("layer"), Column::numbers("a < b")];
        let rows = [
            vec![Cell::text("<conv>"), Cell::number(Some(0.123_456))],
            vec![Cell::text("fc").strong(), Cell::number(None)],
            vec![Cell::text("x"), Cell::number(Some(f64::NAN))],
        ];
        let html = table(&columns, &rows);
        assert!(html.contains("<td>&lt;conv&gt;</td><td class=\"n\" data-v=\"0.123456\">0.123</td>"), "{html}");
        assert!(html.contains("<td><b>fc</b></td><td class=\"n\" data-v=\"\"></td>"), "{html}");
        assert!(html.contains("data-v=\"\">not finite</td>"), "{html}");
        assert!(html.contains("<th scope=\"col\" class=\"n\">a &lt; b</th>") && !html.contains("tall"), "{html}");
        assert!(table(&columns, &vec![rows[0].clone(); 17]).contains("scroll tall"));
    }
}
