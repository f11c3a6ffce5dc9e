//! How series are told apart.

use plotters::prelude::{Circle, Color, Polygon, RGBColor, WHITE};

use super::canvas::{Canvas, Drawn};

/// Told apart under the common colour-vision deficiencies: Okabe and Ito, Color Universal Design, 2008.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(34, 34, 34),
];
const SHAPES: [Shape; 7] =
    [Shape::Circle, Shape::Square, Shape::Up, Shape::Diamond, Shape::Down, Shape::Plus, Shape::Cross];
/// Half a marker's width.
const RADIUS: i32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Circle,
    Square,
    Up,
    Diamond,
    Down,
    Plus,
    Cross,
}

/// Colour and marker of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Look {
    pub(crate) colour: RGBColor,
    shape: Shape,
}

impl Look {
    /// How many series in a row differ in colour and in marker.
    pub(crate) const COLOURS: usize = PALETTE.len();

    /// Of the series of that number. Seven in a row differ in colour and in marker, and forty-nine in the pair.
    pub(crate) fn of(index: usize) -> Self {
        let shape = SHAPES[(index + index / PALETTE.len()) % SHAPES.len()];
        Self { colour: PALETTE[index % PALETTE.len()], shape }
    }

    /// Draws the marker there, with a thin white rim that keeps it apart from what it covers.
    pub(crate) fn mark(self, canvas: &Canvas<'_>, at: (i32, i32)) -> Drawn {
        self.shape(canvas, at, RADIUS + 1, WHITE)?;
        self.shape(canvas, at, RADIUS, self.colour)
    }

    fn shape(self, canvas: &Canvas<'_>, (x, y): (i32, i32), r: i32, colour: RGBColor) -> Drawn {
        let style = colour.filled();
        // Arms of plus and cross: their half width, and how far they reach.
        let (arm, far) = ((r / 2).max(1), r + 1);
        let offsets: Vec<(i32, i32)> = match self.shape {
            Shape::Circle => return Ok(canvas.draw(&Circle::new((x, y), r, style))?),
            Shape::Square => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
            Shape::Up => vec![(0, -far), (far, r), (-far, r)],
            Shape::Diamond => vec![(0, -r - 2), (r + 2, 0), (0, r + 2), (-r - 2, 0)],
            Shape::Down => vec![(0, far), (far, -r), (-far, -r)],
            Shape::Plus => vec![
                (-arm, -far),
                (arm, -far),
                (arm, -arm),
                (far, -arm),
                (far, arm),
                (arm, arm),
                (arm, far),
                (-arm, far),
                (-arm, arm),
                (-far, arm),
                (-far, -arm),
                (-arm, -arm),
            ],
            Shape::Cross => vec![
                (-far, arm - far),
                (arm - far, -far),
                (0, -arm),
                (far - arm, -far),
                (far, arm - far),
                (arm, 0),
                (far, far - arm),
                (far - arm, far),
                (0, arm),
                (arm - far, far),
                (-far, far - arm),
                (-arm, 0),
            ],
        };
        let points: Vec<(i32, i32)> = offsets.into_iter().map(|(right, down)| (x + right, y + down)).collect();
        Ok(canvas.draw(&Polygon::new(points, style))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_in_a_row_differ_in_both_and_forty_nine_in_the_pair() {
        let looks: Vec<Look> = (0..49).map(Look::of).collect();
        for (at, look) in looks.iter().enumerate() {
            assert!(!looks[..at].contains(look), "{at}");
        }
        for seven in looks.chunks(Look::COLOURS) {
            for (at, look) in seven.iter().enumerate() {
                assert!(seven[..at].iter().all(|other| other.shape != look.shape && other.colour != look.colour));
            }
        }
    }

    #[test]
    fn each_marker_is_drawn_with_its_rim() {
        let svg = super::super::svg("markers", (200, 20), |canvas| {
            (0..7).try_for_each(|index| Look::of(index).mark(canvas, (20 * index as i32 + 10, 10)))
        })
        .unwrap();
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polygon").count()), (2, 12), "{svg}");
    }
}
