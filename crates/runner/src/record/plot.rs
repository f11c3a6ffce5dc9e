//! Curves as SVG.

use plotters::prelude::{Color, PathElement, Polygon};
use plotters::style::text_anchor::HPos;

use super::curves::{Curve, Point};
use super::error::RecordError;
use super::glossary::describe;
use crate::plot::{
    Canvas, Drawn, Frame, INK, LABEL, Look, SOFT, SUBTITLE, Scale, TITLE, Titles, spread, svg, text_width, write,
};

const WIDTH: i32 = 860;
const HEIGHT: i32 = 480;
const LEFT: i32 = 70;
const TOP: i32 = 72;
const BOTTOM: i32 = 54;
/// Pixels from one curve's name to the next.
const ROW: i32 = 18;
/// Widest space for names; a longer one is cut by the picture's edge.
const WIDEST: i32 = 400;

/// Draws the mean of each curve as a line, and a band of one standard deviation where there are several seeds. The axis
/// is named after `tag`, with its unit from the glossary; each line is named at its right end.
///
/// # Errors
/// [`RecordError::Plot`] when there is no point to draw.
pub fn plot(title: &str, tag: &str, curves: &[Curve]) -> Result<String, RecordError> {
    let fault = |reason: String| RecordError::Plot { what: title.to_owned(), reason };
    let looks = || curves.iter().enumerate().map(|(at, curve)| (Look::of(at), curve));
    let Some((across, up)) = curve_scales(curves.iter()) else {
        return Err(fault(format!("no run has a value of `{tag}`")));
    };
    let labels: Vec<String> = curves.iter().map(label).collect();
    let gutter = labels.iter().map(|label| text_width(label, LABEL)).max().unwrap_or(0).min(WIDEST) + 48;
    let frame = Frame { left: LEFT, top: TOP, right: WIDTH - gutter, bottom: HEIGHT - BOTTOM, across, up };
    let runs = curves.iter().map(|curve| curve.runs).max().unwrap_or(0);
    let band = if runs > 1 { ", mean and one standard deviation over seeds" } else { "" };
    let picture = svg(title, (WIDTH.unsigned_abs(), HEIGHT.unsigned_abs()), |canvas| {
        write(canvas, title, (20, 20), TITLE, INK, HPos::Left)?;
        write(canvas, format!("{}{band}", axis_title(tag)), (20, 46), SUBTITLE, SOFT, HPos::Left)?;
        frame.draw(canvas, Titles { across: "step", ..Titles::default() })?;
        draw_curves(canvas, &frame, looks())?;
        let ends = curves.iter().map(|curve| curve.points.last().map_or(frame.bottom, |last| frame.y(last.value.mean)));
        let rows = spread(ends.collect(), ROW, TOP, HEIGHT - BOTTOM);
        for (((look, curve), text), row) in looks().zip(&labels).zip(rows) {
            let Some(last) = curve.points.last() else { continue };
            let (x, y) = frame.at(last.step as f64, last.value.mean);
            let lead = vec![(x + 7, y), (frame.right + 8, row), (frame.right + 16, row)];
            canvas.draw(&PathElement::new(lead, look.colour.mix(0.55).stroke_width(1)))?;
            write(canvas, text.as_str(), (frame.right + 20, row), LABEL, INK, HPos::Left)?;
        }
        Ok(())
    });
    picture.map_err(|error| fault(error.to_string()))
}

/// What a curve is called at its end: its name and its last value.
fn label(curve: &Curve) -> String {
    let last = curve.points.last().map(|point| point.value.text(2)).unwrap_or_default();
    format!("{}  {last}", curve.name)
}

