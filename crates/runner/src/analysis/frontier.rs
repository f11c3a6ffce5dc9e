//! The figure of a bit allocation: what every budget would buy.

use anyhow::Result;
use blindfold_quant::{Allocation, AllocationBudget};
use plotters::prelude::{Circle, Color, PathElement};
use plotters::style::text_anchor::HPos;

use super::style::{ACTIVATIONS, BOTH, Canvas, Drawn, INK, LINES, SOFT, WEIGHTS, number, svg, ticks, write};

const WIDTH: i32 = 860;
const HEIGHT: i32 = 440;
const LEFT: i32 = 80;
const RIGHT: i32 = 40;
const TOP: i32 = 92;
const BOTTOM: i32 = 48;
/// Points of the frontier that are drawn.
const POINTS: usize = 600;

/// Sensitivity (logarithmic) over mean bits: the Pareto frontier, the allocation that was chosen, and networks whose layers
/// all have the same bits.
pub(crate) fn frontier(title: &str, allocation: &Allocation) -> Result<String> {
    let (unit, budget) = match allocation.budget {
        AllocationBudget::SizeBitsPerWeight(bits) => ("bits a weight", bits),
        AllocationBudget::BitOperationsPerMac(operations) => ("bit operations a multiply-accumulate", operations),
    };
    let thinned = allocation.frontier.thinned(POINTS);
    let curve: Vec<(f64, f64)> =
        thinned.points.iter().map(|point| (thinned.mean(point), point.sensitivity)).filter(positive).collect();
    let chosen = allocation.frontier.within(allocation.limit);
    let chosen = chosen.map(|point| (allocation.frontier.mean(point), point.sensitivity)).filter(positive);
    let uniform: Vec<(f64, f64)> = match allocation.budget {
        AllocationBudget::SizeBitsPerWeight(_) => {
            let totals = allocation.uniform.iter();
            totals.map(|(bits, total)| (f64::from(*bits), total.sensitivity)).filter(positive).collect()
        }
        AllocationBudget::BitOperationsPerMac(_) => Vec::new(),
    };
    let size = (WIDTH.unsigned_abs(), HEIGHT.unsigned_abs());
    svg(title, size, |canvas| {
        write(canvas, title, (20, 22), 18, INK, HPos::Left)?;
        let axis = format!("sensitivity `{}` (log scale) over {unit}", allocation.sensitivity_name);
        write(canvas, axis, (20, 46), 12, SOFT, HPos::Left)?;
        for (name, colour, x) in
            [("frontier", WEIGHTS, 20), ("all layers the same bits", ACTIVATIONS, 110), ("chosen", BOTH, 290)]
        {
            canvas.draw(&Circle::new((x + 6, 69), 4, colour.filled()))?;
            write(canvas, name, (x + 18, 69), 12, INK, HPos::Left)?;
        }
        draw(canvas, &curve, &uniform, chosen, budget)
    })
}

fn positive(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite() && point.1 > 0.0
}

fn draw(
    canvas: &Canvas<'_>,
    curve: &[(f64, f64)],
    uniform: &[(f64, f64)],
    chosen: Option<(f64, f64)>,
    budget: f64,
) -> Drawn {
    let all = || curve.iter().chain(uniform).chain(chosen.as_ref());
    let extent = |of: fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (low, high)) = (extent(|point| point.0), extent(|point| point.1.log10()));
    if !(left.is_finite() && low.is_finite()) {
        return write(canvas, "no point has a sensitivity above 0", (LEFT, TOP + 20), 12, SOFT, HPos::Left);
    }
    let (across, down) = ((right - left).max(1e-9), (high - low).max(1e-9));
    let x = |bits: f64| LEFT + ((bits - left) / across * f64::from(WIDTH - LEFT - RIGHT)).round() as i32;
    let y = |power: f64| HEIGHT - BOTTOM - ((power - low) / down * f64::from(HEIGHT - TOP - BOTTOM)).round() as i32;
    for tick in ticks(left, right, 8) {
        canvas.draw(&PathElement::new(vec![(x(tick), TOP), (x(tick), HEIGHT - BOTTOM)], LINES.stroke_width(1)))?;
        write(canvas, number(tick), (x(tick), HEIGHT - BOTTOM + 16), 11, SOFT, HPos::Center)?;
    }
    for power in ticks(low, high, 6) {
        canvas.draw(&PathElement::new(vec![(LEFT, y(power)), (WIDTH - RIGHT, y(power))], LINES.stroke_width(1)))?;
        write(canvas, format!("{:.1e}", 10f64.powf(power)), (LEFT - 8, y(power)), 11, SOFT, HPos::Right)?;
    }
    if (left..=right).contains(&budget) {
        let line = vec![(x(budget), TOP), (x(budget), HEIGHT - BOTTOM)];
        canvas.draw(&PathElement::new(line, SOFT.stroke_width(1)))?;
    }
    let line: Vec<(i32, i32)> = curve.iter().map(|(bits, value)| (x(*bits), y(value.log10()))).collect();
    canvas.draw(&PathElement::new(line, WEIGHTS.stroke_width(2)))?;
    for (points, colour) in [(uniform, ACTIVATIONS), (chosen.as_slice(), BOTH)] {
        for (bits, value) in points {
            canvas.draw(&Circle::new((x(*bits), y(value.log10())), 5, colour.filled()))?;
        }
    }
    Ok(())
}
