//! What all ways to train a generator set: its network, its optimizer, how often it steps.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::optimizer::OptimizerConfig;

/// How a conditional generator learns which class to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditioning {
    /// By the latent code, from an embedding of the class (GDFQ on CIFAR).
    Embedding,
    /// By batch norms whose scale and shift are the class's own (GDFQ on ImageNet).
    BatchNorm,
}

/// The table `generator` of every way to train one. The defaults are those of GDFQ on CIFAR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorSettings {
    /// Length of the latent code.
    pub latent: usize,
    /// Whether the generator is told a class for each image.
    pub conditional: bool,
    /// How it is told.
    pub conditioning: Conditioning,
    /// Channels of its widest layers; even.
    pub channels: usize,
    /// Added to the variance in the batch norms after its convolutions.
    pub norm_epsilon: f64,
    /// Slope of its leaky rectifiers for negative values.
    pub slope: f64,
    /// Its optimizer.
    pub optimizer: OptimizerConfig,
    /// After how many of its steps the learning rate falls.
    pub milestones: Vec<usize>,
    /// What the rate is multiplied by at each of them.
    pub factor: f64,
    /// It makes one step for every so many batches that it hands out.
    pub every: usize,
}

impl Default for GeneratorSettings {
    fn default() -> Self {
        Self {
            latent: 100,
            conditional: true,
            conditioning: Conditioning::Embedding,
            channels: 128,
            norm_epsilon: 0.8,
            slope: 0.2,
            optimizer: OptimizerConfig { lr: 1e-3, beta1: 0.5, beta2: 0.999, ..OptimizerConfig::default() },
            milestones: vec![20_000, 40_000, 60_000],
            factor: 0.1,
            every: 1,
        }
    }
}

impl GeneratorSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value) in [("latent", self.latent), ("every", self.every)] {
            if value == 0 {
                return Err(ConfigError::invalid(key, value, "write a number of at least 1"));
            }
        }
        if self.channels == 0 || !self.channels.is_multiple_of(2) {
            return Err(ConfigError::invalid("channels", self.channels, "write an even number, such as 128"));
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon.is_finite()) {
            return Err(ConfigError::invalid("norm_epsilon", self.norm_epsilon, "write a positive number"));
        }
        if !(self.slope >= 0.0 && self.slope < 1.0) {
            return Err(ConfigError::invalid("slope", self.slope, "write a number from 0 to below 1"));
        }
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            return Err(ConfigError::invalid("factor", self.factor, "write a number above 0, and 1 at most"));
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))
    }

    /// The learning rate of the step that follows `steps` others.
    pub(super) fn lr(&self, steps: usize) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= steps).count();
        self.optimizer.lr * self.factor.powi(passed as i32)
    }

    /// For a method that cannot do without classes.
    pub(super) fn expect_classes(&self) -> Result<(), ConfigError> {
        match self.conditional {
            true => Ok(()),
            false => Err(ConfigError::invalid("conditional", false, "leave it at true: the method asks for classes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_at_each_milestone() {
        let settings = GeneratorSettings { milestones: vec![3, 5], factor: 0.5, ..GeneratorSettings::default() };
        let rates: Vec<f64> = (0..7).map(|step| settings.lr(step) / 1e-3).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn faults_name_their_key() {
        let message = |change: fn(&mut GeneratorSettings)| {
            let mut settings = GeneratorSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert!(message(|settings| settings.latent = 0).starts_with("`latent`: 0"));
        assert!(message(|settings| settings.every = 0).starts_with("`every`: 0"));
        assert!(message(|settings| settings.channels = 7).starts_with("`channels`: 7"));
        assert!(message(|settings| settings.norm_epsilon = 0.0).starts_with("`norm_epsilon`: 0"));
        assert!(message(|settings| settings.slope = 1.0).starts_with("`slope`: 1"));
        assert!(message(|settings| settings.factor = 0.0).starts_with("`factor`: 0"));
        assert!(message(|settings| settings.optimizer.lr = 0.0).starts_with("`optimizer.lr`: 0"));
        GeneratorSettings::default().validate().unwrap();
    }
}
