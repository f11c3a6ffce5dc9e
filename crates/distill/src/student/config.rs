//! The settings of a student's training.

use blindfold_synth::{AugmentationConfig, GeneratorConfig};
use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use super::inundation::Inundation;
use super::reestimation::Reestimation;
use crate::augment::Augmentation;
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::terms::LossConfig;

/// The `distill` table.
///
/// The defaults fit a CIFAR network: IntraQ's optimizer, learning rate and batch, and the divergence alone as loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// Epochs of training, the range warm-up not counted.
    pub epochs: usize,
    /// Steps an epoch; where absent, one pass through the images (their number divided by `batch`, rounded down). With a
    /// `generator` there is no such pass, and the key must be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations_per_epoch: Option<usize>,
    /// Images a step.
    pub batch: usize,
    /// The learning rate that the schedule's factor multiplies.
    pub lr: f64,
    /// The learning rate of learned quantizers, which the same factor multiplies; absent: `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantizer_lr: Option<f64>,
    /// How often the share of changed integer weights is measured, in steps; 0 for never.
    pub log_every: usize,
    /// How often the norm of each loss's gradient is measured, in steps, from the first one on; 0 for never. A measurement
    /// costs one more pass through the student, forward and backward, for each loss.
    pub gradient_norms_every: usize,
    /// Probability with which a value passes a quantizer of activations unquantized while the student is trained, value by
    /// value (QDrop: 0.5); 0: all are quantized.
    pub activation_drop: f64,
    /// How the student's batch norms normalise while it is trained.
    pub batch_norm: BatchNorms,
    /// Share of a batch's statistics in the running ones after each step (PyTorch's `momentum`), for
    /// `batch_norm = "trained-statistics"`.
    pub batch_norm_momentum: f64,
    /// Measure the running statistics anew on the trained student after the last step, with weights and activations quantized,
    /// on images that are stored, or fresh ones of the `generator`.
    pub reestimate_batch_norms: bool,
    /// How parameters move.
    pub optimizer: OptimizerConfig,
    /// How the parameters of learned quantizers move; absent: as `optimizer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantizer_optimizer: Option<OptimizerConfig>,
    /// How the learning rate moves, over the steps after the range warm-up.
    pub schedule: Schedule,
    /// Ranges of activations collected before the training.
    pub range_warmup: RangeWarmup,
    /// How `reestimate_batch_norms` measures; absent: as the fitting step `batch-norm-reestimation` does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm_reestimation: Option<Reestimation>,
    /// A generator that is trained beside the student and makes the images of every step; absent: stored images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorConfig>,
    /// Updates of weights scaled up until enough integer weights change; absent: they stay as the optimizer makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inundation: Option<Inundation>,
    /// What happens to a stored image before it is shown to both networks.
    pub augment: Augmentation,
    /// What happens to the images of every step after that, in this order: to stored ones, and to those of the `generator`.
    /// Mixed images have the shares of their classes as soft labels, and the class with the largest share as label. The images
    /// of a range warm-up's own generator are shown as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub augmentation: Vec<AugmentationConfig>,
    /// The losses, each with its weight and its own options.
    pub loss: Vec<LossConfig>,
}

/// How the student's batch norms normalise while it is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorms {
    /// By the teacher's running statistics, which stay (the GDFQ family, in its code).
    #[default]
    Fixed,
    /// By the statistics of the batch, towards which the running ones move (ZAQ).
    TrainedStatistics,
}

/// The `range_warmup` table: steps in which the ranges of activations are collected while the student stays as it is.
///
/// The estimator is the one that the `[quant]` table names for activations (GDFQ: `moving-average`). After these steps the
/// ranges stay; without such steps the ranges of the calibration stay.
///
/// The images are those of the training: stored ones, or those of the `generator` of the `[distill]` table, which makes its
/// own steps meanwhile (GDFQ: the first four epochs). A `generator` written here serves these steps alone, and is dropped
/// after them (IntraQ, HAST, SynQ: stored images for the training, a GDFQ generator for the ranges, in
/// their code though not in their papers).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangeWarmup {
    /// Steps, of `batch` images each.
    pub iterations: usize,
    /// How many of them, the last ones, show their images to the range estimator: early ones of a generator are noise, and
    /// some estimators are slow. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<usize>,
    /// Images a step of this table's own generator; absent: the training's `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// A generator for these steps alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorConfig>,
}

