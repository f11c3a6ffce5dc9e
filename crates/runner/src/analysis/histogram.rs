//! The figure of one tensor: its values, with the grid drawn over them.

use anyhow::Result;
use blindfold_quant::Histogram;
use plotters::prelude::{Color, PathElement, Rectangle};
use plotters::style::text_anchor::HPos;

use super::style::{ACTIVATIONS, Canvas, Drawn, INK, SOFT, WEIGHTS, number, svg, ticks, write};

const WIDTH: i32 = 720;
const SIDE: i32 = 24;
const TOP: i32 = 64;
const PLOT: i32 = 200;
const AXIS: i32 = 30;
/// Pixels from the grid of one group to the next, where there are several.
const ROW: i32 = 8;
/// Groups whose grids are drawn at most.
const SHOWN_GROUPS: usize = 16;
/// Levels of a group that are drawn one by one at most; of more only the ends.
const SHOWN_LEVELS: usize = 64;

/// The file of a histogram: its place in the network, the layer and which of its tensors.
pub(super) fn file_name(index: usize, histogram: &Histogram) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let layer: String = histogram.layer.chars().map(plain).collect();
    format!("{index:03}-{layer}-{}.svg", histogram.role.name())
}

/// Bars on a logarithmic scale of counts; the levels as lines over them where there is one grid, below them where each
/// group has its own.
pub(super) fn figure(histogram: &Histogram) -> Result<String> {
    let rows = if histogram.levels.len() > 1 { histogram.levels.len().min(SHOWN_GROUPS) } else { 0 };
    let height = TOP + PLOT + AXIS + ROW * i32::try_from(rows)? + 8;
    let what = format!("the histogram of {}", histogram.layer);
    svg(&what, (u32::try_from(WIDTH)?, u32::try_from(height)?), |canvas| draw(canvas, histogram, rows))
}

/// The values that the picture is wide, and where each lies.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// A little wider than the values, so that levels just beyond them show.
    fn of(histogram: &Histogram) -> Self {
        let (low, high) = (f64::from(histogram.low), f64::from(histogram.high));
        let room = if high > low { 0.05 * (high - low) } else { low.abs().max(1.0) };
        Self { low: low - room, high: high + room }
    }

    fn x(&self, value: f64) -> i32 {
        SIDE + ((value - self.low) / (self.high - self.low) * f64::from(WIDTH - 2 * SIDE)).round() as i32
    }

    fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

fn draw(canvas: &Canvas<'_>, histogram: &Histogram, rows: usize) -> Drawn {
    let scale = Scale::of(histogram);
    let base = TOP + PLOT;
    let Histogram { layer, role, bits, levels, .. } = histogram;
    write(canvas, format!("{layer}: {}, {bits} bits", role.name()), (SIDE, 20), 16, INK, HPos::Left)?;
    write(canvas, caption(histogram, rows), (SIDE, 42), 12, SOFT, HPos::Left)?;

    let width = (f64::from(histogram.high) - f64::from(histogram.low)) / histogram.counts.len().max(1) as f64;
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    for (bin, &count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let left = f64::from(histogram.low) + bin as f64 * width;
        let size = (1.0 + count as f64).ln() / (1.0 + most as f64).ln() * f64::from(PLOT);
        let (from, to) = (scale.x(left), scale.x(left + width));
        let corners = [(from, base - (size.round() as i32).max(1)), (to.max(from + 1), base)];
        canvas.draw(&Rectangle::new(corners, WEIGHTS.mix(0.55).filled()))?;
    }
    canvas.draw(&PathElement::new(vec![(SIDE, base), (WIDTH - SIDE, base)], SOFT.stroke_width(1)))?;
    for tick in ticks(scale.low, scale.high, 8) {
        canvas.draw(&PathElement::new(vec![(scale.x(tick), base), (scale.x(tick), base + 4)], SOFT.stroke_width(1)))?;
        write(canvas, number(tick), (scale.x(tick), base + 14), 11, SOFT, HPos::Center)?;
    }
    match levels.as_slice() {
        [] => Ok(()),
        [only] => grid(canvas, &scale, only, TOP, base),
        several => (0..).zip(0..rows).try_for_each(|(row, index)| {
            let y = base + AXIS + ROW * row;
            grid(canvas, &scale, &several[index * several.len() / rows], y, y + ROW - 3)
        }),
    }
}

