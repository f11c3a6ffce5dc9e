//! Quality during training, mean and band over seeds: a panel a bit width.

use anyhow::Result;

use super::super::curve_file::CurveFile;
use super::super::sheet::Sheet;
use super::series::{entries, gutter, head, series};
use super::{Figure, TOP, WIDTH};
use crate::plot::{Frame, LEGEND_ROW, Look, Titles, legend, svg};
use crate::record::{Curve, axis_title, curve_scales, draw_curves};

/// Height of a panel: of one alone, of one of several.
const ALONE: i32 = 400;
const AMONG: i32 = 300;

/// The figure; `None` where no curve is kept.
pub(super) fn curves(sheet: &Sheet, file: &CurveFile) -> Result<Option<Figure>> {
    let all = series(sheet, |variant| sheet.columns.iter().any(|column| file.curve(column, variant).is_some()));
    let panels: Vec<(&String, Vec<(Look, Curve)>)> = sheet
        .columns
        .iter()
        .map(|column| {
            let curves = all.iter().filter_map(|series| Some((series.look, file.curve(column, &series.variant)?)));
            (column, curves.collect::<Vec<_>>())
        })
        .filter(|(_, curves)| !curves.is_empty())
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let (across, height) = if panels.len() == 1 { (1, ALONE) } else { (2, AMONG) };
    let gutter = gutter(&all);
    let width = (WIDTH - gutter - 10) / across;
    let down = (panels.len() as i32 + across - 1) / across;
    let below = (down * height).max(all.len() as i32 * LEGEND_ROW + 24);
    let title = format!("{}: {} during training, protocol {}", sheet.study, file.tag, sheet.protocol);
    let several = panels.iter().flat_map(|(_, curves)| curves).any(|(_, curve)| curve.runs > 1);
    let subtitle = if several { "mean over seeds, band of one standard deviation" } else { "one seed" };
    let named = axis_title(&file.tag);
    let picture = svg(&title, (WIDTH.unsigned_abs(), (TOP + below).unsigned_abs()), |canvas| {
        head(canvas, &title, subtitle)?;
        legend(canvas, (WIDTH - gutter + 4, TOP + 24), entries(&all))?;
        for (place, (column, curves)) in (0..).zip(&panels) {
            let Some((steps, up)) = curve_scales(curves.iter().map(|(_, curve)| curve)) else { continue };
            let (left, top) = (10 + place % across * width, TOP + place / across * height);
            let frame = Frame {
                left: left + 60,
                top: top + 24,
                right: left + width - 14,
                bottom: top + height - 46,
                across: steps,
                up,
            };
            let panel = column.to_uppercase();
            let up = if place % across == 0 { named.as_str() } else { "" };
            frame.draw(canvas, Titles { panel: &panel, across: "step", up })?;
            draw_curves(canvas, &frame, curves.iter().map(|(look, curve)| (*look, curve)))?;
        }
        Ok(())
    })?;
    Ok(Some(Figure { name: format!("{}-curves", sheet.stem), title, svg: picture }))
}
