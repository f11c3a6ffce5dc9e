//! One picture's contents, drawn at random.

use super::draw::Draw;
use super::geometry::Shape;
use super::settings::ShapesSettings;
use super::texture::{Fill, Texture};

/// A colour, each channel in `0..=1`.
pub(super) type Colour = [f32; 3];

/// The background's relief: a colour direction times a scalar field in `-1..=1`.
pub(super) enum Relief {
    /// A plane wave's stripes, or a plane: value = triangle wave of `(x, y) . slope + phase`.
    Plane {
        /// Cycles a pixel.
        slope: [f32; 2],
        /// In cycles.
        phase: f32,
    },
    /// Bilinear interpolation of a lattice of random values, `cell` pixels wide.
    Clouds {
        /// Width of a cell.
        cell: f32,
        /// Row-major, 10 a row.
        lattice: Box<[f32; 100]>,
    },
}

/// A thick segment: a blob if its ends are near each other, a line otherwise.
pub(super) struct Stroke {
    pub(super) from: [f32; 2],
    pub(super) to: [f32; 2],
    pub(super) half_width: f32,
    pub(super) colour: Colour,
}

/// The shape that gives the picture its label.
pub(super) struct Figure {
    pub(super) shape: Shape,
    pub(super) centre: [f32; 2],
    pub(super) radius: f32,
    /// Columns of the map from pixels (centred) to the shape's own frame, in units of its radius.
    pub(super) frame: [[f32; 2]; 2],
    pub(super) fill: Fill,
    pub(super) outline: f32,
    pub(super) colours: [Colour; 2],
}

/// A whole picture.
pub(super) struct Scene {
    pub(super) background: Colour,
    pub(super) relief: Relief,
    pub(super) relief_colour: Colour,
    pub(super) behind: Vec<Stroke>,
    pub(super) figure: Figure,
    pub(super) before: Option<Stroke>,
    pub(super) blur: f32,
    pub(super) noise: f32,
}

impl Scene {
    /// Draws the picture of a label.
    pub(super) fn draw(settings: &ShapesSettings, label: usize, size: f32, draw: &mut Draw) -> Self {
        let (shape, texture) = factors(settings, label, draw);
        let background = draw.colour([0.12, 0.88]);
        let amplitude = draw.range(settings.background);
        let relief_colour = draw.direction::<3>().map(|x| x * amplitude);
        let relief = draw_relief(draw);
        let first = away(background, draw.range(settings.contrast), draw);
        let second = second_colour(settings, background, first, draw);
        let figure = draw_figure(settings, shape, texture, [first, second], size, draw);
        let behind = (0..draw.below(settings.distractors + 1))
            .map(|_| {
                let colour = if draw.chance(0.4) { first } else { draw.colour([0.0, 1.0]) };
                distractor(colour, size, draw)
            })
            .collect();
        let before = draw.chance(settings.occluded).then(|| {
            let colour = if draw.chance(0.5) { background } else { draw.colour([0.0, 1.0]) };
            occluder(settings, &figure, colour, draw)
        });
        let (blur, noise) = (draw.range(settings.blur), draw.range(settings.noise));
        Self { background, relief, relief_colour, behind, figure, before, blur, noise }
    }
}

fn factors(settings: &ShapesSettings, label: usize, draw: &mut Draw) -> (Shape, Texture) {
    if settings.fill_is_label {
        return (Shape::ALL[label / 10], Texture::ALL[label % 10]);
    }
    let textured = draw.chance(settings.textured);
    let index = 1 + draw.below(9);
    (Shape::ALL[label], if textured { Texture::ALL[index] } else { Texture::Solid })
}

/// A colour at this distance from `origin` that lies within the cube, or the best of eight tries, clamped.
fn away(origin: Colour, distance: f32, draw: &mut Draw) -> Colour {
    let mut best = (f32::INFINITY, origin);
    for _ in 0..8 {
        let direction: Colour = draw.direction();
        let colour: Colour = std::array::from_fn(|c| origin[c] + distance * direction[c]);
        let excess: f32 = colour.iter().map(|x| (x - x.clamp(0.0, 1.0)).abs()).sum();
        if excess < best.0 {
            best = (excess, colour.map(|x| x.clamp(0.0, 1.0)));
        }
    }
    best.1
}

