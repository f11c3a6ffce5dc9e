//! The figure of all layers: what weights, activations and both cost at each.

use anyhow::Result;
use blindfold_quant::LayerReport;
use plotters::prelude::{Color, PathElement, Rectangle};
use plotters::style::text_anchor::HPos;

use super::style::{ACTIVATIONS, BOTH, Canvas, Drawn, INK, LINES, SOFT, WEIGHTS, number, svg, ticks, write};

const WIDTH: i32 = 860;
const LEFT: i32 = 200;
const RIGHT: i32 = 80;
const TOP: i32 = 92;
const BOTTOM: i32 = 36;
/// Pixels of a bar, and from one to the next.
const BAR: i32 = 5;
const PITCH: i32 = 6;
/// Pixels from one layer to the next.
const ROW: i32 = 3 * PITCH + 8;

/// A layer's relative errors in percent: weights only, activations only, both.
struct Group<'a> {
    layer: &'a str,
    percent: [Option<f64>; 3],
}

/// A bar chart of the relative error of every activation site's output, and of the logits.
pub(super) fn overview(title: &str, layers: &[LayerReport]) -> Result<String> {
    let last = layers.len().saturating_sub(1);
    let shown = layers.iter().enumerate().filter(|(at, layer)| layer.activation_bits.is_some() || *at == last);
    let groups: Vec<Group<'_>> = shown
        .map(|(_, layer)| {
            let output = &layer.output;
            let errors = [output.weights_only, output.activations_only, output.both];
            Group { layer: &layer.layer, percent: errors.map(|error| error.relative().map(|share| 100.0 * share)) }
        })
        .collect();
    let height = TOP + BOTTOM + ROW * i32::try_from(groups.len())?;
    svg(title, (u32::try_from(WIDTH)?, u32::try_from(height)?), |canvas| draw(canvas, title, &groups, height))
}

fn draw(canvas: &Canvas<'_>, title: &str, groups: &[Group<'_>], height: i32) -> Drawn {
    write(canvas, title, (20, 22), 18, INK, HPos::Left)?;
    let axis = "error of each activation site's output against the teacher's: MSE / mean square (%); last: the logits";
    write(canvas, axis, (20, 46), 12, SOFT, HPos::Left)?;
    for (name, colour, x) in
        [("weights only", WEIGHTS, 20), ("activations only", ACTIVATIONS, 130), ("both", BOTH, 260)]
    {
        canvas.draw(&Rectangle::new([(x, 64), (x + 12, 74)], colour.filled()))?;
        write(canvas, name, (x + 18, 69), 12, INK, HPos::Left)?;
    }
    let most = groups.iter().flat_map(|group| group.percent).flatten().fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let x = |percent: f64| LEFT + (percent / most * f64::from(WIDTH - LEFT - RIGHT)).round() as i32;
    for tick in ticks(0.0, most, 5) {
        let line = vec![(x(tick), TOP - 6), (x(tick), height - BOTTOM)];
        canvas.draw(&PathElement::new(line, LINES.stroke_width(1)))?;
        write(canvas, number(tick), (x(tick), height - BOTTOM + 14), 11, SOFT, HPos::Center)?;
    }
    for (row, group) in (0..).zip(groups) {
        let top = TOP + ROW * row;
        write(canvas, tail(group.layer), (LEFT - 10, top + ROW / 2 - 4), 12, INK, HPos::Right)?;
        for ((bar, percent), colour) in (0..).zip(group.percent).zip([WEIGHTS, ACTIVATIONS, BOTH]) {
            let Some(percent) = percent else { continue };
            let y = top + PITCH * bar;
            canvas.draw(&Rectangle::new([(LEFT, y), (x(percent), y + BAR)], colour.filled()))?;
        }
        if let [.., Some(both)] = group.percent {
            write(canvas, number(both), (x(both) + 6, top + 2 * PITCH + BAR / 2), 10, SOFT, HPos::Left)?;
        }
    }
    Ok(())
}

/// The end of a name that is too long to stand beside its bars.
fn tail(name: &str) -> String {
    const MOST: usize = 28;
    let length = name.chars().count();
    if length <= MOST {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length - MOST + 1).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::example_layers;
    use super::*;

    #[test]
    fn each_site_has_a_bar_for_each_mode() {
        let layers = example_layers();
        let svg = overview("small / zeroq / seed 1", &layers).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        // The background, three of the legend, three of the one site; the convolution's output is no site.
        assert_eq!(svg.matches("<rect").count(), 7, "{svg}");
        assert!(svg.contains("relu1") && !svg.contains("conv1"), "{svg}");
        // 1 of a mean square of 4 is half as long as 2 of it, which fills the width.
        let widths: Vec<&str> = svg.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(widths.contains(&"290") && widths.contains(&"580"), "{widths:?}");
        if let Ok(path) = std::env::var("BLINDFOLD_TEST_SVG") {
            std::fs::write(path, svg).unwrap();
        }
    }

    #[test]
    fn a_figure_without_errors_or_layers_is_still_one() {
        assert!(overview("nothing", &[]).unwrap().contains("nothing"));
        assert_eq!(tail("layer1.0.conv1"), "layer1.0.conv1");
        let long = tail("features.denseblock1.denselayer12.conv2");
        assert!(long.starts_with('…') && long.ends_with("denselayer12.conv2") && long.chars().count() == 28);
    }
}