/// Bands, lines, and a marker at each line's end.
pub(crate) fn draw_curves<'a>(
    canvas: &Canvas<'_>,
    frame: &Frame,
    curves: impl Iterator<Item = (Look, &'a Curve)> + Clone,
) -> Drawn {
    for (look, curve) in curves.clone() {
        let edge = |sign: f64| {
            let at = move |p: &Point| frame.at(p.step as f64, p.value.mean + sign * p.value.std.unwrap_or(0.0));
            curve.points.iter().map(at)
        };
        if curve.points.iter().any(|point| point.value.std.is_some()) {
            let outline: Vec<(i32, i32)> = edge(1.0).chain(edge(-1.0).rev()).collect();
            canvas.draw(&Polygon::new(outline, look.colour.mix(0.16).filled()))?;
        }
    }
    for (look, curve) in curves.clone() {
        let line: Vec<(i32, i32)> =
            curve.points.iter().map(|point| frame.at(point.step as f64, point.value.mean)).collect();
        if line.len() > 1 {
            canvas.draw(&PathElement::new(line, look.colour.stroke_width(2)))?;
        }
    }
    for (look, curve) in curves {
        if let Some(last) = curve.points.last() {
            look.mark(canvas, frame.at(last.step as f64, last.value.mean))?;
        }
    }
    Ok(())
}

/// Scales that all of these curves lie within, steps first; `None` when there is no point.
pub(crate) fn curve_scales<'a>(curves: impl Iterator<Item = &'a Curve>) -> Option<(Scale, Scale)> {
    let points: Vec<&Point> = curves.flat_map(|curve| &curve.points).collect();
    let edges = points.iter().flat_map(|point| {
        let std = point.value.std.unwrap_or(0.0);
        [point.value.mean - std, point.value.mean + std]
    });
    Some((Scale::linear(points.iter().map(|point| point.step as f64))?, Scale::linear(edges)?))
}

/// A tag with its unit.
pub(crate) fn axis_title(tag: &str) -> String {
    match describe(tag) {
        Some(metric) if !metric.unit.is_empty() => format!("{tag} ({})", metric.unit),
        _ => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stat::Stat;
    use super::*;

    fn curve(name: &str, runs: usize, shift: f64) -> Curve {
        let values =
            |step: u64| (0..runs).map(move |run| shift + 3.0 * (-(step as f64) / 300.0).exp() + 0.1 * run as f64);
        let point = |step| Point { step, value: Stat::of(values(step)).unwrap() };
        Curve { name: name.into(), runs, points: (0..=40).map(|index| point(index * 25)).collect() }
    }

    #[test]
    fn the_figure_has_a_line_a_band_and_a_name_for_each_method() {
        let svg = plot("cifar10-w4a4", "loss/kl", &[curve("zeroq-kd", 3, 0.5), curve("real-kd", 1, 0.52)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        // The band of the first; the square with its rim at the end of the second.
        assert_eq!((svg.matches("<polygon").count(), svg.matches("<circle").count()), (3, 2), "{svg}");
        assert_eq!((svg.matches("zeroq-kd").count(), svg.matches("real-kd").count()), (1, 1), "{svg}");
        assert!(
            svg.contains("one standard deviation") && svg.contains("cifar10-w4a4") && svg.contains("loss/kl (nat)")
        );
        if let Ok(path) = std::env::var("BLINDFOLD_TEST_SVG") {
            std::fs::write(path, svg).unwrap();
        }
    }

    #[test]
    fn nothing_to_draw_is_an_error_and_a_single_point_is_not() {
        assert!(matches!(plot("t", "loss/kl", &[]), Err(RecordError::Plot { .. })));
        let mut dot = curve("dot", 1, 0.0);
        dot.points.truncate(1);
        assert!(plot("t", "loss/kl", &[dot]).unwrap().contains("<circle"));
    }

    #[test]
    fn all_of_a_band_lies_within_the_axes() {
        let curves = [curve("a", 3, -5.0), curve("b", 2, 9.0)];
        let (_, up) = curve_scales(curves.iter()).unwrap();
        for point in curves.iter().flat_map(|curve| &curve.points) {
            let std = point.value.std.unwrap();
            for value in [point.value.mean - std, point.value.mean + std] {
                assert!((0.0..=1.0).contains(&up.place(value)), "{value}");
            }
        }
    }
}
