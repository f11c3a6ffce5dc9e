//! Quality against what it costs: image passes, and seconds on the machine of the run.

use anyhow::Result;

use super::super::measure::{Measure, PASSES, SECONDS};
use super::super::sheet::Sheet;
use super::front::{draw_front, front};
use super::quality::Quality;
use super::series::{Series, entries, gutter, head, series};
use super::{Figure, TOP, WIDTH};
use crate::plot::{Canvas, Drawn, Frame, LEGEND_ROW, Scale, Titles, legend, svg};

/// Height of the panels of one bit width.
const HEIGHT: i32 = 240;
/// A cost and what is written along its axis.
const COSTS: [(&Measure, &str); 2] = [(&PASSES, "image passes"), (&SECONDS, "seconds")];

/// The figure, a row a bit width; `None` where no run is measured.
pub(super) fn cost(sheet: &Sheet, quality: &Quality) -> Result<Option<Figure>> {
    let columns: Vec<&String> = sheet
        .columns
        .iter()
        .filter(|column| sheet.variants.iter().any(|row| sheet.stat(&row.name, column, quality.measure).is_some()))
        .collect();
    let all =
        series(sheet, |variant| columns.iter().any(|column| sheet.stat(variant, column, quality.measure).is_some()));
    // One scale a cost: panels below each other are read against each other.
    let scales: Vec<(&Measure, &str, Scale)> = COSTS
        .into_iter()
        .filter_map(|(cost, name)| {
            let points = columns.iter().flat_map(|column| points(sheet, quality, &all, column, cost));
            Some((cost, name, Scale::log(points.map(|(_, x, _)| x))?))
        })
        .collect();
    if scales.is_empty() {
        return Ok(None);
    }
    let gutter = gutter(&all);
    let width = (WIDTH - gutter - 10) / scales.len() as i32;
    let height = (columns.len() as i32 * HEIGHT).max(all.len() as i32 * LEGEND_ROW + 24);
    let title = format!("{}: {} against cost, protocol {}", sheet.study, quality.name, sheet.protocol);
    let subtitle = format!("{}; line: what no cheaper data-free method of these bits reaches", quality.about);
    let picture = svg(&title, (WIDTH.unsigned_abs(), (TOP + height).unsigned_abs()), |canvas| {
        head(canvas, &title, &subtitle)?;
        legend(canvas, (WIDTH - gutter + 4, TOP + 24), entries(&all))?;
        for (row, column) in (0..).zip(&columns) {
            for (place, (cost, name, across)) in (0..).zip(&scales) {
                let points = points(sheet, quality, &all, column, cost);
                let values = all.iter().filter_map(|series| Some(series.stat(sheet, column, quality.measure)?.mean));
                let Some(up) = quality.scale(values) else {
                    continue;
                };
                let (left, top) = (10 + place * width, TOP + row * HEIGHT);
                let frame = Frame {
                    left: left + 52,
                    top: top + 24,
                    right: left + width - 14,
                    bottom: top + HEIGHT - 46,
                    across: across.clone(),
                    up,
                };
                let panel = column.to_uppercase();
                let up = if place == 0 { quality.axis } else { "" };
                frame.draw(canvas, Titles { panel: &panel, across: name, up })?;
                let competes = |series: &Series| sheet.own_bits(&series.variant, column).is_none();
                scatter(canvas, &frame, quality, &points, competes)?;
            }
        }
        Ok(())
    })?;
    Ok(Some(Figure { name: format!("{}-cost", sheet.stem), title, svg: picture }))
}

/// A series' mean cost and mean quality.
pub(super) type Point<'a> = (&'a Series, f64, f64);

/// The points of a column; series without the cost or the quality have none.
pub(super) fn points<'a>(
    sheet: &Sheet,
    quality: &Quality,
    all: &'a [Series],
    column: &str,
    cost: &Measure,
) -> Vec<Point<'a>> {
    let point = |series: &'a Series| {
        let x = series.stat(sheet, column, cost)?.mean;
        Some((series, x, series.stat(sheet, column, quality.measure)?.mean)).filter(|_| x > 0.0)
    };
    all.iter().filter_map(point).collect()
}

/// Draws a marker a point, and the front of the data-free series that compete.
pub(super) fn scatter(
    canvas: &Canvas<'_>,
    frame: &Frame,
    quality: &Quality,
    points: &[Point<'_>],
    competes: impl Fn(&Series) -> bool,
) -> Drawn {
    let free = points.iter().filter(|(series, ..)| !series.real && competes(series));
    let free: Vec<(f64, f64)> = free.map(|(_, x, value)| (*x, *value)).collect();
    draw_front(canvas, frame, &front(&free, |a, b| quality.measure.prefers(a, b)))?;
    points.iter().try_for_each(|(series, x, value)| series.look.mark(canvas, frame.at(*x, *value)))
}
