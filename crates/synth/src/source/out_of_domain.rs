//! `out-of-domain`: images of another data set, the control that shows what any pictures would give.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::real::fitting;
use super::{ImageSource, Request, positive};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};

/// Settings of `out-of-domain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutOfDomainConfig {
    /// Number of images.
    pub count: usize,
    /// The data set that they are taken from, another than the teacher's.
    pub data: DataChoice,
}

/// Which data set, with its own keys beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataChoice {
    /// The data set's name.
    pub name: String,
    /// The data set's own keys.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl Default for OutOfDomainConfig {
    fn default() -> Self {
        Self { count: 64, data: DataChoice { name: "shapes10".to_owned(), options: toml::Table::new() } }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: OutOfDomainConfig = parse(table)?;
    positive("count", config.count)?;
    Ok(Box::new(OutOfDomain(config)))
}

/// Images of a data set that the teacher was not trained on, chosen by the seed without repetition, normalised as the
/// teacher wants. Their classes are not the teacher's, so they have no labels.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input; the data set's must have that shape.
/// # Range
/// Valid pixels.
/// # Source
/// None: what any pictures give, beside `real` and `noise`.
/// # Differences from the source
/// None: it has no source.
/// # Errors
/// [`SynthError::NoRealImages`], [`SynthError::Shape`], [`SynthError::TooFewRealImages`].
struct OutOfDomain(OutOfDomainConfig);

impl ImageSource for OutOfDomain {
    fn needs_real(&self) -> bool {
        true
    }

    fn data(&self) -> Option<&DataChoice> {
        Some(&self.0.data)
    }

    fn count(&self) -> usize {
        self.0.count
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let real = fitting(&request, self.0.count)?;
        let mut order: Vec<usize> = (0..real.len()).collect();
        order.shuffle(&mut stream(request.seed, "out-of-domain images"));
        order.truncate(self.0.count);
        let pixels = order.into_iter().flat_map(|image| real.normalized(image, request.normalization)).collect();
        ImageSet::new(real.shape, pixels, None, Origin::Real)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "out-of-domain",
    summary: "images of another data set: the control with pictures that have nothing to do with the teacher's",
    source: "none: what any pictures give, beside `real` and `noise`",
    defaults: defaults_of::<OutOfDomainConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{fault, normalization, real_images, small_network, synthesize, synthesize_from};
    use crate::source::image_sources;

    #[test]
    fn the_choice_is_by_the_seed_without_repetition_and_without_labels() {
        let real = real_images(60, 4);
        let choose =
            |seed| synthesize_from("out-of-domain", "count = 20", &small_network(1), seed, Some(&real)).unwrap();
        let images = choose(5);
        assert_eq!((images.len(), &images.labels, images.origin), (20, &None, Origin::Real));
        let places: Vec<usize> = (0..20)
            .map(|index| {
                (0..60).find(|&other| real.normalized(other, &normalization()) == images.image(index)).unwrap()
            })
            .collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
        assert_ne!(places, sorted, "the order is shuffled");
        assert_eq!(images, choose(5));
        assert_ne!(images, choose(6));
    }

    #[test]
    fn it_names_the_data_set_that_it_wants() {
        let source = |table: &str| image_sources().unwrap().build("out-of-domain", table.parse().unwrap()).unwrap();
        let data = |table: &str| source(table).data().cloned().unwrap();
        assert_eq!(data("").name, "shapes10");
        let chosen = data("data = { name = 'image-folder', path = 'pictures' }");
        assert_eq!((chosen.name.as_str(), chosen.options), ("image-folder", toml::toml! { path = "pictures" }));
        assert!(fault("out-of-domain", "data = { path = 'pictures' }").contains("`name`"));
        assert!(fault("out-of-domain", "count = 0").starts_with("`out-of-domain.count`: 0"));
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_both_shapes() {
        let error = synthesize("out-of-domain", "", &small_network(1), 1).unwrap_err();
        assert_eq!(error, SynthError::NoRealImages);
        let mut real = real_images(80, 3);
        real.shape = [1, 24, 8];
        let error = synthesize_from("out-of-domain", "", &small_network(1), 1, Some(&real)).unwrap_err().to_string();
        assert!(error.contains("`sample`") && error.contains("[1, 24, 8]") && error.contains("[3, 8, 8]"), "{error}");
        let few = real_images(30, 3);
        let error = synthesize_from("out-of-domain", "", &small_network(1), 1, Some(&few)).unwrap_err();
        assert!(error.to_string().contains("64 images were asked for, but `sample` holds 30"), "{error}");
    }
}
