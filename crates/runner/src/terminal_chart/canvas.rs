//! Dots in cells of two by four, one character each.

/// Bits of the braille patterns, U+2800, by row and column of the dot.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// A drawing of several lines.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    cells: Vec<Drawn>,
}

/// One character of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// The line that was drawn last here.
    pub(super) owner: Option<usize>,
    /// Whether another line has a dot here too.
    pub(super) shared: bool,
    /// The dots of all lines.
    pub(super) braille: char,
}

#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    dots: u8,
    owner: Option<usize>,
    shared: bool,
}

impl Canvas {
    /// Of so many characters.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![Drawn::default(); width * height] }
    }

    /// Characters in a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The row of characters at that height, 0 being the lower edge and 1 the upper.
    pub(super) fn row_of(&self, height: f64) -> usize {
        self.dot_row(height) / 4
    }

    /// Joins these places, from (0, 0) at the lower left to (1, 1) at the upper right, by a line.
    pub(super) fn draw(&mut self, line: usize, places: impl Iterator<Item = (f64, f64)>) {
        let mut before: Option<(usize, usize)> = None;
        for (across, up) in places {
            let columns = (2 * self.width - 1) as f64;
            let here = ((across.clamp(0.0, 1.0) * columns).round() as usize, self.dot_row(up));
            self.join(line, before.unwrap_or(here), here);
            before = Some(here);
        }
    }

    /// What stands at that place, rows from above.
    pub(super) fn cell(&self, column: usize, row: usize) -> Cell {
        let Drawn { dots, owner, shared } = self.cells[row * self.width + column];
        let braille = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
        Cell { owner, shared, braille }
    }

    fn dot_row(&self, height: f64) -> usize {
        ((1.0 - height.clamp(0.0, 1.0)) * (4 * self.height - 1) as f64).round() as usize
    }

    /// One dot for each step of the longer direction.
    fn join(&mut self, line: usize, from: (usize, usize), to: (usize, usize)) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |a: usize, b: usize, share: f64| (a as f64 + (b as f64 - a as f64) * share).round() as usize;
        for step in 0..=steps {
            let share = step as f64 / steps as f64;
            self.dot(line, between(from.0, to.0, share), between(from.1, to.1, share));
        }
    }

    fn dot(&mut self, line: usize, x: usize, y: usize) {
        let cell = &mut self.cells[y / 4 * self.width + x / 2];
        cell.shared |= cell.owner.is_some_and(|owner| owner != line);
        cell.owner = Some(line);
        cell.dots |= DOTS[y % 4][x % 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_fills_the_dots_on_its_way() {
        let mut canvas = Canvas::new(2, 1);
        canvas.draw(0, [(0.0, 0.0), (1.0, 1.0)].into_iter());
        // Dots (column, row from above): (0, 3), (1, 2), (2, 1), (3, 0).
        assert_eq!((canvas.cell(0, 0).braille, canvas.cell(1, 0).braille), ('\u{2860}', '\u{280a}'));
        assert_eq!((canvas.row_of(0.0), canvas.row_of(1.0), canvas.width()), (0, 0, 2));
    }

    #[test]
    fn a_cell_knows_whether_lines_share_it() {
        let mut canvas = Canvas::new(2, 2);
        canvas.draw(0, [(0.0, 0.0), (1.0, 0.0)].into_iter());
        canvas.draw(1, [(1.0, 0.0), (1.0, 1.0)].into_iter());
        assert_eq!(canvas.cell(0, 0), Cell { owner: None, shared: false, braille: '\u{2800}' });
        assert_eq!((canvas.cell(0, 1).owner, canvas.cell(0, 1).shared), (Some(0), false));
        assert_eq!((canvas.cell(1, 1).owner, canvas.cell(1, 1).shared), (Some(1), true));
        assert_eq!((canvas.cell(1, 0).owner, canvas.cell(1, 0).shared), (Some(1), false));
    }
}
