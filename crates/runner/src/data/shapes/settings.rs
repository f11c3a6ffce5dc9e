//! Every constant of the two procedural sets.

/// What the images of a procedural set are made of. Lengths are in pixels, colours and noise in `0..=1`.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapesSettings {
    /// Name of the set and of its random streams.
    pub name: &'static str,
    /// Seed of all images.
    pub seed: u64,
    /// Version of the recipe: it is part of the streams' names, so that a changed recipe is another set.
    pub version: u32,
    /// Whether the fill is half of the label: 10 outlines x 10 fills, label = 10 * outline + fill.
    pub fill_is_label: bool,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Images of the subset that stands for real data in the `real` control: the first of the training images.
    pub subset: usize,
    /// The shape's nominal radius.
    pub radius: [f32; 2],
    /// How far the shape's centre may lie from the picture's.
    pub shift: f32,
    /// Longest over shortest axis, at most.
    pub stretch: f32,
    /// Distance in the colour cube between the shape's first colour and the background's mean.
    pub contrast: [f32; 2],
    /// Distance in the colour cube between the shape's two colours.
    pub fill_contrast: [f32; 2],
    /// Period of stripes, chessboards and dots.
    pub period: [f32; 2],
    /// Width of an outline.
    pub outline: [f32; 2],
    /// Probability of a fill other than solid, where the fill is not the label.
    pub textured: f32,
    /// Amplitude of the background's texture.
    pub background: [f32; 2],
    /// Blobs and lines behind the shape: at most so many.
    pub distractors: usize,
    /// Probability of a bar before the shape.
    pub occluded: f32,
    /// Half of that bar's width.
    pub occluder: [f32; 2],
    /// Share of the picture that goes through a 3x3 binomial blur.
    pub blur: [f32; 2],
    /// Standard deviation of the noise on each pixel and channel.
    pub noise: [f32; 2],
}

/// Ten outlines in any fill, under strong nuisances.
pub const SHAPES10: ShapesSettings = ShapesSettings {
    name: "shapes10",
    seed: 20_261_121,
    version: 1,
    fill_is_label: false,
    train: 20_000,
    test: 4_000,
    subset: 2_560,
    radius: [7.0, 12.0],
    shift: 4.5,
    stretch: 1.3,
    contrast: [0.3, 0.9],
    fill_contrast: [0.15, 0.5],
    period: [3.0, 6.5],
    outline: [1.6, 2.6],
    textured: 0.5,
    background: [0.0, 0.18],
    distractors: 3,
    occluded: 0.3,
    occluder: [0.8, 1.8],
    blur: [0.0, 0.9],
    noise: [0.005, 0.07],
};

/// Ten outlines x ten fills, under milder nuisances: the fill must be read too.
pub const SHAPES100: ShapesSettings = ShapesSettings {
    name: "shapes100",
    seed: 20_261_121,
    version: 1,
    fill_is_label: true,
    train: 30_000,
    test: 5_000,
    subset: 2_600,
    radius: [9.5, 13.0],
    shift: 3.0,
    stretch: 1.25,
    contrast: [0.3, 0.9],
    fill_contrast: [0.35, 0.8],
    period: [4.2, 6.4],
    outline: [1.6, 2.4],
    textured: 1.0,
    background: [0.0, 0.14],
    distractors: 3,
    occluded: 0.2,
    occluder: [0.7, 1.4],
    blur: [0.0, 0.7],
    noise: [0.005, 0.05],
};
