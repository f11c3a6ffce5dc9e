//! The ten outlines and their signed distances.

/// An outline; the order is that of the labels of `shapes10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A full circle.
    Disc,
    /// Half of a circle.
    HalfDisc,
    /// A circle less a circle beside it.
    Crescent,
    /// Two circles on the sides of a square that stands on its corner.
    Heart,
    /// An equilateral triangle.
    Triangle,
    /// A square.
    Square,
    /// A regular pentagon.
    Pentagon,
    /// A star of five points.
    Star,
    /// A plus sign with arms of equal length.
    Cross,
    /// A triangle on a shaft.
    Arrow,
}

impl Shape {
    /// All outlines, by label.
    pub const ALL: [Self; 10] = [
        Self::Disc,
        Self::HalfDisc,
        Self::Crescent,
        Self::Heart,
        Self::Triangle,
        Self::Square,
        Self::Pentagon,
        Self::Star,
        Self::Cross,
        Self::Arrow,
    ];

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::HalfDisc => "half-disc",
            Self::Crescent => "crescent",
            Self::Heart => "heart",
            Self::Triangle => "triangle",
            Self::Square => "square",
            Self::Pentagon => "pentagon",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Arrow => "arrow",
        }
    }

    /// Distance from the outline at `point`, negative inside, in units of the shape's nominal radius.
    ///
    /// Exact for the circle and the polygons; for the crescent, the half disc and the heart a lower bound of the
    /// distance's size, as is usual for unions and differences (the zero set is exact).
    pub fn distance(self, point: [f32; 2]) -> f32 {
        let [x, y] = point;
        match self {
            Self::Disc => circle(point, [0.0, 0.0], 0.86),
            Self::HalfDisc => circle([x, y - 0.42], [0.0, 0.0], 1.05).max(y - 0.42),
            Self::Crescent => circle(point, [0.0, 0.0], 0.98).max(-circle(point, [0.46, 0.0], 0.80)),
            Self::Heart => circle(point, [-0.375, -0.275], 0.53)
                .min(circle(point, [0.375, -0.275], 0.53))
                .min(polygon(point, &HEART)),
            Self::Triangle => polygon(point, &TRIANGLE),
            Self::Square => polygon(point, &SQUARE),
            Self::Pentagon => polygon(point, &PENTAGON),
            Self::Star => polygon(point, &STAR),
            Self::Cross => polygon(point, &CROSS),
            Self::Arrow => polygon(point, &ARROW),
        }
    }
}

// Corners in units of the nominal radius, y downwards; the areas of all shapes lie between 1.3 and 2.5.
const TRIANGLE: [[f32; 2]; 3] = [[0.0, -1.12], [0.97, 0.56], [-0.97, 0.56]];
const SQUARE: [[f32; 2]; 4] = [[-0.76, -0.76], [0.76, -0.76], [0.76, 0.76], [-0.76, 0.76]];
const PENTAGON: [[f32; 2]; 5] =
    [[0.0, -0.95], [0.903_504, -0.293_566], [0.558_396, 0.768_566], [-0.558_396, 0.768_566], [-0.903_504, -0.293_566]];
const STAR: [[f32; 2]; 10] = [
    [0.0, -1.15],
    [0.282_137, -0.388_328],
    [1.093_715, -0.355_370],
    [0.456_507, 0.148_328],
    [0.675_953, 0.930_370],
    [0.0, 0.48],
    [-0.675_953, 0.930_370],
    [-0.456_507, 0.148_328],
    [-1.093_715, -0.355_370],
    [-0.282_137, -0.388_328],
];
const CROSS: [[f32; 2]; 12] = [
    [-0.32, -1.0],
    [0.32, -1.0],
    [0.32, -0.32],
    [1.0, -0.32],
    [1.0, 0.32],
    [0.32, 0.32],
    [0.32, 1.0],
    [-0.32, 1.0],
    [-0.32, 0.32],
    [-1.0, 0.32],
    [-1.0, -0.32],
    [-0.32, -0.32],
];
const ARROW: [[f32; 2]; 7] =
    [[0.0, -1.1], [0.9, -0.05], [0.36, -0.05], [0.36, 0.95], [-0.36, 0.95], [-0.36, -0.05], [-0.9, -0.05]];
const HEART: [[f32; 2]; 4] = [[0.0, -0.65], [0.75, 0.1], [0.0, 0.95], [-0.75, 0.1]];

fn circle([x, y]: [f32; 2], [cx, cy]: [f32; 2], radius: f32) -> f32 {
    let (dx, dy) = (x - cx, y - cy);
    (dx * dx + dy * dy).sqrt() - radius
}

/// Distance from the segment `a b`.
pub(super) fn segment([x, y]: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (ex, ey) = (b[0] - a[0], b[1] - a[1]);
    let (wx, wy) = (x - a[0], y - a[1]);
    let along = ((wx * ex + wy * ey) / (ex * ex + ey * ey).max(1e-12)).clamp(0.0, 1.0);
    let (dx, dy) = (wx - ex * along, wy - ey * along);
    (dx * dx + dy * dy).sqrt()
}

/// Signed distance from a simple polygon: the nearest edge, and the parity of the edges crossed by a ray.
fn polygon(point: [f32; 2], corners: &[[f32; 2]]) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut a = corners[corners.len() - 1];
    for &b in corners {
        nearest = nearest.min(segment(point, a, b));
        if (a[1] > point[1]) != (b[1] > point[1]) && point[0] < (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]) + a[0]
        {
            inside = !inside;
        }
        a = b;
    }
    if inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_and_the_disc_have_their_closed_forms() {
        for (x, y) in [(0.0f32, 0.0f32), (0.5, -0.2), (1.3, 0.1), (-1.0, 1.0), (0.2, 0.9)] {
            let (qx, qy) = (x.abs() - 0.76, y.abs() - 0.76);
            let square = (qx.max(0.0).powi(2) + qy.max(0.0).powi(2)).sqrt() + qx.max(qy).min(0.0);
            assert!((Shape::Square.distance([x, y]) - square).abs() < 1e-6);
            assert!((Shape::Disc.distance([x, y]) - (x.hypot(y) - 0.86)).abs() < 1e-6);
        }
    }

    #[test]
    fn areas_are_alike_and_shapes_stay_within_their_radius() {
        for shape in Shape::ALL {
            let grid = (0..300).flat_map(|i| (0..300).map(move |j| [i as f32 / 100.0 - 1.5, j as f32 / 100.0 - 1.5]));
            let inside: Vec<[f32; 2]> = grid.filter(|point| shape.distance(*point) < 0.0).collect();
            let area = inside.len() as f32 * 1e-4;
            assert!((1.2..2.6).contains(&area), "{}: {area}", shape.name());
            assert!(inside.iter().all(|[x, y]| x.hypot(*y) < 1.25), "{}", shape.name());
        }
    }

    #[test]
    fn the_star_and_the_pentagon_have_fivefold_symmetry() {
        let (sin, cos) = (std::f32::consts::TAU / 5.0).sin_cos();
        for shape in [Shape::Star, Shape::Pentagon] {
            for [x, y] in [[0.3, 0.4], [-0.7, 0.2], [1.0, 1.0]] {
                let turned = [cos * x - sin * y, sin * x + cos * y];
                assert!((shape.distance([x, y]) - shape.distance(turned)).abs() < 1e-4, "{}", shape.name());
            }
        }
    }
}
