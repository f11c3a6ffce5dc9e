//! Every plugin that the program knows.

use blindfold_distill::{Loss, Plugins};
use blindfold_quant::{Families, FittingStep, LearnedQuantizer, NumberFormat, Pass, Quantizer, RangeEstimator};
use blindfold_synth::{Augment, GeneratorMethod, ImagePrior, ImageSource, SourcePlugins, StatisticsLoss};
use blindfold_zoo::architecture::{self, Architecture};
use blindfold_zoo::{ConfigError, Entry, Family};

use crate::data::{self, DataSet};
use crate::record::{BUILTIN_SINKS, MetricSink};

/// All plugin families.
///
/// A program of your own adds its plugins and hands the registry to [`crate::run`].
#[derive(Debug, Clone)]
pub struct Registry {
    /// Network architectures.
    pub architectures: Family<dyn Architecture>,
    /// Data sets.
    pub data_sets: Family<dyn DataSet>,
    /// Image sources.
    pub sources: Family<dyn ImageSource>,
    /// Distances of batch-norm statistics.
    pub statistics: Family<dyn StatisticsLoss>,
    /// Terms that ask an image source for natural or varied images.
    pub priors: Family<dyn ImagePrior>,
    /// Ways to train a generator.
    pub generators: Family<dyn GeneratorMethod>,
    /// Augmentations of the images that a student is trained on.
    pub augmentations: Family<dyn Augment>,
    /// Quantizers, range estimators, number formats, passes, fitting steps, sensitivities.
    pub quant: Families,
    /// Losses of the student.
    pub losses: Family<dyn Loss>,
    /// Metric sinks.
    pub sinks: Family<dyn MetricSink>,
}

impl Registry {
    /// The plugins of this library.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when two of one family share a name.
    pub fn builtin() -> Result<Self, ConfigError> {
        Ok(Self {
            architectures: Family::new("architecture", architecture::BUILTIN)?,
            data_sets: data::family()?,
            sources: blindfold_synth::image_sources()?,
            statistics: blindfold_synth::statistics_losses()?,
            priors: blindfold_synth::image_priors()?,
            generators: blindfold_synth::generators()?,
            augmentations: blindfold_synth::augmentations()?,
            quant: Families::builtin(),
            losses: blindfold_distill::losses()?,
            sinks: Family::new("metric sink", BUILTIN_SINKS)?,
        })
    }

    /// What the training of a student draws on.
    pub fn plugins(&self) -> Plugins {
        Plugins {
            losses: self.losses.clone(),
            generators: self.generators.clone(),
            augmentations: self.augmentations.clone(),
        }
    }

    /// The image source of that name, built from its own table with the batch-norm losses, image priors and generators of
    /// this registry.
    ///
    /// # Errors
    /// As [`Family::build`]; [`ConfigError::UnknownName`] also for a batch-norm loss, a prior or a generator that the
    /// table names.
    pub fn source(&self, name: &str, table: toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
        let plugins = SourcePlugins {
            statistics: self.statistics.clone(),
            generators: self.generators.clone(),
            priors: self.priors.clone(),
        };
        plugins.source(&self.sources, name, table)
    }

    /// The registry with one loss more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_loss(mut self, entry: Entry<dyn Loss>) -> Result<Self, ConfigError> {
        self.losses = self.losses.with(entry)?;
        Ok(self)
    }

    /// The registry with one quantizer more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_quantizer(mut self, entry: Entry<dyn Quantizer>) -> Result<Self, ConfigError> {
        self.quant.quantizers = self.quant.quantizers.with(entry)?;
        Ok(self)
    }

    /// The registry with one learned quantizer more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_learned_quantizer(mut self, entry: Entry<dyn LearnedQuantizer>) -> Result<Self, ConfigError> {
        self.quant.learned = self.quant.learned.with(entry)?;
        Ok(self)
    }

    /// The registry with one range estimator more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_range(mut self, entry: Entry<dyn RangeEstimator>) -> Result<Self, ConfigError> {
        self.quant.ranges = self.quant.ranges.with(entry)?;
        Ok(self)
    }

    /// The registry with one number format more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_format(mut self, entry: Entry<dyn NumberFormat>) -> Result<Self, ConfigError> {
        self.quant.formats = self.quant.formats.with(entry)?;
        Ok(self)
    }

    /// The registry with one pass more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_pass(mut self, entry: Entry<dyn Pass>) -> Result<Self, ConfigError> {
        self.quant.passes = self.quant.passes.with(entry)?;
        Ok(self)
    }

    /// The registry with one fitting step more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_step(mut self, entry: Entry<dyn FittingStep>) -> Result<Self, ConfigError> {
        self.quant.steps = self.quant.steps.with(entry)?;
        Ok(self)
    }

    /// The registry with one image source more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_source(mut self, entry: Entry<dyn ImageSource>) -> Result<Self, ConfigError> {
        self.sources = self.sources.with(entry)?;
        Ok(self)
    }

    /// The registry with one batch-norm loss more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_statistics(mut self, entry: Entry<dyn StatisticsLoss>) -> Result<Self, ConfigError> {
        self.statistics = self.statistics.with(entry)?;
        Ok(self)
    }

    /// The registry with one image prior more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_prior(mut self, entry: Entry<dyn ImagePrior>) -> Result<Self, ConfigError> {
        self.priors = self.priors.with(entry)?;
        Ok(self)
    }

    /// The registry with one way to train a generator more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_generator(mut self, entry: Entry<dyn GeneratorMethod>) -> Result<Self, ConfigError> {
        self.generators = self.generators.with(entry)?;
        Ok(self)
    }

    /// The registry with one augmentation more.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when the name is taken.
    pub fn with_augmentation(mut self, entry: Entry<dyn Augment>) -> Result<Self, ConfigError> {
        self.augmentations = self.augmentations.with(entry)?;
        Ok(self)
    }
}
