//! `generator`: images of a generator that was trained alone.

use blindfold_zoo::{ConfigError, Entry, Family, Network, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, image_passes, positive};
use crate::error::SynthError;
use crate::generator::{GeneratorConfig, GeneratorMethod, GeneratorTrainer};
use crate::images::{ImageSet, Origin};
use crate::plugins::SourcePlugins;
use crate::progress::Step;

/// Settings of `generator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorSourceConfig {
    /// Number of images.
    pub count: usize,
    /// How many the generator draws together, while it is trained and after; at least 2.
    pub batch: usize,
    /// Steps of the generator before it gives the images; the default is ours.
    pub iterations: usize,
    /// The way to train it: `kind` names a member of the family `generator` without a student, the other keys are its
    /// own.
    pub method: GeneratorConfig,
}

impl Default for GeneratorSourceConfig {
    fn default() -> Self {
        let method = GeneratorConfig { kind: "gdfq".to_owned(), options: toml::Table::new() };
        Self { count: 64, batch: 200, iterations: 4000, method }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: GeneratorSourceConfig = parse(table)?;
    positive("count", config.count)?;
    if config.batch < 2 {
        let fix = "write at least 2: the generator's batch norms compare the images of a batch";
        return Err(ConfigError::invalid("batch", config.batch, fix));
    }
    let GeneratorConfig { kind, options } = &config.method;
    let method = plugins.generators.build(kind, options.clone()).map_err(|error| error.within("method"))?;
    if method.needs_student() {
        let fix = "a source has no student: choose a method without one, such as \"gdfq\" or \"qimera\", or write this \
                   one as the `generator` of `[distill]`, beside the student";
        return Err(ConfigError::invalid("method.kind", format!("`{kind}`, which trains against a student"), fix));
    }
    Ok(Box::new(GeneratorSource { config, generators: plugins.generators.clone() }))
}

/// Images of a generator that is trained first, without a student, and then left as it is.
///
/// ```text
/// for iterations steps:  latent codes of batch images -> G -> L_G of the method -> step of G
/// images = the next batches of G, without steps, cut to count
/// ```
/// Each batch is drawn whole, since the generator's batch norms look at all of it. The learning rate and its milestones
/// are the method's; its key `every` is not read: every batch of the training is a step.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. Labels where each image
/// has one.
/// # Range
/// That of the last layer of G, a batch norm without scale: values of about mean 0 and deviation 1.
/// # Source
/// Xu et al., GDFQ, ECCV 2020, and the sources of the other methods.
/// # Differences from the source
/// The sources train the generator beside the student and never store its images; this is for what calibrates or
/// trains on a fixed set.
/// # Errors
/// [`SynthError::Config`], [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct GeneratorSource {
    config: GeneratorSourceConfig,
    /// The family that the configuration's method is a member of.
    generators: Family<dyn GeneratorMethod>,
}

impl ImageSource for GeneratorSource {
    fn count(&self) -> usize {
        self.config.count
    }

    /// Every step takes a batch through the teacher; drawing the images afterwards takes none.
    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.batch, self.config.iterations)
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let GeneratorSourceConfig { count, batch, iterations, method } = &self.config;
        let mut trainer = GeneratorTrainer::new(method, &self.generators, request.teacher, *batch, request.seed)?;
        for iteration in 1..=*iterations {
            if request.progress.cancelled() {
                return Err(SynthError::Cancelled);
            }
            let losses = trainer.train(None)?.losses;
            let named: Vec<(String, f64)> =
                losses.into_iter().map(|(name, value)| (name.replace('-', "_"), value)).collect();
            let scalars: Vec<(&str, f64)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            request.progress.step(Step { iteration, total: *iterations, scalars: &scalars });
        }
        let shape = request.teacher.input_shape();
        let size: usize = shape.iter().product();
        let mut pixels: Vec<f32> = Vec::with_capacity(count.next_multiple_of(*batch) * size);
        let mut labels = Some(Vec::new());
        while pixels.len() < count * size {
            if request.progress.cancelled() {
                return Err(SynthError::Cancelled);
            }
            let generated = trainer.sample();
            pixels.extend(generated.images.into_data().iter::<f32>());
            labels = labels.zip(generated.labels).map(|(known, own)| [known, own].concat());
        }
        pixels.truncate(count * size);
        let labels = labels.map(|mut labels: Vec<u32>| {
            labels.truncate(*count);
            labels
        });
        ImageSet::new(shape, pixels, labels, Origin::Synthetic)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "generator",
    summary: "images of a generator trained without a student, such as gdfq's",
    source: "Xu et al., GDFQ, ECCV 2020, and the sources of the methods",
    defaults: defaults_of::<GeneratorSourceConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
