//! What the analysis' figures and tables have in common.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, IntoFont, RGBColor, SVGBackend, Text, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};

const FONT: &str = "Helvetica, Arial, sans-serif";
pub(crate) const INK: RGBColor = RGBColor(34, 34, 34);
pub(crate) const SOFT: RGBColor = RGBColor(110, 110, 110);
pub(crate) const LINES: RGBColor = RGBColor(232, 232, 232);
/// Blue, vermilion and green of Okabe and Ito, Color Universal Design, 2008.
pub(crate) const WEIGHTS: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ACTIVATIONS: RGBColor = RGBColor(213, 94, 0);
pub(crate) const BOTH: RGBColor = RGBColor(0, 158, 115);

/// A picture under way, in pixels from its upper left corner.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The outcome of drawing a part.
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A picture of that size as SVG.
pub(crate) fn svg(what: &str, size: (u32, u32), draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let broken = |error: &dyn std::fmt::Display| anyhow!("cannot draw {what}: {error}");
        canvas.fill(&WHITE).map_err(|error| broken(&error))?;
        draw(&canvas).map_err(|error| broken(&error))?;
        canvas.present().map_err(|error| broken(&error))?;
    }
    Ok(svg)
}

/// Writes a line of text whose middle is at that height and whose left end, middle or right end is at that place.
pub(crate) fn write(
    canvas: &Canvas<'_>,
    text: impl Into<String>,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    place: HPos,
) -> Drawn {
    let style = (FONT, size).into_font().color(&colour).pos(Pos::new(place, VPos::Center));
    Ok(canvas.draw(&Text::new(text.into(), at, style))?)
}

/// The multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `wanted` of them.
pub(crate) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted.max(1) as f64;
    if !(rough > 0.0 && rough.is_finite()) {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= 0.999 * rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

/// Three significant digits, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = usize::try_from(2 - size.log10().floor() as i32).unwrap_or(0);
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 12.34, 1234.4, 2.5e7, -0.5, 0.000_123, 3.0].map(number);
        assert_eq!(texts, ["0", "0.25", "12.3", "1234", "2.50e7", "-0.5", "1.23e-4", "3"]);
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-1.1, 1.1, 4), [-1.0, 0.0, 1.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert!(ticks(0.0, 0.37, 4).iter().all(|tick| *tick <= 0.37));
    }
}