/// The levels of one group between two heights: a line each, and one along all of them.
fn grid(canvas: &Canvas<'_>, scale: &Scale, levels: &[f32], top: i32, bottom: i32) -> Drawn {
    let listed = if levels.len() > SHOWN_LEVELS { vec![levels[0], levels[levels.len() - 1]] } else { levels.to_vec() };
    for level in listed.iter().map(|level| f64::from(*level)).filter(|level| scale.holds(*level)) {
        let line = vec![(scale.x(level), top), (scale.x(level), bottom)];
        canvas.draw(&PathElement::new(line, ACTIVATIONS.stroke_width(1)))?;
    }
    if let [first, .., last] = levels {
        let ends = [first, last].map(|end| scale.x(f64::from(*end).clamp(scale.low, scale.high)));
        canvas.draw(&PathElement::new(ends.map(|x| (x, bottom)).to_vec(), ACTIVATIONS.mix(0.5).stroke_width(2)))?;
    }
    Ok(())
}

fn caption(histogram: &Histogram, rows: usize) -> String {
    let values: u64 = histogram.counts.iter().sum();
    let clipped = match histogram.clipped {
        Some(share) => format!("{} % clipped", number(100.0 * share)),
        None => "range found at run time".to_owned(),
    };
    let levels = histogram.levels.iter().map(Vec::len).max().unwrap_or(0);
    let grid = match histogram.levels.len() {
        0 => "no table of levels".to_owned(),
        1 if levels > SHOWN_LEVELS => "orange: the ends of the grid".to_owned(),
        1 => format!("orange: its {levels} levels"),
        groups => format!("below: the grids of {rows} of {groups} groups"),
    };
    format!("{values} values (counts on a log scale), {clipped}; {grid}")
}

#[cfg(test)]
mod tests {
    use blindfold_quant::{Precision, Role};

    use super::*;

    fn example(levels: Vec<Vec<f32>>) -> Histogram {
        Histogram {
            layer: "layer1/0.conv1".into(),
            role: Role::Weight,
            bits: Precision::Int(2),
            low: -1.0,
            high: 1.0,
            counts: vec![1, 0, 100, 7],
            levels,
            clipped: Some(0.0125),
        }
    }

    fn orange_lines(svg: &str) -> usize {
        svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("#D55E00")).count()
    }

    #[test]
    fn every_filled_bin_and_every_level_is_drawn() {
        let svg = figure(&example(vec![vec![-1.0, -0.5, 0.0, 0.5]])).unwrap();
        assert_eq!(svg.matches("<rect").count(), 1 + 3, "{svg}");
        assert_eq!(orange_lines(&svg), 4 + 1, "{svg}");
        assert!(svg.contains("108 values") && svg.contains("1.25 % clipped") && svg.contains("its 4 levels"), "{svg}");
        if let Ok(path) = std::env::var("BLINDFOLD_TEST_SVG") {
            std::fs::write(path, svg).unwrap();
        }
    }

    #[test]
    fn levels_far_away_are_left_out_and_of_many_groups_some_are_shown() {
        let outside = figure(&example(vec![vec![-9.0, 0.0, 9.0]])).unwrap();
        assert_eq!(orange_lines(&outside), 1 + 1);
        let groups = figure(&example(vec![vec![-1.0, 1.0]; 64])).unwrap();
        assert_eq!(orange_lines(&groups), 16 * 3);
        assert!(groups.contains("16 of 64 groups"));
        let many = figure(&example(vec![(0..256).map(|code| code as f32 / 256.0).collect()])).unwrap();
        assert_eq!(orange_lines(&many), 2 + 1);
        assert_eq!(orange_lines(&figure(&example(Vec::new())).unwrap()), 0);
    }

    #[test]
    fn a_constant_tensor_can_be_drawn_and_names_become_files() {
        let constant = Histogram { low: 3.0, high: 3.0, counts: vec![5, 0], ..example(Vec::new()) };
        assert!(figure(&constant).unwrap().contains("5 values"));
        assert_eq!(file_name(7, &constant), "007-layer1_0.conv1-weight.svg");
    }
}
