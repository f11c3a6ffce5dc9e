//! Line charts as SVG within a page.

use super::html::escape;
use crate::axis::Axis;
use crate::plot::number;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 38.0;
/// Points of a line that are drawn; more are averaged.
const POINTS: usize = 400;
/// Places along a chart that say their values when pointed at.
const PLACES: usize = 120;
/// Points up to which each has a dot.
const DOTS: usize = 12;
/// Colours of the page that lines take in turn.
const COLOURS: usize = 6;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// In ascending order of x. A line is interrupted where a value is not finite.
    pub(super) points: Vec<(f64, f64)>,
}

/// A line chart with its heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What its values are counted in, in words.
    pub(super) unit: String,
    /// What runs along the x axis.
    pub(super) along: &'static str,
    pub(super) series: Vec<Series>,
    /// Values to compare with, as dashed lines across.
    pub(super) levels: Vec<(String, f64)>,
    /// What is said of it; may be empty.
    pub(super) note: String,
}

impl Chart {
    /// The chart as a figure; nothing when there is no finite value.
    pub(super) fn to_html(&self) -> String {
        let most = self.series.iter().map(|series| series.points.len()).max().unwrap_or(0);
        let every = most.div_ceil(POINTS).max(1);
        let series: Vec<Series> = self.series.iter().map(|series| series.thinned(every)).collect();
        let points = || series.iter().flat_map(|series| &series.points);
        let values = points().map(|(_, y)| *y).chain(self.levels.iter().map(|(_, value)| *value));
        let (Some(across), Some(up)) = (Axis::linear(points().map(|(x, _)| *x), 0.0), Axis::suiting(values, 0.06))
        else {
            return String::new();
        };
        let panel = Panel { across, up };
        let mut html = format!("<figure><h3>{}{}</h3>\n", escape(&self.title), self.units(up.is_log()));
        html += &self.legend();
        let thinned = (every > 1).then(|| format!("each point is the mean of {every}"));
        let note: Vec<String> =
            [self.note.clone()].into_iter().filter(|note| !note.is_empty()).chain(thinned).collect();
        if !note.is_empty() {
            html += &format!("<p class=\"soft small\">{}</p>\n", escape(&note.join("; ")));
        }
        html +=
            &format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(&self.title));
        html += &panel.axes(self.along);
        for (_, value) in &self.levels {
            let y = panel.y(*value);
            html += &format!(
                "<line class=\"curve dashed k6\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\n"
            );
        }
        for (index, series) in series.iter().enumerate() {
            html += &panel.curve(index, series);
        }
        html += &panel.places(self.along, &series);
        html += "</svg>\n";
        html + "</figure>\n"
    }

    fn units(&self, log: bool) -> String {
        let log = if log { "log scale" } else { "" };
        let words: Vec<&str> = [self.unit.as_str(), log].into_iter().filter(|word| !word.is_empty()).collect();
        match words.is_empty() {
            true => String::new(),
            false => format!(" <span class=\"soft\">({})</span>", escape(&words.join(", "))),
        }
    }

    fn legend(&self) -> String {
        if self.series.len() + self.levels.len() < 2 {
            return String::new();
        }
        let series = self.series.iter().enumerate();
        let series =
            series.map(|(at, series)| format!("<li class=\"k{}\">{}</li>", at % COLOURS, escape(&series.name)));
        let level = |(name, value): &(String, f64)| {
            format!("<li class=\"k6 dashed\">{} {}</li>", escape(name), escape(&number(*value)))
        };
        let entries: String = series.chain(self.levels.iter().map(level)).collect();
        format!("<ul class=\"legend\">{entries}</ul>\n")
    }
}

impl Series {
    /// The mean of each so many points.
    fn thinned(&self, every: usize) -> Self {
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let point = |points: &[(f64, f64)]| {
            let finite: Vec<f64> = points.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
            (mean(points.iter().map(|(x, _)| *x).collect()), if finite.is_empty() { f64::NAN } else { mean(finite) })
        };
        match every {
            1 => self.clone(),
            _ => Self { name: self.name.clone(), points: self.points.chunks(every).map(point).collect() },
        }
    }
}

