//! Quality by bit width: a line a method, seven methods a panel, the others grey behind them.

use anyhow::Result;
use plotters::prelude::{Circle, Color, PathElement};
use plotters::style::text_anchor::HPos;

use super::super::sheet::Sheet;
use super::quality::Quality;
use super::series::{Series, gutter, head, series};
use super::{Figure, TOP, WIDTH};
use crate::plot::{Canvas, Drawn, FAINT, Frame, INK, LABEL, Look, Scale, Titles, spread, svg, write};
use crate::record::Stat;

/// Height of a panel: of one alone, of one of several.
const ALONE: i32 = 380;
const AMONG: i32 = 280;
/// Pixels between markers of one bit width, at most.
const DODGE: i32 = 6;
/// Pixels from one name to the next.
const ROW: i32 = 15;

/// The figure; `None` where no run is measured.
pub(super) fn bits(sheet: &Sheet, quality: &Quality) -> Result<Option<Figure>> {
    let all = series(sheet, |variant| {
        sheet.columns.iter().any(|column| sheet.stat(variant, column, quality.measure).is_some())
    });
    let lines: Vec<Line<'_>> = all.iter().map(|series| Line::of(sheet, series, quality)).collect();
    let extremes = lines.iter().flat_map(|line| &line.stats).flatten().flat_map(|stat| {
        let std = stat.std.unwrap_or(0.0);
        [stat.mean - std, stat.mean + std]
    });
    let Some(up) = quality.scale(extremes) else { return Ok(None) };
    let panels: Vec<&[Line<'_>]> = lines.chunks(Look::COLOURS).collect();
    let (across, height) = if panels.len() == 1 { (1, ALONE) } else { (2, AMONG) };
    let (width, gutter) = ((WIDTH - 20) / across, gutter(&all));
    let down = (panels.len() as i32 + across - 1) / across;
    let title = format!("{}: {} by bit width, protocol {}", sheet.study, quality.name, sheet.protocol);
    let seeds = if sheet.has_seeds() { "; bars: one standard deviation" } else { "" };
    let subtitle = format!("{}{seeds}", quality.about);
    let names: Vec<String> = sheet.columns.iter().map(|bits| bits.to_uppercase()).collect();
    let picture = svg(&title, (WIDTH.unsigned_abs(), (TOP + down * height).unsigned_abs()), |canvas| {
        head(canvas, &title, &subtitle)?;
        for (place, members) in (0..).zip(&panels) {
            let (left, top) = (10 + place % across * width, TOP + place / across * height);
            let frame = Frame {
                left: left + 52,
                top: top + 6,
                right: left + width - gutter - 6,
                bottom: top + height - 40,
                across: Scale::Names(names.clone()),
                up: up.clone(),
            };
            let up = if place % across == 0 { quality.axis } else { "" };
            frame.draw(canvas, Titles { up, ..Titles::default() })?;
            panel(canvas, &frame, members, &lines)?;
        }
        Ok(())
    })?;
    Ok(Some(Figure { name: format!("{}-bits", sheet.stem), title, svg: picture }))
}

/// A series with its figures by column.
struct Line<'a> {
    series: &'a Series,
    stats: Vec<Option<Stat>>,
}

impl<'a> Line<'a> {
    fn of(sheet: &Sheet, series: &'a Series, quality: &Quality) -> Self {
        let stats = sheet.columns.iter().map(|column| series.stat(sheet, column, quality.measure)).collect();
        Self { series, stats }
    }

    /// Where its figures lie, so far to the right of their column.
    fn points(&self, frame: &Frame, aside: i32) -> Vec<Option<(i32, i32)>> {
        let place = |(column, stat): (usize, &Option<Stat>)| {
            let (x, y) = frame.at(column as f64, stat.as_ref()?.mean);
            Some((x + aside, y))
        };
        self.stats.iter().enumerate().map(place).collect()
    }
}

fn panel(canvas: &Canvas<'_>, frame: &Frame, members: &[Line<'_>], all: &[Line<'_>]) -> Drawn {
    for line in all.iter().filter(|line| !members.iter().any(|member| std::ptr::eq(member.series, line.series))) {
        let points = line.points(frame, 0);
        for stretch in stretches(&points) {
            canvas.draw(&PathElement::new(stretch, FAINT.stroke_width(1)))?;
        }
        for point in points.into_iter().flatten() {
            canvas.draw(&Circle::new(point, 2, FAINT.filled()))?;
        }
    }
    let columns = members.first().map_or(1, |line| line.stats.len()).max(1) as i32;
    let room = (frame.right - frame.left) / (columns * (members.len() as i32 + 1));
    let aside = |at: usize| (2 * at as i32 + 1 - members.len() as i32) * room.clamp(1, DODGE) / 2;
    let points: Vec<Vec<Option<(i32, i32)>>> =
        members.iter().enumerate().map(|(at, line)| line.points(frame, aside(at))).collect();
    for (line, points) in members.iter().zip(&points) {
        for stretch in stretches(points) {
            canvas.draw(&PathElement::new(stretch, line.series.look.colour.stroke_width(2)))?;
        }
    }
    for (line, points) in members.iter().zip(&points) {
        for (stat, point) in line.stats.iter().zip(points) {
            let (Some(stat), Some((x, y))) = (stat, *point) else { continue };
            if let Some(std) = stat.std {
                let bar = vec![(x, frame.y(stat.mean - std)), (x, frame.y(stat.mean + std))];
                canvas.draw(&PathElement::new(bar, line.series.look.colour.stroke_width(1)))?;
            }
            line.series.look.mark(canvas, (x, y))?;
        }
    }
    let ends: Vec<(i32, i32)> = points
        .iter()
        .map(|points| points.iter().rev().flatten().next().copied().unwrap_or((frame.right, frame.top)))
        .collect();
    let rows = spread(ends.iter().map(|end| end.1).collect(), ROW, frame.top + 4, frame.bottom - 4);
    for ((line, (x, y)), row) in members.iter().zip(ends).zip(rows) {
        let lead = vec![(x + 7, y), (frame.right + 4, row), (frame.right + 12, row)];
        canvas.draw(&PathElement::new(lead, line.series.look.colour.mix(0.55).stroke_width(1)))?;
        write(canvas, line.series.label.as_str(), (frame.right + 16, row), LABEL, INK, HPos::Left)?;
    }
    Ok(())
}

/// Neighbouring columns that both have a figure are joined; gaps stay gaps.
fn stretches(points: &[Option<(i32, i32)>]) -> Vec<Vec<(i32, i32)>> {
    let parts = points.split(Option::is_none).filter(|part| part.len() > 1);
    parts.map(|part| part.iter().flatten().copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_not_joined() {
        let at = |x: i32| Some((x, 0));
        let points = [at(0), at(1), None, at(3), None, at(5), at(6), at(7)];
        assert_eq!(stretches(&points), [vec![(0, 0), (1, 0)], vec![(5, 0), (6, 0), (7, 0)]]);
        assert!(stretches(&[None, at(1)]).is_empty());
    }
}
