//! One panel of a figure: its axes, and where values lie in it.

use plotters::prelude::{Color, PathElement};
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Drawn, INK, LABEL, LINES, SOFT, text_width, write, write_up};
use super::scale::Scale;

/// Pixels from the axis to the title beside it.
const BESIDE: i32 = 47;
/// Pixels from the axis to the title below it.
const BELOW: i32 = 31;
/// Fewest pixels from one tick's text to the next.
const APART: i32 = 13;

/// The place of a panel and its axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) right: i32,
    pub(crate) bottom: i32,
    pub(crate) across: Scale,
    pub(crate) up: Scale,
}

/// What is written around a panel; empty text is not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Titles<'a> {
    pub(crate) panel: &'a str,
    pub(crate) across: &'a str,
    pub(crate) up: &'a str,
}

impl Frame {
    /// Where a value lies along the horizontal axis.
    pub(crate) fn x(&self, value: f64) -> i32 {
        self.left + (self.across.place(value) * f64::from(self.right - self.left)).round() as i32
    }

    /// Where a value lies along the vertical axis.
    pub(crate) fn y(&self, value: f64) -> i32 {
        self.bottom - (self.up.place(value) * f64::from(self.bottom - self.top)).round() as i32
    }

    /// Where a point lies.
    pub(crate) fn at(&self, x: f64, y: f64) -> (i32, i32) {
        (self.x(x), self.y(y))
    }

    /// Draws grid, axes, ticks and titles.
    pub(crate) fn draw(&self, canvas: &Canvas<'_>, titles: Titles<'_>) -> Drawn {
        let Self { left, top, right, bottom, .. } = *self;
        let line =
            |from: (i32, i32), to: (i32, i32)| canvas.draw(&PathElement::new(vec![from, to], LINES.stroke_width(1)));
        let mut last: Option<i32> = None;
        for (value, text) in self.up.ticks(((bottom - top) / 40).max(2) as usize) {
            let y = self.y(value);
            line((left, y), (right, y))?;
            if last.is_none_or(|last| (last - y).abs() >= APART) {
                write(canvas, text, (left - 6, y), LABEL, SOFT, HPos::Right)?;
                last = Some(y);
            }
        }
        let mut end = i32::MIN;
        for (value, text) in self.across.ticks(((right - left) / 60).max(2) as usize) {
            let x = self.x(value);
            line((x, top), (x, bottom))?;
            let half = text_width(&text, LABEL) / 2;
            if x - half > end {
                write(canvas, text, (x, bottom + 14), LABEL, SOFT, HPos::Center)?;
                end = x + half + 2;
            }
        }
        let axes = vec![(left, top), (left, bottom), (right, bottom)];
        canvas.draw(&PathElement::new(axes, SOFT.stroke_width(1)))?;
        if !titles.panel.is_empty() {
            write(canvas, titles.panel, (left, top - 12), LABEL + 1, INK, HPos::Left)?;
        }
        if !titles.across.is_empty() {
            write(canvas, titles.across, ((left + right) / 2, bottom + BELOW), LABEL, SOFT, HPos::Center)?;
        }
        if !titles.up.is_empty() {
            write_up(canvas, titles.up, (left - BESIDE, (top + bottom) / 2), LABEL, SOFT)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::svg;
    use super::*;

    fn frame() -> Frame {
        Frame {
            left: 50,
            top: 20,
            right: 250,
            bottom: 120,
            across: Scale::Names(vec!["w8a8".into(), "w4a4".into()]),
            up: Scale::loss([0.0, 80.0].into_iter()).unwrap(),
        }
    }

    #[test]
    fn values_lie_within_and_better_is_up() {
        let frame = frame();
        assert_eq!((frame.x(0.0), frame.x(1.0)), (100, 200));
        assert!((20..=120).contains(&frame.y(80.0)) && frame.y(0.0) < frame.y(80.0));
        assert_eq!(frame.at(1.0, 2.0), (200, frame.y(2.0)));
    }

    #[test]
    fn ticks_that_would_cover_each_other_have_a_line_and_no_text() {
        let titles = Titles { panel: "panel", across: "bits", up: "" };
        let svg = svg("a frame", (300, 160), |canvas| frame().draw(canvas, titles)).unwrap();
        let ticks = frame().up.ticks(5).len();
        let heights: Vec<i32> = svg
            .split("<text ")
            .skip(1)
            .filter(|text| text.contains("text-anchor=\"end\""))
            .map(|text| text.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(heights.windows(2).all(|pair| (pair[0] - pair[1]).abs() >= APART), "{heights:?}");
        assert!(heights.len() < ticks && svg.matches("<polyline").count() == ticks + 2 + 1, "{svg}");
        assert!(svg.contains("panel") && svg.contains("w8a8") && !svg.contains("rotate"), "{svg}");
    }
}
