//! Line charts for the terminal, in braille dots.

mod canvas;

use canvas::Canvas;

use crate::axis::{Axis, Tick};

/// ANSI colours that are told apart on dark and on light ground: blue, yellow, green, magenta, cyan, red.
const COLOURS: [&str; 6] = ["34", "33", "32", "35", "36", "31"];
/// What lines are drawn with where there is no colour.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The narrowest plot that says anything.
const LEAST_WIDTH: usize = 24;

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChartLine {
    /// As the legend names it, with what stands behind it there.
    pub(crate) name: String,
    /// In ascending order of x, finite.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A line chart as text.
#[derive(Debug, Clone)]
pub(crate) struct TerminalChart<'a> {
    /// The first line.
    pub(crate) title: &'a str,
    /// What stands along the x axis.
    pub(crate) x: &'a str,
    pub(crate) lines: &'a [ChartLine],
    /// Columns of the whole chart.
    pub(crate) width: usize,
    /// Rows of the plot, without axis and legend.
    pub(crate) height: usize,
    /// Whether each line has a colour; otherwise several lines are drawn with a letter each.
    pub(crate) colour: bool,
}

impl TerminalChart<'_> {
    /// How many lines can be told apart without colour.
    pub(crate) const MOST_LINES: usize = LETTERS.len();

    /// The chart, with a newline at its end; `None` when there is no point to draw.
    pub(crate) fn render(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let (across, up) =
            (Axis::linear(points().map(|(x, _)| x), 0.0)?, Axis::linear(points().map(|(_, y)| y), 0.04)?);
        let height = self.height.max(4);
        let left = up.ticks(height / 2);
        let margin = left.iter().map(|tick| tick.text.chars().count()).max().unwrap_or(0);
        let width = self.width.saturating_sub(margin + 2).max(LEAST_WIDTH);
        let mut canvas = Canvas::new(width, height);
        for (index, line) in self.lines.iter().enumerate() {
            canvas.draw(index, line.points.iter().map(|(x, y)| (across.place(*x), up.place(*y))));
        }
        let mut text = format!("{}\n", self.title);
        for row in 0..height {
            let tick = left.iter().find(|tick| canvas.row_of(up.place(tick.value)) == row);
            let (label, edge) = tick.map_or(("", '│'), |tick| (tick.text.as_str(), '┤'));
            text += &format!("{label:>margin$} {edge}{}\n", self.row(&canvas, row).trim_end());
        }
        text += &self.floor(&across, margin, width);
        for (index, line) in self.lines.iter().enumerate() {
            text += &format!("{} {}\n", self.key(index), line.name);
        }
        Some(text)
    }

    fn row(&self, canvas: &Canvas, row: usize) -> String {
        let mut text = String::new();
        for column in 0..canvas.width() {
            let cell = canvas.cell(column, row);
            match cell.owner {
                None => text.push(' '),
                Some(owner) if self.colour => {
                    text += &format!("\x1b[{}m{}\x1b[0m", COLOURS[owner % COLOURS.len()], cell.braille);
                }
                Some(_) if self.lines.len() == 1 => text.push(cell.braille),
                Some(_) if cell.shared => text.push('*'),
                Some(owner) => text.push(letter(owner)),
            }
        }
        text
    }

    /// The x axis with its numbers, and what it counts.
    fn floor(&self, across: &Axis, margin: usize, width: usize) -> String {
        let (mut edge, mut labels) = (vec!['─'; width], vec![' '; width]);
        let mut free = 0;
        for Tick { value, text } in across.ticks((width / 14).max(2)) {
            let column = (across.place(value) * (width - 1) as f64).round() as usize;
            let length = text.chars().count();
            let begin = column.saturating_sub(length / 2).min(width.saturating_sub(length));
            if column >= width || begin < free {
                continue;
            }
            edge[column] = '┬';
            for (offset, character) in text.chars().enumerate() {
                labels[begin + offset] = character;
            }
            free = begin + length + 1;
        }
        let (edge, labels): (String, String) = (edge.into_iter().collect(), labels.into_iter().collect());
        let pad = " ".repeat(margin + 1);
        let middle = (margin + 2 + width / 2).saturating_sub(self.x.chars().count() / 2);
        format!("{pad}└{edge}\n{pad} {}\n{}{}\n", labels.trim_end(), " ".repeat(middle), self.x)
    }

    fn key(&self, index: usize) -> String {
        match (self.colour, self.lines.len()) {
            (true, _) => format!("\x1b[{}m━━\x1b[0m", COLOURS[index % COLOURS.len()]),
            (false, 1) => "━━".to_owned(),
            (false, _) => letter(index).to_string(),
        }
    }
}

fn letter(index: usize) -> char {
    char::from(LETTERS[index % LETTERS.len()])
}

#[cfg(test)]
mod tests;