impl RangeWarmup {
    /// Whether the estimator sees the images of that step.
    pub(crate) fn observes(&self, step: usize) -> bool {
        step + self.observed.unwrap_or(self.iterations) >= self.iterations
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.batch == Some(0) {
            return Err(ConfigError::invalid("batch", 0, "write at least 1, or leave the key out"));
        }
        if self.batch.is_some() && self.generator.is_none() {
            let fix = "it is for a generator of this table's own: write `generator`, or leave the key out";
            return Err(ConfigError::invalid("batch", "a value", fix));
        }
        if let Some(observed) = self.observed.filter(|&observed| observed == 0 || observed > self.iterations) {
            let fix = format!("write 1 to {}, the number of steps, or leave the key out", self.iterations);
            return Err(ConfigError::invalid("observed", observed, fix));
        }
        match self.generator.is_some() && self.iterations == 0 {
            true => Err(ConfigError::invalid("iterations", 0, "a generator needs steps: write for example 800")),
            false => Ok(()),
        }
    }
}

impl Default for StudentConfig {
    fn default() -> Self {
        Self {
            epochs: 150,
            iterations_per_epoch: None,
            batch: 256,
            lr: 1e-4,
            quantizer_lr: None,
            log_every: 1,
            gradient_norms_every: 50,
            activation_drop: 0.0,
            batch_norm: BatchNorms::default(),
            batch_norm_momentum: 0.1,
            reestimate_batch_norms: false,
            optimizer: OptimizerConfig::default(),
            quantizer_optimizer: None,
            schedule: Schedule::default(),
            range_warmup: RangeWarmup::default(),
            batch_norm_reestimation: None,
            generator: None,
            inundation: None,
            augment: Augmentation::default(),
            augmentation: Vec::new(),
            loss: vec![LossConfig::of("kl")],
        }
    }
}

