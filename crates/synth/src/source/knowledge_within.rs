//! `knowledge-within`: class images whose batch-norm statistics are near in divergence.

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::Tensor;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_blur, check_plan, checked_weight, image_passes};
use crate::bn::{Sampling, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::geometry::{CropBox, gaussian_blur, inside};
use crate::optimised::prior::{cross_entropy, smoothness};
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `knowledge-within`. The source's constants were not at hand: these are this project's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnowledgeWithinConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised together.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Which class each image is made for.
    pub labels: LabelRule,
    /// Weight of the cross-entropy with that class.
    pub ce_weight: f64,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the distance of the images to their blurred selves.
    pub smoothness_weight: f64,
    /// Width in pixels of the blur's window, odd: of the prior and of the augmentation.
    pub blur_kernel: usize,
    /// Deviation in pixels of the blur.
    pub blur_sigma: f64,
    /// Probability that the teacher is shown a batch blurred.
    pub blur_probability: f64,
    /// Side of the square that is cut out of each image that the teacher is shown, as a share of the image's; 0 leaves
    /// it out.
    pub cutout: f64,
    /// Give the images at which a batch had its lowest loss.
    pub keep_best: bool,
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

impl Default for KnowledgeWithinConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 64,
            iterations: 1000,
            labels: LabelRule::Random,
            ce_weight: 1.0,
            bn_weight: 1.0,
            smoothness_weight: 1.0,
            blur_kernel: 3,
            blur_sigma: 1.0,
            blur_probability: 0.5,
            cutout: 0.25,
            keep_best: false,
            loss: loss_table("gaussian-kl"),
            prior: Vec::new(),
            optimizer: OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let mut config: KnowledgeWithinConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    for (key, weight) in [
        ("ce_weight", config.ce_weight),
        ("bn_weight", config.bn_weight),
        ("smoothness_weight", config.smoothness_weight),
    ] {
        checked_weight(key, weight)?;
    }
    if config.ce_weight != 0.0 {
        config.labels.with_classes()?;
    }
    check_blur(["blur_kernel", "blur_sigma"], config.blur_kernel, config.blur_sigma)?;
    if !(0.0..=1.0).contains(&config.blur_probability) {
        return Err(ConfigError::invalid("blur_probability", config.blur_probability, "write a number from 0 to 1"));
    }
    if !(0.0..1.0).contains(&config.cutout) {
        return Err(ConfigError::invalid("cutout", config.cutout, "write a number from 0 to below 1"));
    }
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(KnowledgeWithin { config, loss, priors }))
}

/// Images of a class, with the statistics that the teacher's batch norms remember, smooth, and so under blur and
/// cut-outs.
///
/// ```text
/// x_0 ~ N(0, 1),   x' = x, blurred with probability `blur_probability`, less a square of each image
/// L = ce_weight CE(T(x'), y) + bn_weight D(x') + smoothness_weight mean (x - G x)^2
/// x <- Adam(x, dL/dx)
/// ```
/// D: the distance of `loss`, by default the divergence of the statistics read as Gaussians; G: the Gaussian blur; the
/// square is drawn anew for each image in every iteration and filled with 0, the mean pixel.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `L >= 0`. CE is in nats. Values are not clamped: a pixel may be one that no image has.
/// # Source
/// Haroush et al., "The Knowledge Within: Methods for Data-Free Model Compression", CVPR 2020, the inception scheme
/// with the batch-norm statistics loss, <https://arxiv.org/abs/1912.01274> (recalled, not read).
/// # Differences from the source
/// The source also draws the statistics that a batch is to have anew for each batch; here they are always the
/// remembered ones. Weights, window, cut-out, iterations and learning rate are this project's.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct KnowledgeWithin {
    config: KnowledgeWithinConfig,
    loss: Box<dyn StatisticsLoss>,
    priors: Priors,
}

impl ImageSource for KnowledgeWithin {
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
            keep_best: config.keep_best,
        };
        let mut recipe = Inception { config, loss: self.loss.as_ref() };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Inception<'a> {
    config: &'a KnowledgeWithinConfig,
    loss: &'a dyn StatisticsLoss,
}

impl Recipe for Inception<'_> {
    fn sampling(&self) -> Sampling {
        self.loss.sampling()
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        let config = self.config;
        let [batch, _, height, width] = canvas.dims();
        let blurred = random.random_bool(config.blur_probability);
        let shown = if blurred { gaussian_blur(canvas, config.blur_kernel, config.blur_sigma) } else { canvas };
        if config.cutout == 0.0 {
            return shown;
        }
        let extent = [height, width].map(|side| (side as f64 * config.cutout).round() as usize);
        let boxes: Vec<CropBox> = (0..batch).map(|_| CropBox::anywhere([height, width], extent, random)).collect();
        let gone = inside(&boxes, [height, width], &shown.device());
        shown * (gone.neg() + 1.0)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let [batch, ..] = view.shown.dims();
        let mut terms = Vec::new();
        if config.ce_weight != 0.0 {
            let value = cross_entropy(view.logits.clone(), view.labels);
            terms.push(Term { name: "ce-loss", weight: config.ce_weight, value });
        }
        let value = self.loss.evaluate(view.statistics, batch);
        terms.push(Term { name: "bn-loss", weight: config.bn_weight, value });
        let value = smoothness(view.canvas.clone(), config.blur_kernel, config.blur_sigma);
        terms.push(Term { name: "smoothness", weight: config.smoothness_weight, value });
        terms
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "knowledge-within",
    summary: "class images by divergence of batch-norm statistics and a smoothness prior, under blur and cut-outs",
    source: "Haroush et al., The Knowledge Within, CVPR 2020",
    defaults: defaults_of::<KnowledgeWithinConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
