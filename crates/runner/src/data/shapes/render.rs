//! From a scene to pixels: signed distances, painted back to front, blurred, with noise, as bytes.

use super::draw::Draw;
use super::geometry::segment;
use super::scene::{Colour, Figure, Relief, Scene, Stroke};

/// Height and width of the pictures.
pub const SIZE: usize = 32;

const AREA: usize = SIZE * SIZE;

/// Renders into `pixels`, which holds three planes of `SIZE * SIZE` bytes.
pub(super) fn render(scene: &Scene, draw: &mut Draw, pixels: &mut [u8]) {
    let mut canvas = [[0.0f32; 3]; AREA];
    for (index, pixel) in canvas.iter_mut().enumerate() {
        let point = centre_of(index);
        let height = relief(&scene.relief, point);
        *pixel = std::array::from_fn(|c| scene.background[c] + scene.relief_colour[c] * height);
        scene.behind.iter().for_each(|stroke| paint_stroke(pixel, stroke, point));
        paint_figure(pixel, &scene.figure, point);
        scene.before.iter().for_each(|stroke| paint_stroke(pixel, stroke, point));
    }
    let canvas = blur(&canvas, scene.blur);
    for (index, pixel) in canvas.iter().enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            let noisy = value + scene.noise * draw.normal();
            pixels[channel * AREA + index] = (noisy.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        }
    }
}

fn centre_of(index: usize) -> [f32; 2] {
    [(index % SIZE) as f32 + 0.5, (index / SIZE) as f32 + 0.5]
}

fn paint(pixel: &mut Colour, colour: Colour, coverage: f32) {
    for (under, over) in pixel.iter_mut().zip(colour) {
        *under += (over - *under) * coverage;
    }
}

fn paint_stroke(pixel: &mut Colour, stroke: &Stroke, point: [f32; 2]) {
    let distance = segment(point, stroke.from, stroke.to) - stroke.half_width;
    if distance < 0.5 {
        paint(pixel, stroke.colour, (0.5 - distance).min(1.0));
    }
}

fn paint_figure(pixel: &mut Colour, figure: &Figure, [x, y]: [f32; 2]) {
    let offset = [x - figure.centre[0], y - figure.centre[1]];
    let reach = 1.45 * figure.radius + 1.0;
    if offset[0] * offset[0] + offset[1] * offset[1] > reach * reach {
        return;
    }
    let [u, v] = figure.frame;
    let local = [u[0] * offset[0] + v[0] * offset[1], u[1] * offset[0] + v[1] * offset[1]];
    let distance = figure.shape.distance(local) * figure.radius;
    let mut coverage = (0.5 - distance).clamp(0.0, 1.0);
    if figure.fill.is_outline() {
        coverage *= (0.5 + distance + figure.outline).clamp(0.0, 1.0);
    }
    if coverage > 0.0 {
        let mix = figure.fill.mix(offset, figure.radius);
        let [first, second] = figure.colours;
        paint(pixel, std::array::from_fn(|c| first[c] + (second[c] - first[c]) * mix), coverage);
    }
}

fn relief(relief: &Relief, [x, y]: [f32; 2]) -> f32 {
    match relief {
        Relief::Plane { slope, phase } => {
            let cycles = x * slope[0] + y * slope[1] + phase;
            4.0 * (cycles - cycles.floor() - 0.5).abs() - 1.0
        }
        Relief::Clouds { cell, lattice } => {
            let (gx, gy) = (x / cell, y / cell);
            let (column, row) = (gx as usize, gy as usize);
            let (fx, fy) = (gx - column as f32, gy - row as f32);
            let at = |c: usize, r: usize| lattice[r * 10 + c];
            let top = at(column, row) + (at(column + 1, row) - at(column, row)) * fx;
            let bottom = at(column, row + 1) + (at(column + 1, row + 1) - at(column, row + 1)) * fx;
            top + (bottom - top) * fy
        }
    }
}

/// Mixes the picture with its 3x3 binomial blur; pixels beyond the edge repeat the edge.
fn blur(canvas: &[Colour; AREA], share: f32) -> [Colour; AREA] {
    let at = |x: usize, y: usize, c: usize| canvas[y * SIZE + x][c];
    let rows: [Colour; AREA] = std::array::from_fn(|index| {
        let (x, y) = (index % SIZE, index / SIZE);
        let (left, right) = (x.saturating_sub(1), (x + 1).min(SIZE - 1));
        std::array::from_fn(|c| 0.25 * at(left, y, c) + 0.5 * at(x, y, c) + 0.25 * at(right, y, c))
    });
    std::array::from_fn(|index| {
        let (x, y) = (index % SIZE, index / SIZE);
        let (up, down) = (y.saturating_sub(1), (y + 1).min(SIZE - 1));
        std::array::from_fn(|c| {
            let soft = 0.25 * rows[up * SIZE + x][c] + 0.5 * rows[index][c] + 0.25 * rows[down * SIZE + x][c];
            canvas[index][c] + (soft - canvas[index][c]) * share
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_blur_spreads_a_point_into_the_binomial_kernel_and_keeps_its_sum() {
        let mut canvas = [[0.0; 3]; AREA];
        canvas[5 * SIZE + 7] = [1.0, 2.0, 4.0];
        let soft = blur(&canvas, 1.0);
        assert_eq!(soft[5 * SIZE + 7], [0.25, 0.5, 1.0]);
        assert_eq!(soft[4 * SIZE + 6], [0.0625, 0.125, 0.25]);
        assert_eq!(soft.iter().map(|pixel| pixel[2]).sum::<f32>(), 4.0);
        assert_eq!(blur(&canvas, 0.0), canvas);
    }

    #[test]
    fn clouds_meet_their_lattice_at_the_corners_of_cells() {
        let lattice = Box::new(std::array::from_fn(|i| i as f32));
        let clouds = Relief::Clouds { cell: 4.0, lattice };
        assert_eq!(relief(&clouds, [8.0, 12.0]), 32.0);
        assert_eq!(relief(&clouds, [10.0, 12.0]), 32.5);
    }
}