impl StudentConfig {
    /// Checks the values against a set of `count` images of `shape`; plugins are checked where they are built.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key.
    pub fn validate(&self, count: usize, shape: [usize; 3]) -> Result<(), ConfigError> {
        if self.epochs == 0 {
            return Err(ConfigError::invalid("epochs", 0, "write at least 1, or leave out the training"));
        }
        match self.iterations_per_epoch {
            Some(0) => {
                let fix = "write at least 1, or leave the key out for one pass";
                return Err(ConfigError::invalid("iterations_per_epoch", 0, fix));
            }
            None if self.generator.is_some() => {
                let fix = "a generator's images never end: write the steps of an epoch, such as 200";
                return Err(ConfigError::invalid("iterations_per_epoch", "nothing", fix));
            }
            _ => {}
        }
        if self.generator.is_none() && (self.batch == 0 || self.batch > count) {
            return Err(ConfigError::invalid("batch", self.batch, format!("write 1 to {count}, the number of images")));
        }
        if self.batch == 0 {
            return Err(ConfigError::invalid("batch", self.batch, "write at least 1"));
        }
        for (key, rate) in [("lr", Some(self.lr)), ("quantizer_lr", self.quantizer_lr)] {
            if let Some(rate) = rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
                return Err(ConfigError::invalid(key, rate, "write a number > 0"));
            }
        }
        if !(0.0..1.0).contains(&self.activation_drop) {
            return Err(ConfigError::invalid("activation_drop", self.activation_drop, "write a number >= 0 and < 1"));
        }
        if !(self.batch_norm_momentum > 0.0 && self.batch_norm_momentum <= 1.0) {
            let fix = "write a number > 0 and <= 1";
            return Err(ConfigError::invalid("batch_norm_momentum", self.batch_norm_momentum, fix));
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))?;
        if let Some(optimizer) = &self.quantizer_optimizer {
            optimizer.validate().map_err(|error| error.within("quantizer_optimizer"))?;
        }
        self.schedule.validate().map_err(|error| error.within("schedule"))?;
        self.range_warmup.validate().map_err(|error| error.within("range_warmup"))?;
        if let Some(reestimation) = &self.batch_norm_reestimation {
            if !self.reestimate_batch_norms {
                let fix = "it is for `reestimate_batch_norms = true`: write that too, or leave the table out";
                return Err(ConfigError::invalid("batch_norm_reestimation", "a table", fix));
            }
            reestimation.step().map_err(|error| error.within("batch_norm_reestimation"))?;
        }
        if let Some(inundation) = &self.inundation {
            inundation.validate().map_err(|error| error.within("inundation"))?;
        }
        if self.generator.is_some() && !self.augment.is_identity() {
            let fix = "it is for stored images: with a `generator` write `augmentation` in its place";
            return Err(ConfigError::invalid("augment", "a value", fix));
        }
        self.augment.validate(shape).map_err(|error| error.within("augment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTRAQ: &str = "
        epochs = 150
        iterations_per_epoch = 200
        batch = 256
        lr = 1e-4
        optimizer = { kind = 'sgd', momentum = 0.9, nesterov = true, weight_decay = 1e-4 }
        schedule = { kind = 'step', milestones = [20, 40, 60], factor = 0.1 }
        range_warmup = { iterations = 800 }
        augment = { crop_pad = 4, flip = true }
        [[loss]]
        kind = 'kl'
        weight = 20
        temperature = 20.0
        [[loss]]
        kind = 'cross-entropy'
        target = 'label'
    ";

    #[test]
    fn a_table_survives_a_round_trip() {
        let config: StudentConfig = toml::from_str(INTRAQ).unwrap();
        assert_eq!(config.loss[0].options, toml::toml! { temperature = 20.0 });
        assert_eq!((config.loss[0].weight, config.loss[1].weight), (20.0, 1.0));
        assert_eq!(config, toml::from_str(&toml::to_string(&config).unwrap()).unwrap());
        let default = StudentConfig::default();
        assert_eq!(default, toml::from_str(&toml::to_string(&default).unwrap()).unwrap());
    }

    const ZERO_SHOT: &str = "
        epochs = 400
        iterations_per_epoch = 200
        batch = 200
        quantizer_lr = 1e-3
        gradient_norms_every = 20
        activation_drop = 0.5
        batch_norm = 'trained-statistics'
        batch_norm_momentum = 0.2
        reestimate_batch_norms = true
        batch_norm_reestimation = { max_images = 200, blend = 0.5 }
        quantizer_optimizer = { kind = 'adam' }
        generator = { kind = 'gdfq', bns_weight = 0.2 }
        range_warmup = { iterations = 800, batch = 16, generator = { kind = 'gdfq' } }
        inundation = { threshold = 1e-4, milestones = [100], cap = 50.0 }
        augmentation = [{ kind = 'mixup', alpha = 0.4 }, { kind = 'flip' }]
    ";

    #[test]
    fn the_keys_of_zero_shot_methods_survive_a_round_trip() {
        let config: StudentConfig = toml::from_str(ZERO_SHOT).unwrap();
        assert_eq!(config, toml::from_str(&toml::to_string(&config).unwrap()).unwrap());
        assert_eq!(config, toml::Table::try_from(&config).unwrap().try_into().unwrap());
        let generator = config.generator.clone().unwrap();
        assert_eq!((generator.kind.as_str(), generator.options), ("gdfq", toml::toml! { bns_weight = 0.2 }));
        assert_eq!((config.batch_norm, config.range_warmup.batch), (BatchNorms::TrainedStatistics, Some(16)));
        let reestimation = Reestimation { max_images: 200, blend: 0.5, ..Reestimation::default() };
        assert_eq!(config.batch_norm_reestimation, Some(reestimation));
        let kinds: Vec<&str> = config.augmentation.iter().map(|augmentation| augmentation.kind.as_str()).collect();
        assert_eq!((kinds, &config.augmentation[0].options), (vec!["mixup", "flip"], &toml::toml! { alpha = 0.4 }));
        config.validate(10, [3, 8, 8]).unwrap();
    }

    /// The identity of a run is the hash of its configuration with all keys that have a value: one more such key, and no
    /// stored result is found again.
    #[test]
    fn keys_that_are_left_out_are_not_written() {
        let written = toml::Table::try_from(StudentConfig::default()).unwrap();
        let mut keys: Vec<&str> = written.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "activation_drop",
                "augment",
                "batch",
                "batch_norm",
                "batch_norm_momentum",
                "epochs",
                "gradient_norms_every",
                "log_every",
                "loss",
                "lr",
                "optimizer",
                "range_warmup",
                "reestimate_batch_norms",
                "schedule",
            ]
        );
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<StudentConfig>("learning_rate = 1").is_err());
        assert!(toml::from_str::<StudentConfig>("range_warmup = { steps = 1 }").is_err());
        assert!(toml::from_str::<StudentConfig>("augment = { mirror = true }").is_err());
        assert!(toml::from_str::<StudentConfig>("batch_norm = 'free'").is_err());
        assert!(toml::from_str::<StudentConfig>("inundation = { thresh = 1 }").is_err());
        assert!(toml::from_str::<StudentConfig>("batch_norm_reestimation = { measured = 'weights' }").is_err());
    }

    #[test]
    fn faults_name_their_key() {
        let message = |change: fn(&mut StudentConfig)| {
            let mut config = StudentConfig::default();
            change(&mut config);
            config.validate(300, [3, 8, 8]).unwrap_err().to_string()
        };
        assert!(message(|config| config.batch = 301).contains("write 1 to 300"));
        assert!(message(|config| config.iterations_per_epoch = Some(0)).contains("`iterations_per_epoch`"));
        assert!(message(|config| config.lr = f64::NAN).contains("`lr`: NaN"));
        assert!(message(|config| config.augment.crop_pad = 8).contains("`augment.crop_pad`"));
        assert!(message(|config| config.quantizer_lr = Some(0.0)).contains("`quantizer_lr`: 0"));
        assert!(message(|config| config.activation_drop = 1.0).contains("`activation_drop`: 1"));
        assert!(message(|config| config.batch_norm_momentum = 0.0).contains("`batch_norm_momentum`: 0"));
        let reestimated = |reestimation: Reestimation| {
            let batch_norm_reestimation = Some(reestimation);
            let config = StudentConfig { reestimate_batch_norms: true, batch_norm_reestimation, ..Default::default() };
            config.validate(300, [3, 8, 8]).map_err(|error| error.to_string())
        };
        let default = Reestimation::default;
        assert!(reestimated(default()).is_ok());
        let error = reestimated(Reestimation { max_images: 0, ..default() }).unwrap_err();
        assert!(error.contains("`batch_norm_reestimation.max_images`: 0"), "{error}");
        let error = reestimated(Reestimation { batch: 0, ..default() }).unwrap_err();
        assert!(error.contains("`batch_norm_reestimation.batch`: 0"), "{error}");
        let error = reestimated(Reestimation { blend: 1.5, ..default() }).unwrap_err();
        assert!(error.contains("`batch_norm_reestimation.blend`: 1.5"), "{error}");
        let error = message(|config| config.batch_norm_reestimation = Some(Reestimation::default()));
        assert!(error.contains("`batch_norm_reestimation`: a table") && error.contains("= true"), "{error}");
        assert!(message(|config| config.range_warmup.batch = Some(16)).contains("`range_warmup.batch`"));
        assert!(message(|config| config.range_warmup.observed = Some(1)).contains("`range_warmup.observed`"));
        let generator = || toml::from_str::<GeneratorConfig>("kind = 'gdfq'").ok();
        let mut config = StudentConfig { generator: generator(), ..StudentConfig::default() };
        let error = config.validate(300, [3, 8, 8]).unwrap_err().to_string();
        assert!(error.contains("`iterations_per_epoch`: nothing"), "{error}");
        (config.iterations_per_epoch, config.batch) = (Some(200), 0);
        assert!(config.validate(300, [3, 8, 8]).unwrap_err().to_string().contains("`batch`: 0"));
        (config.batch, config.augment.flip) = (400, true);
        assert!(config.validate(300, [3, 8, 8]).unwrap_err().to_string().contains("`augment`"));
        let range_warmup = RangeWarmup { generator: generator(), ..RangeWarmup::default() };
        let config = StudentConfig { range_warmup, ..StudentConfig::default() };
        let error = config.validate(300, [3, 8, 8]).unwrap_err().to_string();
        assert!(error.contains("`range_warmup.iterations`: 0"), "{error}");
        StudentConfig::default().validate(300, [3, 8, 8]).unwrap();
    }
}
