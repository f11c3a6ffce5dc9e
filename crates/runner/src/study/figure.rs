//! The figure of a study: what each method loses, by bit width.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::prelude::{Circle, Color, IntoDrawingArea, IntoFont, PathElement, RGBColor, SVGBackend, Text, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Cell, Ledger, Study};
use crate::record::Stat;

const WIDTH: u32 = 860;
const ROW: i32 = 20;
const LEFT: i32 = 130;
const RIGHT: i32 = 30;
const TOP: i32 = 70;
const BOTTOM: i32 = 40;
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const SOFT: RGBColor = RGBColor(110, 110, 110);
const LINES: RGBColor = RGBColor(232, 232, 232);
/// Okabe and Ito, Color Universal Design, 2008.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(34, 34, 34),
];
/// Drops in points at which there are lines; the scale is `log2(1 + drop)`, so that small and large ones both show.
const TICKS: [f64; 9] = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 90.0];

/// One row a method, one dot a bit width; `None` when nothing of that protocol was measured.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn figure(study: &Study, protocol: &str, cells: &[(Cell, String)], ledger: &Ledger) -> Result<Option<String>> {
    let mut drops: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for (cell, hash) in cells.iter().filter(|(cell, _)| cell.protocol == *protocol) {
        if let Some(drop) = ledger.find(hash).and_then(|entry| entry.summary.drop) {
            drops.entry((&cell.method, &cell.bits)).or_default().push(drop);
        }
    }
    if drops.is_empty() {
        return Ok(None);
    }
    let methods: Vec<&String> =
        study.methods.iter().filter(|method| drops.keys().any(|(known, _)| known == method)).collect();
    let height = TOP + BOTTOM + ROW * methods.len() as i32;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        let broken = |error: &dyn std::fmt::Display| anyhow!("the figure of {}: {error}", study.name);
        root.fill(&WHITE).map_err(|error| broken(&error))?;
        let scale = |drop: f64| (1.0 + drop.max(0.0)).log2();
        let span = f64::from(WIDTH as i32 - LEFT - RIGHT) / scale(TICKS[TICKS.len() - 1]);
        let x = |drop: f64| LEFT + (scale(drop) * span) as i32;
        let font = |size: i32, color: RGBColor| (FONT, size).into_font().color(&color);
        let draw = |text: String, at: (i32, i32), size: i32, color: RGBColor, place: HPos| {
            let style = font(size, color).pos(Pos::new(place, VPos::Center));
            root.draw(&Text::new(text, at, style)).map_err(|error| broken(&error))
        };
        draw(
            format!("{}, protocol {protocol}: drop of top-1 in points (log scale)", study.name),
            (12, 20),
            15,
            INK,
            HPos::Left,
        )?;
        for (index, bits) in study.bits.iter().enumerate() {
            let left = LEFT + 100 * index as i32;
            draw(bits.to_uppercase(), (left + 10, 46), 12, INK, HPos::Left)?;
        }
        for tick in TICKS {
            draw(format!("{tick}"), (x(tick), height - BOTTOM + 14), 11, SOFT, HPos::Center)?;
        }
        for (row, method) in methods.iter().enumerate() {
            draw((*method).clone(), (LEFT - 12, TOP + ROW * row as i32 + ROW / 2), 12, INK, HPos::Right)?;
        }
        let line = |points: Vec<(i32, i32)>| {
            root.draw(&PathElement::new(points, LINES.stroke_width(1))).map_err(|error| broken(&error))
        };
        for tick in TICKS {
            line(vec![(x(tick), TOP), (x(tick), height - BOTTOM)])?;
        }
        for (index, bits) in study.bits.iter().enumerate() {
            let color = PALETTE[index % PALETTE.len()];
            let dot = |at: (i32, i32)| root.draw(&Circle::new(at, 4, color.filled())).map_err(|error| broken(&error));
            dot((LEFT + 100 * index as i32, 46))?;
            for (row, method) in methods.iter().enumerate() {
                let stat =
                    drops.get(&(method.as_str(), bits.as_str())).and_then(|drops| Stat::of(drops.iter().copied()));
                if let Some(stat) = stat {
                    dot((x(stat.mean), TOP + ROW * row as i32 + ROW / 2))?;
                }
            }
        }
        root.present().map_err(|error| broken(&error))?;
    }
    Ok(Some(svg))
}
