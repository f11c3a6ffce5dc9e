//! Bar charts as SVG within a page.

use super::html::escape;
use crate::plot::number;

const WIDTH: f64 = 440.0;
/// Where bars begin, and how far the longest reaches.
const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 56.0;
/// From one bar to the next.
const ROW: f64 = 18.0;
/// Letters of a name that stand beside its bar.
const NAME: usize = 21;

/// One bar for each name, the colour being the page's of that number.
pub(super) fn bars(title: &str, unit: &str, colour: usize, items: &[(&str, f64)]) -> String {
    let finite = || items.iter().filter(|(_, value)| value.is_finite());
    let most = finite().map(|(_, value)| *value).fold(0.0, f64::max);
    if finite().next().is_none() {
        return String::new();
    }
    let height = ROW * items.len() as f64 + 8.0;
    let mut html = format!(
        "<figure><h3>{title} <span class=\"soft\">({unit})</span></h3>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n",
        title = escape(title),
        unit = escape(unit)
    );
    for (index, (name, value)) in items.iter().enumerate() {
        let (top, base) = (ROW * index as f64 + 7.0, ROW * index as f64 + 17.0);
        let length = if *value > 0.0 && value.is_finite() { value / most * (RIGHT - LEFT) } else { 0.0 };
        let (whole, short) = (escape(name), escape(&tail(name)));
        let (before, after) = (LEFT - 8.0, LEFT + length + 6.0);
        let text = if value.is_finite() { number(*value) } else { "not finite".to_owned() };
        html += &format!(
            "<g class=\"k{colour}\"><title>{whole}: {value}</title>\
             <text x=\"{before}\" y=\"{base}\" text-anchor=\"end\">{short}</text>\
             <rect class=\"bar\" x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"12\"/>\
             <text x=\"{after:.1}\" y=\"{base}\">{text}</text></g>\n"
        );
    }
    html + "</svg>\n</figure>\n"
}

/// The end of a name that is too long.
fn tail(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME + 1 {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(length - NAME).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width_and_the_others_their_share() {
        let long = "features.denseblock1.denselayer12.conv2";
        let html = bars("Errors", "dB", 1, &[("<a>", 2.0), (long, 1.0), ("none", 0.0), ("odd", f64::NAN)]);
        let widths: Vec<&str> = html.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(widths, ["234.0", "117.0", "0.0", "0.0"]);
        assert!(html.contains("<title>&lt;a&gt;: 2</title>") && html.contains("…k1.denselayer12.conv2<"), "{html}");
        assert!(html.contains("not finite") && html.contains("viewBox=\"0 0 440 80\""), "{html}");
        assert_eq!(bars("Errors", "dB", 1, &[]), "");
    }
}
