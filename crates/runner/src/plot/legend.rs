//! Names beside the panels.

use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Drawn, INK, LABEL, write};
use super::look::Look;

/// Pixels from one name to the next.
pub(crate) const ROW: i32 = 17;

/// Writes each name with its marker, one below the other from there.
pub(crate) fn legend<'a>(
    canvas: &Canvas<'_>,
    (x, y): (i32, i32),
    entries: impl Iterator<Item = (Look, &'a str)>,
) -> Drawn {
    for (row, (look, name)) in (0..).zip(entries) {
        look.mark(canvas, (x + 6, y + ROW * row))?;
        write(canvas, name, (x + 18, y + ROW * row), LABEL, INK, HPos::Left)?;
    }
    Ok(())
}
