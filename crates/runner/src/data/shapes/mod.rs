//! `shapes10` and `shapes100`: pictures computed from a seed, so that every command runs without a network.
//!
//! Each picture has its own random stream, named `<set>/v<version>/<split>/<index>`, and its label is the index modulo
//! the number of classes; so every prefix of a split is balanced and agrees with the whole. Only operations that IEEE
//! 754 rounds exactly are used, so the bytes are the same on every platform.

mod draw;
mod geometry;
mod render;
mod scene;
mod settings;
mod texture;

pub use geometry::Shape;
pub use render::SIZE;
pub use settings::{SHAPES10, SHAPES100, ShapesSettings};
pub use texture::Texture;

use blindfold_synth::RealImages;
use blindfold_zoo::stream;
use rayon::prelude::*;

use draw::Draw;
use scene::Scene;

impl ShapesSettings {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        if self.fill_is_label { 100 } else { 10 }
    }

    /// Names of the classes, by label: `star`, or `star-dots`.
    pub fn class_names(&self) -> Vec<String> {
        let shapes = Shape::ALL.iter().map(|shape| shape.name());
        if !self.fill_is_label {
            return shapes.map(str::to_owned).collect();
        }
        shapes.flat_map(|shape| Texture::ALL.map(|fill| format!("{shape}-{}", fill.name()))).collect()
    }

    /// The first `count` pictures of a stream of pictures, such as `train`.
    pub fn generate(&self, stream_name: &str, count: usize) -> RealImages {
        let classes = self.classes();
        let mut pixels = vec![0u8; count * 3 * SIZE * SIZE];
        pixels.par_chunks_mut(3 * SIZE * SIZE).enumerate().for_each(|(index, picture)| {
            let purpose = format!("{}/v{}/{stream_name}/{index}", self.name, self.version);
            let mut draw = Draw::new(stream(self.seed, &purpose));
            let scene = Scene::draw(self, index % classes, SIZE as f32, &mut draw);
            render::render(&scene, &mut draw, picture);
        });
        let labels = (0..count).map(|index| (index % classes) as u16).collect();
        RealImages { shape: [3, SIZE, SIZE], pixels, labels, classes, name: self.name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const AREA: usize = 3 * SIZE * SIZE;

    #[test]
    fn a_prefix_is_balanced_and_agrees_with_the_whole() {
        for settings in [SHAPES10, SHAPES100] {
            let (few, more) = (settings.generate("test", 200), settings.generate("test", 300));
            assert_eq!(few.pixels[..], more.pixels[..200 * AREA]);
            let classes = settings.classes();
            assert!((0..classes).all(|c| few.labels.iter().filter(|l| usize::from(**l) == c).count() == 200 / classes));
            assert_ne!(settings.generate("train", 1).pixels, few.pixels[..AREA]);
            assert_eq!(settings.class_names().len(), classes);
            assert!([settings.train, settings.test, settings.subset].iter().all(|count| count.is_multiple_of(classes)));
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        // Other bytes mean another data set: then raise the settings' `version`, and train the teachers anew.
        for (settings, expected) in [(SHAPES10, "e77eacde9bc1e9ef"), (SHAPES100, "93a3c927c3b63cac")] {
            let digest = Sha256::digest(&settings.generate("test", 500).pixels);
            let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{}", settings.name);
        }
    }

    #[test]
    fn colour_and_brightness_do_not_give_the_class_away() {
        let images = SHAPES10.generate("train", 4_000);
        let mut means = [[0.0f64; 3]; 10];
        for (picture, label) in images.pixels.chunks(AREA).zip(&images.labels) {
            for (channel, plane) in picture.chunks(SIZE * SIZE).enumerate() {
                let mean = plane.iter().map(|value| f64::from(*value)).sum::<f64>() / (SIZE * SIZE) as f64;
                means[usize::from(*label)][channel] += mean / 400.0;
            }
        }
        // A picture's mean scatters by some 50; over 400 pictures that leaves 2.5.
        for channel in 0..3 {
            let values: Vec<f64> = means.iter().map(|mean| mean[channel]).collect();
            let spread =
                values.iter().fold(f64::MIN, |a, b| a.max(*b)) - values.iter().fold(f64::MAX, |a, b| a.min(*b));
            assert!(spread < 15.0, "{values:?}");
        }
    }

    #[test]
    fn the_nearest_neighbour_is_no_classifier() {
        let (train, test) = (SHAPES10.generate("train", 1_000), SHAPES10.generate("test", 100));
        let right = test.pixels.chunks(AREA).zip(&test.labels).filter(|(picture, label)| {
            let distance = |other: &[u8]| -> u64 {
                picture.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
            };
            let nearest = train.pixels.chunks(AREA).enumerate().min_by_key(|(_, other)| distance(other));
            nearest.is_some_and(|(index, _)| train.labels[index] == **label)
        });
        assert!(right.count() < 30);
    }

    #[test]
    fn clean_pictures_of_two_classes_differ_where_the_shapes_do() {
        let clean = ShapesSettings {
            radius: [10.0, 10.0],
            shift: 0.0,
            stretch: 1.0,
            textured: 0.0,
            background: [0.0, 0.0],
            distractors: 0,
            occluded: 0.0,
            blur: [0.0, 0.0],
            noise: [0.0, 0.0],
            ..SHAPES10
        };
        let images = clean.generate("test", 10);
        // The corner is background and the centre is the shape; the painted area is that of the outline.
        for (picture, shape) in images.pixels.chunks(AREA).zip(Shape::ALL) {
            let at = |index: usize| [0, 1, 2].map(|channel| picture[channel * SIZE * SIZE + index]);
            let painted = (0..SIZE * SIZE).filter(|index| at(*index) != at(0)).count() as f32 / 100.0;
            let inside = (0..300 * 300)
                .filter(|i| shape.distance([(i % 300) as f32 / 100.0 - 1.5, (i / 300) as f32 / 100.0 - 1.5]) < 0.0)
                .count() as f32
                * 1e-4;
            assert!(painted > inside && painted < inside + 0.75, "{}: {painted} {inside}", shape.name());
        }
    }
}
