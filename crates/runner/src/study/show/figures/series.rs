//! The rows of a sheet as series of a figure.

use plotters::style::text_anchor::HPos;

use super::super::measure::Measure;
use super::super::sheet::Sheet;
use super::WIDTH;
use crate::plot::{Canvas, Drawn, INK, LABEL, Look, SOFT, SUBTITLE, TITLE, text_width, write};
use crate::record::Stat;

/// A row with its look, the same in all figures of the sheet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) look: Look,
    /// The row.
    pub(super) variant: String,
    /// Its name, with the mark of real data.
    pub(super) label: String,
    /// Whether it uses real data: such rows are bounds and part of no front.
    pub(super) real: bool,
}

impl Series {
    /// Mean and deviation of a measure in a column.
    pub(super) fn stat(&self, sheet: &Sheet, column: &str, measure: &Measure) -> Option<Stat> {
        sheet.stat(&self.variant, column, measure)
    }
}

/// The rows of which `shown` holds.
pub(super) fn series(sheet: &Sheet, shown: impl Fn(&str) -> bool) -> Vec<Series> {
    let rows = sheet.variants.iter().enumerate().filter(|(_, variant)| shown(&variant.name));
    let series = rows.map(|(at, variant)| Series {
        look: Look::of(at),
        variant: variant.name.clone(),
        label: sheet.label(&variant.name),
        real: sheet.is_real(&variant.name),
    });
    series.collect()
}

/// Pixels that the names of these series and their markers take.
pub(super) fn gutter(series: &[Series]) -> i32 {
    let longest = series.iter().map(|series| text_width(&series.label, LABEL)).max().unwrap_or(0);
    longest.min(WIDTH / 3) + 34
}

/// Names with their looks, for a legend.
pub(super) fn entries(series: &[Series]) -> impl Iterator<Item = (Look, &str)> {
    series.iter().map(|series| (series.look, series.label.as_str()))
}

/// Writes title and subtitle.
pub(super) fn head(canvas: &Canvas<'_>, title: &str, subtitle: &str) -> Drawn {
    write(canvas, title, (20, 22), TITLE, INK, HPos::Left)?;
    write(canvas, subtitle, (20, 46), SUBTITLE, SOFT, HPos::Left)
}
