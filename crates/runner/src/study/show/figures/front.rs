//! What is not beaten at its cost.

use plotters::prelude::{Color, PathElement, RGBColor};

use crate::plot::{Canvas, Drawn, Frame};

const COLOUR: RGBColor = RGBColor(150, 150, 150);

/// The points that are better than all of lesser or equal cost, by ascending cost.
pub(super) fn front(points: &[(f64, f64)], prefers: impl Fn(f64, f64) -> bool) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for (cost, value) in sorted {
        match front.last() {
            Some((_, best)) if !prefers(value, *best) => {}
            Some((last, _)) if *last == cost => {
                front.pop();
                front.push((cost, value));
            }
            _ => front.push((cost, value)),
        }
    }
    front
}

/// Draws a front as steps: what is reached at a cost holds for all greater ones.
pub(super) fn draw_front(canvas: &Canvas<'_>, frame: &Frame, front: &[(f64, f64)]) -> Drawn {
    let mut path: Vec<(i32, i32)> = Vec::new();
    for (cost, value) in front {
        let (x, y) = frame.at(*cost, *value);
        if let Some((_, before)) = path.last().copied() {
            path.push((x, before));
        }
        path.push((x, y));
    }
    if let Some((_, last)) = path.last().copied() {
        path.push((frame.right, last));
        canvas.draw(&PathElement::new(path, COLOUR.stroke_width(2)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_that_nothing_cheaper_beats_are_on_the_front() {
        let points = [(4.0, 1.0), (1.0, 5.0), (2.0, 6.0), (4.0, 0.5), (3.0, 2.0), (9.0, 0.5), (10.0, 0.1)];
        let lower = front(&points, |a, b| a < b);
        assert_eq!(lower, [(1.0, 5.0), (3.0, 2.0), (4.0, 0.5), (10.0, 0.1)]);
        let higher = front(&points, |a, b| a > b);
        assert_eq!(higher, [(1.0, 5.0), (2.0, 6.0)]);
        assert!(front(&[], |a, b| a < b).is_empty());
    }
}