/// Where values lie.
#[derive(Debug, Clone, Copy)]
struct Panel {
    across: Axis,
    up: Axis,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.place(value) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.up.place(value) * (BOTTOM - TOP)
    }

    fn axes(&self, along: &str) -> String {
        let mut svg = String::new();
        for tick in self.up.ticks(5) {
            let (y, below) = (self.y(tick.value), self.y(tick.value) + 4.0);
            svg += &format!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>");
            svg += &format!("<text x=\"{}\" y=\"{below:.1}\" text-anchor=\"end\">{}</text>\n", LEFT - 7.0, tick.text);
        }
        for tick in self.across.ticks(6) {
            let (x, y) = (self.x(tick.value), BOTTOM + 17.0);
            svg += &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n", tick.text);
        }
        svg += &format!("<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>\n");
        let (x, y) = ((LEFT + RIGHT) / 2.0, HEIGHT - 4.0);
        svg + &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n", escape(along))
    }

    fn curve(&self, index: usize, series: &Series) -> String {
        let class = format!("k{}", index % COLOURS);
        let dots = series.points.len() <= DOTS;
        let mut svg = String::new();
        for run in series.points.split(|(_, y)| !y.is_finite()) {
            let places: Vec<(f64, f64)> = run.iter().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
            if places.len() > 1 {
                let points: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                svg += &format!("<polyline class=\"curve {class}\" points=\"{}\"/>\n", points.join(" "));
            }
            if dots || places.len() == 1 {
                let dot = |(x, y): &(f64, f64)| {
                    format!("<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")
                };
                svg += &(places.iter().map(dot).collect::<String>() + "\n");
            }
        }
        svg
    }

    /// Strips from top to bottom that say the values there when pointed at.
    fn places(&self, along: &str, series: &[Series]) -> String {
        let mut xs: Vec<f64> = series.iter().flat_map(|series| &series.points).map(|(x, _)| *x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let xs: Vec<f64> = xs.iter().copied().step_by(xs.len().div_ceil(PLACES).max(1)).collect();
        let mut svg = String::new();
        for (index, x) in xs.iter().enumerate() {
            let middle =
                |other: Option<&f64>, edge: f64| other.map_or(edge, |other| (self.x(*other) + self.x(*x)) / 2.0);
            let left = middle(index.checked_sub(1).map(|before| &xs[before]), LEFT);
            let right = middle(xs.get(index + 1), RIGHT);
            let mut title = format!("{along} {}", plain(*x));
            for Series { name, points } in series {
                if let Some((_, y)) = points.iter().find(|(place, y)| place == x && y.is_finite()) {
                    title += &format!("\n{name}: {}", number(*y));
                }
            }
            let (width, height, title) = (right - left, BOTTOM - TOP, escape(&title));
            svg += &format!(
                "<rect class=\"hit\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">\
                 <title>{title}</title></rect>\n"
            );
        }
        svg
    }
}

/// A step or an epoch in full, a mean of several shortened.
fn plain(x: f64) -> String {
    if x.fract() == 0.0 { format!("{x:.0}") } else { number(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let series = vec![Series { name: "a<b".into(), points: points.to_vec() }];
        Chart { title: "Loss & co".into(), unit: "nat".into(), along: "step", series, ..Chart::default() }
    }

    #[test]
    fn a_line_lies_within_its_panel_and_says_its_values() {
        let html = chart(&[(0.0, 1.0), (10.0, 3.0), (20.0, 2.0)]).to_html();
        assert!(html.starts_with("<figure><h3>Loss &amp; co <span class=\"soft\">(nat)</span></h3>"), "{html}");
        let points = html.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let places: Vec<(f64, f64)> = points
            .split(' ')
            .map(|pair| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
            .collect();
        assert_eq!((places[0].0, places[2].0), (LEFT, RIGHT));
        assert!(places.iter().all(|(_, y)| (TOP..=BOTTOM).contains(y)) && places[1].1 < places[2].1, "{points}");
        assert!(html.contains("<title>step 10\na&lt;b: 3</title>"), "{html}");
        assert_eq!((html.matches("class=\"hit\"").count(), html.matches("<circle").count()), (3, 3));
        assert!(!html.contains("legend") && !html.contains("<p "), "{html}");
    }

    #[test]
    fn a_value_that_is_not_finite_interrupts_the_line() {
        let html = chart(&[(0.0, 1.0), (1.0, 3.0), (2.0, f64::NAN), (3.0, 2.0), (4.0, 2.0)]).to_html();
        assert_eq!(html.matches("<polyline").count(), 2, "{html}");
        assert!(!html.contains("NaN"), "{html}");
        assert_eq!(chart(&[(0.0, f64::NAN)]).to_html(), "");
        assert_eq!(chart(&[]).to_html(), "");
    }

    #[test]
    fn long_lines_are_averaged_and_say_so() {
        let points: Vec<(f64, f64)> = (0..1000).map(|step| (f64::from(step), 1.0)).collect();
        let html = chart(&points).to_html();
        assert!(html.contains("each point is the mean of 3"), "{html}");
        assert!(html.matches("class=\"hit\"").count() <= PLACES + 1 && !html.contains("<circle"), "{html}");
    }

    #[test]
    fn several_lines_and_levels_have_a_legend_and_wide_values_a_log_scale() {
        let mut chart = chart(&[(0.0, 1e-4), (1.0, 1.0)]);
        chart.levels.push(("teacher".into(), 0.5));
        let html = chart.to_html();
        assert!(html.contains("<li class=\"k0\">a&lt;b</li><li class=\"k6 dashed\">teacher 0.5</li>"), "{html}");
        assert!(html.contains("(nat, log scale)") && html.contains(">1e-4</text>"), "{html}");
    }
}
