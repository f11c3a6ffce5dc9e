//! A picture under way.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, FontTransform, IntoDrawingArea, IntoFont, RGBColor, SVGBackend, Text, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Generic families last: text is there on every machine.
const FONT: &str = "Helvetica, Arial, sans-serif";
/// What plotters divides the size of a font by.
const PLOTTERS: f64 = 1.24;
/// Width of a letter of the widest usual font, in sizes.
const LETTER: f64 = 0.62;

/// Text.
pub(crate) const INK: RGBColor = RGBColor(34, 34, 34);
/// Text beside the matter: axes, notes.
pub(crate) const SOFT: RGBColor = RGBColor(110, 110, 110);
/// Lines behind the matter.
pub(crate) const LINES: RGBColor = RGBColor(232, 232, 232);
/// What is shown for comparison only.
pub(crate) const FAINT: RGBColor = RGBColor(210, 210, 210);

/// Size of a figure's title.
pub(crate) const TITLE: i32 = 20;
/// Size of the line below it.
pub(crate) const SUBTITLE: i32 = 14;
/// Size of labels.
pub(crate) const LABEL: i32 = 13;

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

/// Writes a line of text upwards, its middle at that place.
pub(crate) fn write_up(
    canvas: &Canvas<'_>,
    text: impl Into<String>,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
) -> Drawn {
    let font = (FONT, size).into_font().transform(FontTransform::Rotate270);
    let style = font.color(&colour).pos(Pos::new(HPos::Center, VPos::Center));
    Ok(canvas.draw(&Text::new(text.into(), at, style))?)
}

/// Pixels that a line of text takes at most in a usual font.
pub(crate) fn text_width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) / PLOTTERS * LETTER).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_size_and_its_text_in_a_generic_family() {
        let svg = svg("a picture", (30, 20), |canvas| {
            write(canvas, "a < b", (3, 10), LABEL, INK, HPos::Left)?;
            write_up(canvas, "up", (3, 10), LABEL, SOFT)
        })
        .unwrap();
        assert!(svg.starts_with("<svg width=\"30\" height=\"20\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("rotate(270, 3, 10)") && svg.contains("sans-serif"), "{svg}");
    }

    #[test]
    fn longer_text_is_wider() {
        assert!(text_width("mixed-zeroq", LABEL) > text_width("mse", LABEL) && text_width("", LABEL) == 0);
    }
}
