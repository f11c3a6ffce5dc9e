//! `real`: images of a data set, the control that shows what data would give.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, positive};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};
use crate::real_images::RealImages;

/// Settings of `real`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealConfig {
    /// Number of images.
    pub count: usize,
    /// Take as many of each class as possible, where labels are known.
    pub balanced: bool,
}

impl Default for RealConfig {
    fn default() -> Self {
        Self { count: 64, balanced: true }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: RealConfig = parse(table)?;
    positive("count", config.count)?;
    Ok(Box::new(Real(config)))
}

/// Images of a data set, chosen by the seed without repetition, normalised as the teacher wants.
///
/// Balanced, it takes one image of each class in turn, in an order of classes that the seed decides.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input; the data set's must have that shape. The labels are
/// those of the data set, where it has some.
/// # Range
/// Valid pixels.
/// # Source
/// None: the control that data-free methods are measured against.
/// # Differences from the source
/// None: it has no source.
/// # Errors
/// [`SynthError::NoRealImages`], [`SynthError::Shape`], [`SynthError::TooFewRealImages`].
struct Real(RealConfig);

impl Real {
    fn choose(&self, real: &RealImages, seed: u64) -> Vec<usize> {
        let mut random = stream(seed, "real images");
        let mut order: Vec<usize> = (0..real.len()).collect();
        order.shuffle(&mut random);
        if self.0.balanced && !real.labels.is_empty() {
            let mut turn: Vec<usize> = (0..real.classes).collect();
            turn.shuffle(&mut random);
            let mut place = vec![0; real.classes];
            turn.iter().enumerate().for_each(|(at, &class)| place[class] = at);
            let mut taken = vec![0usize; real.classes];
            let mut rounds: Vec<(usize, usize, usize)> = order
                .iter()
                .map(|&image| {
                    let class = usize::from(real.labels[image]);
                    taken[class] += 1;
                    (taken[class], place[class], image)
                })
                .collect();
            rounds.sort_unstable();
            order = rounds.into_iter().map(|(_, _, image)| image).collect();
        }
        order.truncate(self.0.count);
        order
    }
}

impl ImageSource for Real {
    fn needs_real(&self) -> bool {
        true
    }

    fn count(&self) -> usize {
        self.0.count
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let real = fitting(&request, self.0.count)?;
        let chosen = self.choose(real, request.seed);
        let pixels = chosen.iter().flat_map(|&image| real.normalized(image, request.normalization)).collect();
        let labels =
            (!real.labels.is_empty()).then(|| chosen.iter().map(|&image| u32::from(real.labels[image])).collect());
        ImageSet::new(real.shape, pixels, labels, Origin::Real)
    }
}

/// The real images of a request, `count` of them at least and of the shape that the teacher reads.
///
/// # Errors
/// [`SynthError::NoRealImages`], [`SynthError::Shape`] and [`SynthError::TooFewRealImages`].
pub(super) fn fitting<'a>(request: &Request<'a>, count: usize) -> Result<&'a RealImages, SynthError> {
    let real = request.real.ok_or(SynthError::NoRealImages)?;
    let expected = request.teacher.input_shape();
    if real.shape != expected {
        let what = format!("the data set `{}`", real.name);
        return Err(SynthError::Shape { what, found: real.shape, expected });
    }
    let channels = request.normalization.mean.len().min(request.normalization.std.len());
    if channels < expected[0] {
        let found = [channels, expected[1], expected[2]];
        return Err(SynthError::Shape { what: "the normalisation".to_owned(), found, expected });
    }
    if real.len() < count {
        return Err(SynthError::TooFewRealImages { name: real.name.clone(), found: real.len(), asked: count });
    }
    Ok(real)
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "real",
    summary: "images of the data set: the control that uses data, marked in every table",
    source: "none: the control that data-free methods are measured against",
    defaults: defaults_of::<RealConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{normalization, real_images, small_network, synthesize, synthesize_from};

    fn choose(table: &str, real: &RealImages, seed: u64) -> Result<ImageSet, SynthError> {
        synthesize_from("real", table, &small_network(1), seed, Some(real))
    }

    #[test]
    fn without_real_images_it_refuses() {
        assert_eq!(synthesize("real", "", &small_network(1), 1), Err(SynthError::NoRealImages));
    }

    #[test]
    fn the_choice_is_balanced_without_repetition_and_by_the_seed() {
        let real = real_images(60, 4);
        let images = choose("count = 10", &real, 5).unwrap();
        let labels = images.labels.clone().unwrap();
        let mut each = [0; 4];
        labels.iter().for_each(|&label| each[label as usize] += 1);
        assert!(each.iter().all(|&count| count == 2 || count == 3), "{each:?}");
        let mut seen: Vec<Vec<u32>> =
            (0..10).map(|index| images.image(index).iter().map(|value| value.to_bits()).collect()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 10);
        assert_eq!(images, choose("count = 10", &real, 5).unwrap());
        assert_ne!(images, choose("count = 10", &real, 6).unwrap());
        assert_eq!(images.origin, Origin::Real);
    }

    #[test]
    fn labels_belong_to_their_images() {
        let real = real_images(30, 3);
        let images = choose("count = 30\nbalanced = false", &real, 5).unwrap();
        for (index, &label) in images.labels.as_ref().unwrap().iter().enumerate() {
            let found = (0..30).find(|&other| real.normalized(other, &normalization()) == images.image(index)).unwrap();
            assert_eq!(u32::from(real.labels[found]), label);
        }
    }

    #[test]
    fn too_few_images_and_wrong_shapes_are_named() {
        let error = choose("count = 31", &real_images(30, 3), 5).unwrap_err();
        assert!(error.to_string().contains("31 images were asked for, but `sample` holds 30"), "{error}");
        let mut real = real_images(30, 3);
        real.shape.swap(0, 1);
        assert!(matches!(choose("count = 3", &real, 5), Err(SynthError::Shape { .. })));
    }
}
