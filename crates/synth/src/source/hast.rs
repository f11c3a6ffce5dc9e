//! `hast`: images of a class that the teacher finds hard.

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::intraq::crop::LocalCrop;
use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{Sampling, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::prior::log_probability_of;
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plateau::PlateauConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `hast`. The defaults are those for CIFAR-10 and CIFAR-100.
///
/// The source has `beta` .1, `gamma` .5 and `crop_probability` .5 for ImageNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HastConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised together.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Which class each image is made for.
    pub labels: LabelRule,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the cross-entropy that counts hard images more.
    pub beta: f64,
    /// The power of an image's difficulty that its cross-entropy is multiplied by; 0 is the plain cross-entropy.
    pub gamma: f64,
    /// Probability that a step shows the teacher boxes of the images and not the whole images; 0 leaves that out.
    pub crop_probability: f64,
    /// Least share of an image's area that a box covers.
    pub min_scale: f64,
    /// Largest ratio of a box's longer to its shorter side.
    pub max_ratio: f64,
    /// Probability that a box is mirrored.
    pub flip_probability: f64,
    /// The distance: `kind` names a batch-norm loss, the other keys are its own.
    pub loss: toml::Table,
    /// More terms of the loss: `kind` names an image prior, `weight` is what it counts, the other keys are its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<PriorConfig>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
}

impl Default for HastConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 256,
            iterations: 1000,
            labels: LabelRule::Random,
            bn_weight: 1.0,
            beta: 10.0,
            gamma: 2.0,
            crop_probability: 0.0,
            min_scale: 0.4,
            max_ratio: 4.0 / 3.0,
            flip_probability: 0.5,
            loss: loss_table("mean-var-mse"),
            prior: Vec::new(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::Plateau(PlateauConfig { patience: 50, ..PlateauConfig::default() }),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let mut config: HastConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    config.labels.with_classes()?;
    for (key, weight) in [("bn_weight", config.bn_weight), ("beta", config.beta)] {
        checked_weight(key, weight)?;
    }
    checked_gamma(config.gamma)?;
    let crop = LocalCrop {
        probability: config.crop_probability,
        min_scale: config.min_scale,
        max_ratio: config.max_ratio,
        flip: config.flip_probability,
    };
    let crop = crop.checked()?;
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(Hast { config, loss, priors, crop }))
}

/// The power of a difficulty as TOML gives it.
pub(super) fn checked_gamma(gamma: f64) -> Result<f64, ConfigError> {
    if gamma >= 0.0 && gamma.is_finite() {
        return Ok(gamma);
    }
    Err(ConfigError::invalid("gamma", gamma, "write 0 or a positive number"))
}

/// Images with the teacher's statistics, pushed to their class the more, the less the teacher is sure of it.
///
/// ```text
/// x_0 ~ N(0, 1)
/// x'_n = a random box of x_n, stretched, some mirrored, with probability `crop_probability` a step; else x_n
/// L = bn_weight D(x') + beta (1/N) sum_n (1 - p_n)^gamma (-ln p_n)
/// x <- Adam(x, dL/dx), lr falling by ReduceLROnPlateau(L)
/// ```
/// D: the distance of `loss`, by default `mean-var-mse`; p_n: the probability that the teacher gives to the class y_n
/// of image n; its difficulty `1 - p_n` is differentiated as well.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `L >= 0`. The second term is in nats, and 0 iff the teacher is sure of every class.
/// # Source
/// Li et al., "Hard Sample Matters a Lot in Zero-Shot Quantization", CVPR 2023, <https://arxiv.org/abs/2303.13826>:
/// hard sample enhanced inception loss; the constants of its CIFAR recipe, from the authors' code.
/// # Differences from the source
/// None.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Hast {
    config: HastConfig,
    loss: Box<dyn StatisticsLoss>,
    priors: Priors,
    crop: LocalCrop,
}

impl ImageSource for Hast {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations).saturating_add(self.priors.passes(self.config.count))
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let plan = Plan {
            count: config.count,
            batch: config.batch,
            iterations: config.iterations,
            optimizer: &config.optimizer,
            schedule: &config.schedule,
            labels: config.labels,
            keep_best: false,
        };
        let mut recipe = Hard { config, loss: self.loss.as_ref(), crop: self.crop };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Hard<'a> {
    config: &'a HastConfig,
    loss: &'a dyn StatisticsLoss,
    crop: LocalCrop,
}

impl Recipe for Hard<'_> {
    fn sampling(&self) -> Sampling {
        self.loss.sampling()
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        self.crop.apply(canvas, random)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let [batch, ..] = view.shown.dims();
        vec![
            Term { name: "bn-loss", weight: self.config.bn_weight, value: self.loss.evaluate(view.statistics, batch) },
            Term {
                name: "hard-loss",
                weight: self.config.beta,
                value: hard_sample_loss(view.logits.clone(), view.labels, self.config.gamma),
            },
        ]
    }
}

/// Difficulties below this count as it: the slope of a power below 1 has no bound at 0.
const EASIEST: f64 = 1e-7;

/// `(1/N) sum_n (1 - p_n)^gamma (-ln p_n)`: `[1]`.
pub(super) fn hard_sample_loss(logits: Tensor<2>, labels: &[u32], gamma: f64) -> Tensor<1> {
    let log = log_probability_of(logits, labels);
    let difficulty = (log.clone().exp().neg() + 1.0).clamp_min(EASIEST);
    (difficulty.powf_scalar(gamma) * log).mean().neg()
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "hast",
    summary: "class images with the teacher's statistics, the hard ones pushed to their class the most",
    source: "Li et al., Hard Sample Matters a Lot in Zero-Shot Quantization (HAST), CVPR 2023, enhanced inception loss",
    defaults: defaults_of::<HastConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
