//! The figure of a study: what each method loses, by bit width.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::{Circle, Color, PathElement};
use plotters::style::text_anchor::HPos;

use super::{Cell, Ledger, Study};
use crate::analysis::style::{INK, LINES, SOFT, svg, write};
use crate::record::{PALETTE, Stat};

const WIDTH: u32 = 860;
const ROW: i32 = 20;
const LEFT: i32 = 130;
const RIGHT: i32 = 30;
const TOP: i32 = 70;
const BOTTOM: i32 = 40;
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
    let scale = |drop: f64| (1.0 + drop.max(0.0)).log2();
    let span = f64::from(WIDTH as i32 - LEFT - RIGHT) / scale(TICKS[TICKS.len() - 1]);
    let x = |drop: f64| LEFT + (scale(drop) * span) as i32;
    let key = |index: usize| LEFT + 100 * index as i32;
    let middle = |row: usize| TOP + ROW * row as i32 + ROW / 2;
    let title = format!("{}, protocol {protocol}: drop of top-1 in points (log scale)", study.name);
    let picture = svg(&title, (WIDTH, height as u32), |canvas| {
        write(canvas, &title, (12, 20), 15, INK, HPos::Left)?;
        for (index, bits) in study.bits.iter().enumerate() {
            write(canvas, bits.to_uppercase(), (key(index) + 10, 46), 12, INK, HPos::Left)?;
        }
        for tick in TICKS {
            write(canvas, format!("{tick}"), (x(tick), height - BOTTOM + 14), 11, SOFT, HPos::Center)?;
            let line = vec![(x(tick), TOP), (x(tick), height - BOTTOM)];
            canvas.draw(&PathElement::new(line, LINES.stroke_width(1)))?;
        }
        for (row, method) in methods.iter().enumerate() {
            write(canvas, method.as_str(), (LEFT - 12, middle(row)), 12, INK, HPos::Right)?;
        }
        for (index, bits) in study.bits.iter().enumerate() {
            let colour = PALETTE[index % PALETTE.len()];
            let dot = |at: (i32, i32)| canvas.draw(&Circle::new(at, 4, colour.filled()));
            dot((key(index), 46))?;
            for (row, method) in methods.iter().enumerate() {
                let drops = drops.get(&(method.as_str(), bits.as_str()));
                if let Some(stat) = drops.and_then(|drops| Stat::of(drops.iter().copied())) {
                    dot((x(stat.mean), middle(row)))?;
                }
            }
        }
        Ok(())
    });
    picture.map(Some)
}
