//! Quality against the size of the quantized network, all bit widths together.

use anyhow::Result;

use super::super::measure::SIZE;
use super::super::sheet::Sheet;
use super::cost::{Point, points, scatter};
use super::quality::Quality;
use super::series::{entries, gutter, head, series};
use super::{Figure, TOP, WIDTH};
use crate::plot::{Frame, LEGEND_ROW, Scale, Titles, legend, svg};

/// Pixels below the head, at least.
const HEIGHT: i32 = 480;

/// The figure; `None` where no size is known.
pub(super) fn size(sheet: &Sheet, quality: &Quality) -> Result<Option<Figure>> {
    let shown = |variant: &str| {
        let known = |column: &String| {
            sheet.stat(variant, column, &SIZE).is_some() && sheet.stat(variant, column, quality.measure).is_some()
        };
        sheet.columns.iter().any(known)
    };
    let all = series(sheet, shown);
    let points: Vec<Point<'_>> =
        sheet.columns.iter().flat_map(|column| points(sheet, quality, &all, column, &SIZE)).collect();
    let Some(across) = Scale::log(points.iter().map(|(_, x, _)| *x)) else { return Ok(None) };
    let Some(up) = quality.scale(points.iter().map(|(.., value)| *value)) else { return Ok(None) };
    let gutter = gutter(&all);
    let height = HEIGHT.max(all.len() as i32 * LEGEND_ROW + 24);
    let title = format!("{}: {} against size, protocol {}", sheet.study, quality.name, sheet.protocol);
    let subtitle = format!("{}; line: what no smaller data-free network reaches", quality.about);
    let picture = svg(&title, (WIDTH.unsigned_abs(), (TOP + height).unsigned_abs()), |canvas| {
        head(canvas, &title, &subtitle)?;
        legend(canvas, (WIDTH - gutter + 4, TOP + 10), entries(&all))?;
        let frame = Frame { left: 62, top: TOP + 6, right: WIDTH - gutter - 16, bottom: TOP + height - 56, across, up };
        frame
            .draw(canvas, Titles { panel: "", across: "size of all parameters when stored, KiB", up: quality.axis })?;
        scatter(canvas, &frame, quality, &points, |_| true)
    })?;
    Ok(Some(Figure { name: format!("{}-size", sheet.stem), title, svg: picture }))
}
