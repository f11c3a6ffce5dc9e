//! Curves as SVG.

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement, Polygon, RGBColor,
    SVGBackend, Text, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::curves::Curve;
use super::error::RecordError;
use super::glossary::describe;

const WIDTH: u32 = 860;
const HEIGHT: u32 = 480;
const TOP: i32 = 64;
const RIGHT: u32 = 190;
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const SOFT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(232, 232, 232);
/// Told apart under the common colour-vision deficiencies: Okabe and Ito, Color Universal Design, 2008.
pub(crate) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(34, 34, 34),
];

/// Draws the mean of each curve as a line, and a band of one standard deviation where there are several seeds. The axis is
/// named after `tag`, with its unit from the glossary; each line is named at its right end.
///
/// # Errors
/// [`RecordError::Plot`] when there is no point to draw.
pub fn plot(title: &str, tag: &str, curves: &[Curve]) -> Result<String, RecordError> {
    let fault = |reason: String| RecordError::Plot { what: title.to_owned(), reason };
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Err(fault(format!("no run has a value of `{tag}`")));
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        draw(&root, title, tag, curves).map_err(|error| fault(error.to_string()))?;
        root.present().map_err(|error| fault(error.to_string()))?;
    }
    Ok(svg)
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, tag: &str, curves: &[Curve]) -> Fallible<()> {
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_owned(), (24, 18), (FONT, 20).into_font().color(&INK)))?;
    let runs = curves.iter().map(|curve| curve.runs).max().unwrap_or(0);
    let band = if runs > 1 { ", mean and one standard deviation over seeds" } else { "" };
    root.draw(&Text::new(format!("{}{band}", axis(tag)), (24, 44), (FONT, 13).into_font().color(&SOFT)))?;

    let ([left, right], [low, high]) = (x_range(curves), y_range(curves));
    let mut chart = ChartBuilder::on(root)
        .margin_top(TOP + 12)
        .margin_left(12)
        .margin_bottom(8)
        .margin_right(RIGHT)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(left..right, low..high)?;
    let label = (FONT, 13).into_font().color(&SOFT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(1))
        .light_line_style(WHITE)
        .axis_style(SOFT.stroke_width(1))
        .x_labels(7)
        .y_labels(7)
        .x_label_formatter(&|step| short(*step))
        .y_label_formatter(&|value| short(*value))
        .label_style(label.clone())
        .axis_desc_style(label)
        .x_desc("step")
        .draw()?;
    for (curve, colour) in curves.iter().zip(PALETTE.iter().cycle()) {
        let edge = |sign: f64| {
            let point =
                move |p: &super::curves::Point| (p.step as f64, p.value.mean + sign * p.value.std.unwrap_or(0.0));
            curve.points.iter().map(point)
        };
        if curve.points.iter().any(|point| point.value.std.is_some()) {
            let outline: Vec<(f64, f64)> = edge(1.0).chain(edge(-1.0).rev()).collect();
            chart.draw_series([Polygon::new(outline, colour.mix(0.16).filled())])?;
        }
    }
    for (curve, colour) in curves.iter().zip(PALETTE.iter().cycle()) {
        let line = curve.points.iter().map(|point| (point.step as f64, point.value.mean));
        let size = if curve.points.len() == 1 { 4 } else { 0 };
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(size))?;
    }
    let ends = curves.iter().map(|curve| {
        let last = curve.points.last().map_or(low, |point| point.value.mean);
        chart.backend_coord(&(right, last)).1
    });
    let x = i32::try_from(WIDTH - RIGHT)? + 6;
    for ((curve, colour), y) in
        curves.iter().zip(PALETTE.iter().cycle()).zip(spread(ends.collect(), 18, TOP, HEIGHT as i32 - 60))
    {
        let last = curve.points.last().map(|point| point.value.text(2)).unwrap_or_default();
        let style = (FONT, 13).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&PathElement::new(vec![(x, y), (x + 14, y)], colour.stroke_width(3)))?;
        root.draw(&Text::new(format!("{}  {last}", curve.name), (x + 20, y), style))?;
    }
    Ok(())
}

fn axis(tag: &str) -> String {
    match describe(tag) {
        Some(metric) if !metric.unit.is_empty() => format!("{tag} ({})", metric.unit),
        _ => tag.to_owned(),
    }
}

fn x_range(curves: &[Curve]) -> [f64; 2] {
    let steps = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.step as f64);
    padded(steps().fold(f64::INFINITY, f64::min), steps().fold(f64::NEG_INFINITY, f64::max), 0.0)
}

fn y_range(curves: &[Curve]) -> [f64; 2] {
    let points = || {
        curves.iter().flat_map(|curve| &curve.points).map(|point| (point.value.mean, point.value.std.unwrap_or(0.0)))
    };
    let low = points().map(|(mean, std)| mean - std).fold(f64::INFINITY, f64::min);
    let high = points().map(|(mean, std)| mean + std).fold(f64::NEG_INFINITY, f64::max);
    padded(low, high, 0.06)
}

/// The range with some room; never empty.
fn padded(low: f64, high: f64, share: f64) -> [f64; 2] {
    if high > low {
        let room = (high - low) * share;
        return [low - room, high + room];
    }
    let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
    [low - room, high + room]
}

/// Moves labels apart, keeping their order, so that each has `gap` pixels.
fn spread(wanted: Vec<i32>, gap: i32, top: i32, bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| wanted[*index]);
    let mut placed = wanted;
    let mut least = top;
    for index in &order {
        placed[*index] = placed[*index].max(least);
        least = placed[*index] + gap;
    }
    let mut most = bottom;
    for index in order.iter().rev() {
        placed[*index] = placed[*index].min(most);
        most = placed[*index] - gap;
    }
    placed
}

/// At most four significant digits, with k and M for thousands and millions.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    if scaled != 0.0 && scaled.abs() < 1e-3 {
        return format!("{scaled:.1e}");
    }
    let digits = (3 - scaled.abs().max(1.0).log10().floor() as i32).max(0);
    let text = format!("{scaled:.*}", usize::try_from(digits).unwrap_or(0));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::super::curves::Point;
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
        assert_eq!((svg.matches("<polygon").count(), svg.matches("zeroq-kd").count()), (1, 1), "{svg}");
        assert!(svg.contains("real-kd") && svg.contains("one standard deviation") && svg.contains("cifar10-w4a4"));
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
    fn labels_do_not_overlap_and_numbers_are_short() {
        assert_eq!(spread(vec![100, 102, 50], 18, 0, 400), [100, 118, 50]);
        assert_eq!(spread(vec![399, 400], 18, 0, 400), [382, 400]);
        let texts = [0.0, 0.25, 12.345, 100.0, 1234.0, 25_000.0, 2.5e6, -0.00002, 0.0012].map(short);
        assert_eq!(texts, ["0", "0.25", "12.35", "100", "1234", "25k", "2.5M", "-2.0e-5", "0.001"]);
    }
}
