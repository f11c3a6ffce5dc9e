//! A table of text, and its renderings.

use super::latex::latex;

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GridCell {
    pub(crate) text: String,
    pub(crate) bold: bool,
}

impl From<String> for GridCell {
    fn from(text: String) -> Self {
        Self { text, bold: false }
    }
}

/// A caption, a header, rows, and notes below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) caption: String,
    pub(crate) header: Vec<String>,
    /// Columns, from the left, that hold words; the others hold numbers.
    pub(crate) words: usize,
    pub(crate) rows: Vec<Vec<GridCell>>,
    pub(crate) notes: Vec<String>,
}

impl Grid {
    /// GitHub markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let safe = |text: &str| text.replace('|', "\\|");
        let mut text = format!("{}\n\n", self.caption);
        text += &line(&mut self.header.iter().map(|name| safe(name)));
        let rule = |column| if column < self.words { "---|" } else { "--:|" };
        text += &format!("|{}\n", (0..self.header.len()).map(rule).collect::<String>());
        for row in &self.rows {
            text += &line(&mut row.iter().map(|cell| match cell.bold {
                true => format!("**{}**", safe(&cell.text)),
                false => safe(&cell.text),
            }));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text + &self.notes.iter().map(|note| format!("- {note}\n")).collect::<String>()
    }

    /// A table environment of LaTeX; it wants the package `booktabs`.
    pub(crate) fn to_latex(&self) -> String {
        let line =
            |cells: &mut dyn Iterator<Item = String>| format!("{} \\\\\n", cells.collect::<Vec<_>>().join(" & "));
        let columns: String =
            (0..self.header.len()).map(|column| if column < self.words { 'l' } else { 'r' }).collect();
        let mut text = format!(
            "\\begin{{table}}[t]\n\\centering\n\\caption{{{}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n",
            latex(&self.caption)
        );
        text += &line(&mut self.header.iter().map(|name| latex(name)));
        text += "\\midrule\n";
        for row in &self.rows {
            text += &line(&mut row.iter().map(|cell| match cell.bold {
                true => format!("\\textbf{{{}}}", latex(&cell.text)),
                false => latex(&cell.text),
            }));
        }
        text += "\\bottomrule\n\\end{tabular}\n";
        if !self.notes.is_empty() {
            let notes: Vec<String> = self.notes.iter().map(|note| latex(note)).collect();
            text += &format!("\\begin{{flushleft}}\\footnotesize\n{}\n\\end{{flushleft}}\n", notes.join("\\\\\n"));
        }
        text + "\\end{table}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            caption: "**c**: `a_b`".into(),
            header: vec!["method".into(), "W4A4 %".into()],
            words: 1,
            rows: vec![
                vec!["x_y|z".to_owned().into(), GridCell { text: "1.00 ± 0.10".into(), bold: true }],
                vec!["[w]".to_owned().into(), GridCell::default()],
            ],
            notes: vec!["50 % of it".into()],
        }
    }

    #[test]
    fn markdown_has_a_line_a_row_and_its_notes_below() {
        let expected = "**c**: `a_b`\n\n| method | W4A4 % |\n|---|--:|\n| x_y\\|z | **1.00 ± 0.10** |\n| [w] |  |\n\n- 50 % of it\n";
        assert_eq!(grid().to_markdown(), expected);
        assert!(Grid { notes: vec![], ..grid() }.to_markdown().ends_with("| [w] |  |\n"));
    }

    #[test]
    fn latex_is_escaped_with_rules_and_notes() {
        let expected = r"\begin{table}[t]
\centering
\caption{\textbf{c}: \texttt{a\_b}}
\begin{tabular}{lr}
\toprule
method & W4A4 \% \\
\midrule
x\_y\textbar{}z & \textbf{1.00 $\pm$ 0.10} \\
{[}w{]} &  \\
\bottomrule
\end{tabular}
\begin{flushleft}\footnotesize
50 \% of it
\end{flushleft}
\end{table}
";
        assert_eq!(grid().to_latex(), expected);
    }
}
