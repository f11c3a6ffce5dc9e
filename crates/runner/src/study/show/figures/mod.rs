//! The figures of a sheet.

mod bits;
mod cost;
mod curves;
mod front;
mod quality;
mod series;
mod size;

use anyhow::Result;

use super::curve_file::CurveFile;
use super::sheet::Sheet;
use quality::Quality;

/// Pixels from edge to edge.
const WIDTH: i32 = 900;
/// Pixels above the first panel: title and subtitle.
const TOP: i32 = 78;

/// A picture with its name and a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    /// The file's name without ending, such as `gdfq-bits`.
    pub(crate) name: String,
    /// What it shows, in a line.
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// Every figure that the finished runs of a sheet, and the curves kept of them, allow.
///
/// # Errors
/// When a picture cannot be drawn.
pub(crate) fn figures(sheet: &Sheet, curves: &CurveFile) -> Result<Vec<Figure>> {
    let Some(quality) = Quality::of(sheet) else { return Ok(Vec::new()) };
    let drawn = [
        bits::bits(sheet, &quality)?,
        curves::curves(sheet, curves)?,
        cost::cost(sheet, &quality)?,
        size::size(sheet, &quality)?,
    ];
    Ok(drawn.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