/// The fill's second colour: away from the first, and not nearer to the background than the least contrast allows.
fn second_colour(settings: &ShapesSettings, background: Colour, first: Colour, draw: &mut Draw) -> Colour {
    let mut best = (-1.0, first);
    for _ in 0..4 {
        let colour = away(first, draw.range(settings.fill_contrast), draw);
        let square: f32 = (0..3).map(|c| (colour[c] - background[c]) * (colour[c] - background[c])).sum();
        if square > best.0 {
            best = (square, colour);
        }
        if square >= settings.contrast[0] * settings.contrast[0] {
            break;
        }
    }
    best.1
}

fn draw_relief(draw: &mut Draw) -> Relief {
    let phase = draw.unit();
    match draw.below(3) {
        // A quarter to a whole cycle over the picture: a gradient.
        0 => Relief::Plane { slope: draw.direction::<2>().map(|x| x / 64.0), phase },
        1 => {
            let cycles = 1.0 / draw.range([4.0, 10.0]);
            Relief::Plane { slope: draw.direction::<2>().map(|x| x * cycles), phase }
        }
        _ => Relief::Clouds {
            cell: draw.range([4.0, 12.0]),
            lattice: Box::new(std::array::from_fn(|_| draw.range([-1.0, 1.0]))),
        },
    }
}

fn draw_figure(
    settings: &ShapesSettings,
    shape: Shape,
    texture: Texture,
    colours: [Colour; 2],
    size: f32,
    draw: &mut Draw,
) -> Figure {
    let radius = draw.range(settings.radius);
    let fill = Fill::draw(texture, settings.period, draw);
    let centre = std::array::from_fn(|_| 0.5 * size + draw.range([-settings.shift, settings.shift]));
    let [cos, sin] = draw.direction();
    // A stretch by s along one axis of the picture and by 1/s along the other keeps the area.
    let stretch = draw.range([1.0, settings.stretch]).sqrt();
    let [sx, sy] = if draw.chance(0.5) { [stretch, 1.0 / stretch] } else { [1.0 / stretch, stretch] };
    let mirror = if draw.chance(0.5) { -1.0 } else { 1.0 };
    let frame = [[mirror * cos * sx / radius, sin * sx / radius], [-mirror * sin * sy / radius, cos * sy / radius]];
    Figure { shape, centre, radius, frame, fill, outline: draw.range(settings.outline), colours }
}

fn distractor(colour: Colour, size: f32, draw: &mut Draw) -> Stroke {
    let from = [draw.range([0.0, size]), draw.range([0.0, size])];
    let (length, half_width) = if draw.chance(0.5) {
        (draw.range([0.0, 2.0]), draw.range([1.0, 3.0]))
    } else {
        (draw.range([8.0, 28.0]), draw.range([0.4, 0.9]))
    };
    let direction: [f32; 2] = draw.direction();
    let to = [from[0] + length * direction[0], from[1] + length * direction[1]];
    Stroke { from, to, half_width, colour }
}

/// A bar across the shape, off its centre.
fn occluder(settings: &ShapesSettings, figure: &Figure, colour: Colour, draw: &mut Draw) -> Stroke {
    let direction: [f32; 2] = draw.direction();
    let offset = draw.range([-0.8, 0.8]) * figure.radius;
    let middle = [figure.centre[0] - direction[1] * offset, figure.centre[1] + direction[0] * offset];
    let reach = 40.0;
    Stroke {
        from: [middle[0] - reach * direction[0], middle[1] - reach * direction[1]],
        to: [middle[0] + reach * direction[0], middle[1] + reach * direction[1]],
        half_width: draw.range(settings.occluder),
        colour,
    }
}
