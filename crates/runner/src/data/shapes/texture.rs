//! The ten fills; in `shapes100` they are the second half of the class, in `shapes10` a nuisance.

use super::draw::Draw;

/// A fill; the order is that of the second factor of `shapes100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texture {
    /// One colour.
    Solid,
    /// Stripes along the rows.
    Horizontal,
    /// Stripes along the columns.
    Vertical,
    /// Stripes along one of the two diagonals.
    Diagonal,
    /// A chessboard.
    Checker,
    /// Round dots on a square grid.
    Dots,
    /// The contour only.
    Outline,
    /// From one colour to the other across the shape.
    Gradient,
    /// Two halves.
    TwoTone,
    /// Each pixel one of the two colours at random.
    Speckle,
}

impl Texture {
    /// All fills, by label.
    pub const ALL: [Self; 10] = [
        Self::Solid,
        Self::Horizontal,
        Self::Vertical,
        Self::Diagonal,
        Self::Checker,
        Self::Dots,
        Self::Outline,
        Self::Gradient,
        Self::TwoTone,
        Self::Speckle,
    ];

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Horizontal => "horizontal",
            Self::Vertical => "vertical",
            Self::Diagonal => "diagonal",
            Self::Checker => "checker",
            Self::Dots => "dots",
            Self::Outline => "outline",
            Self::Gradient => "gradient",
            Self::TwoTone => "two-tone",
            Self::Speckle => "speckle",
        }
    }
}

/// A fill with its random scale, phase and direction.
pub(super) struct Fill {
    texture: Texture,
    period: f32,
    phase: [f32; 2],
    direction: [f32; 2],
    speckle: u64,
}

impl Fill {
    /// Draws a fill's free parameters; `period` is in pixels.
    pub(super) fn draw(texture: Texture, period: [f32; 2], draw: &mut Draw) -> Self {
        Self {
            texture,
            period: draw.range(period),
            phase: [draw.unit(), draw.unit()],
            direction: draw.direction(),
            speckle: draw.below(usize::MAX >> 32) as u64,
        }
    }

    /// Share of the second colour at an offset from the shape's centre, in pixels; `radius` is the shape's, in pixels.
    pub(super) fn mix(&self, [x, y]: [f32; 2], radius: f32) -> f32 {
        let [along, across] = [x * self.direction[0] + y * self.direction[1], self.direction[0]];
        match self.texture {
            Texture::Solid | Texture::Outline => 0.0,
            Texture::Horizontal => self.stripe(y, 0),
            Texture::Vertical => self.stripe(x, 0),
            Texture::Diagonal => {
                let slope = if across < 0.0 { x + y } else { x - y };
                self.stripe(slope * std::f32::consts::FRAC_1_SQRT_2, 0)
            }
            Texture::Checker => {
                let (a, b) = (self.stripe(x, 0), self.stripe(y, 1));
                a + b - 2.0 * a * b
            }
            Texture::Dots => {
                let (u, v) = (self.wave(x, 0), self.wave(y, 1));
                let distance = (u * u + v * v).sqrt() * self.period;
                (0.5 + 0.34 * self.period - distance).clamp(0.0, 1.0)
            }
            Texture::Gradient => (0.5 + 0.6 * along / radius).clamp(0.0, 1.0),
            Texture::TwoTone => (0.5 + along).clamp(0.0, 1.0),
            Texture::Speckle => speckle(self.speckle, x, y),
        }
    }

    /// True if only a band along the contour is painted.
    pub(super) fn is_outline(&self) -> bool {
        self.texture == Texture::Outline
    }

    /// Signed distance from the middle of the nearest period, in periods: `-0.5..0.5`.
    fn wave(&self, offset: f32, axis: usize) -> f32 {
        let position = offset / self.period + self.phase[axis];
        position - position.floor() - 0.5
    }

    /// A stripe pattern with equal widths and edges one pixel soft.
    fn stripe(&self, offset: f32, axis: usize) -> f32 {
        ((0.25 - self.wave(offset, axis).abs()) * self.period + 0.5).clamp(0.0, 1.0)
    }
}

/// One bit a pixel, by the finalizer of SplitMix64.
fn speckle(seed: u64, x: f32, y: f32) -> f32 {
    let cell = ((x.floor() as i64 + 64) as u64) << 8 | (y.floor() as i64 + 64) as u64;
    let mut bits = seed.wrapping_add(cell.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 63) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_zoo::stream;

    fn average(texture: Texture) -> f32 {
        let mut draw = Draw::new(stream(1, texture.name()));
        let mut total = 0.0;
        for _ in 0..50 {
            let fill = Fill::draw(texture, [4.0, 6.0], &mut draw);
            let area = (-24..24).flat_map(|y| (-24..24).map(move |x| [x as f32 + 0.5, y as f32 + 0.5]));
            total += area.map(|point| fill.mix(point, 12.0)).sum::<f32>() / (48.0 * 48.0);
        }
        total / 50.0
    }

    #[test]
    fn two_coloured_fills_use_both_colours_equally() {
        for texture in Texture::ALL {
            let expected = match texture {
                Texture::Solid | Texture::Outline => 0.0..0.001,
                Texture::Dots => 0.25..0.50,
                _ => 0.47..0.53,
            };
            assert!(expected.contains(&average(texture)), "{}: {}", texture.name(), average(texture));
        }
    }

    #[test]
    fn horizontal_stripes_do_not_change_along_a_row() {
        let fill = Fill::draw(Texture::Horizontal, [5.0, 5.0], &mut Draw::new(stream(3, "t")));
        assert_eq!(fill.mix([-7.0, 2.5], 9.0), fill.mix([4.0, 2.5], 9.0));
        assert!((fill.mix([0.0, 2.5], 9.0) - fill.mix([0.0, 7.5], 9.0)).abs() < 1e-5);
        assert!((fill.mix([0.0, 0.5], 9.0) + fill.mix([0.0, 3.0], 9.0) - 1.0).abs() < 1e-5);
    }
}
