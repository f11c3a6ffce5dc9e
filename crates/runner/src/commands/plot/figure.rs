//! The plot as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::{Color, PathElement, Polygon};
use plotters::style::text_anchor::HPos;

use super::lines::{Line, Place};
use crate::axis::Axis;
use crate::plot::{Frame, INK, LABEL, Look, SOFT, SUBTITLE, Scale, TITLE, Titles, spread, svg, text_width, write};

const WIDTH: i32 = 860;
const HEIGHT: i32 = 480;
const TOP: i32 = 78;
const LEFT: i32 = 66;
const BOTTOM: i32 = 56;
/// Pixels from one name to the next.
const NAME: i32 = 18;
/// The widest that names beside the lines may be.
const NAMES: i32 = 360;

/// The mean of each line, with a band of one standard deviation where there are several seeds; each is named at its
/// right end.
pub(super) fn figure(title: &str, subtitle: &str, across: &str, lines: &[Line], names: &[String]) -> Result<String> {
    let places = || lines.iter().flat_map(|line| &line.places);
    let ends = |place: &Place| [edge(place, -1.0), edge(place, 1.0)];
    let (Some(horizontal), Some(vertical)) =
        (Axis::linear(places().map(|place| place.x), 0.0), Scale::linear(places().flat_map(ends)))
    else {
        return Err(anyhow!("cannot draw {title}: there is no finite value"));
    };
    let beside = names.iter().map(|name| text_width(name, LABEL)).max().unwrap_or(0).min(NAMES) + 34;
    let frame = Frame {
        left: LEFT,
        top: TOP,
        right: WIDTH - beside,
        bottom: HEIGHT - BOTTOM,
        across: Scale::Linear(horizontal),
        up: vertical,
    };
    svg(title, (WIDTH as u32, HEIGHT as u32), |canvas| {
        write(canvas, title, (24, 24), TITLE, INK, HPos::Left)?;
        write(canvas, subtitle, (24, 50), SUBTITLE, SOFT, HPos::Left)?;
        frame.draw(canvas, Titles { across, ..Titles::default() })?;
        let along = |line: &Line, sign: f64| -> Vec<(i32, i32)> {
            line.places.iter().map(|place| frame.at(place.x, edge(place, sign))).collect()
        };
        for (index, line) in lines.iter().enumerate() {
            if line.places.iter().any(|place| place.value.std.is_some()) {
                let outline = [along(line, 1.0), along(line, -1.0).into_iter().rev().collect()].concat();
                canvas.draw(&Polygon::new(outline, Look::of(index).colour.mix(0.16).filled()))?;
            }
        }
        for (index, line) in lines.iter().enumerate() {
            let look = Look::of(index);
            let points = along(line, 0.0);
            if let [only] = points.as_slice() {
                look.mark(canvas, *only)?;
            }
            canvas.draw(&PathElement::new(points, look.colour.stroke_width(2)))?;
        }
        let wanted = lines.iter().map(|line| along(line, 0.0).last().map_or(frame.bottom, |(_, y)| *y)).collect();
        for (index, y) in spread(wanted, NAME, TOP, frame.bottom).into_iter().enumerate() {
            let x = frame.right + 8;
            canvas.draw(&PathElement::new(vec![(x, y), (x + 14, y)], Look::of(index).colour.stroke_width(3)))?;
            write(canvas, names[index].as_str(), (x + 20, y), LABEL, INK, HPos::Left)?;
        }
        Ok(())
    })
}

/// The mean with so many standard deviations.
fn edge(place: &Place, deviations: f64) -> f64 {
    place.value.mean + deviations * place.value.std.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stat;

    fn line(name: &str, seeds: usize, count: usize) -> Line {
        let place = |index: usize| {
            let value = Stat::of((0..seeds).map(|seed| (index + seed) as f64)).unwrap();
            Place { x: index as f64, value }
        };
        Line { name: name.into(), runs: seeds, places: (0..count).map(place).collect() }
    }

    #[test]
    fn each_line_has_its_name_and_several_seeds_a_band() {
        let lines = [line("zeroq-kd", 3, 20), line("real-kd", 1, 20), line("dot", 1, 1)];
        let names = lines.each_ref().map(|line| format!("<{}>", line.name));
        let svg = figure("student/top1", "mean over seeds", "epoch", &lines, &names).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("&lt;zeroq-kd&gt;") && svg.contains("&lt;dot&gt;"), "{svg}");
        // The band alone: frames and lines are paths, the one point is a circle or a marker of several corners.
        assert_eq!(svg.matches("opacity=\"0.16\"").count(), 1, "{svg}");
        assert!(svg.contains("epoch") && svg.contains("mean over seeds"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(figure("t", "", "step", &[], &[]).is_err());
    }
}
