//! `mixmix`: data mixing, so that an image keeps its class beside a piece of another.

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{Sampling, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::geometry::{CropBox, blend, inside, uniform};
use crate::optimised::prior::{soft_cross_entropy, total_variation_l2};
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `mixmix`. The source's constants were not at hand: these are this project's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixMixConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised, and mixed, together.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Which class each image is made for.
    pub labels: LabelRule,
    /// Weight of the cross-entropy with the mixed classes.
    pub ce_weight: f64,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the lengths of the differences of neighbouring pixels.
    pub tv_l2_weight: f64,
    /// Probability that the images are mixed in an iteration.
    pub mix_probability: f64,
    /// Shortest side of the rectangle, as a share of the image's.
    pub smallest_side: f64,
    /// Longest side of the rectangle, as a share of the image's.
    pub largest_side: f64,
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

impl Default for MixMixConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 64,
            iterations: 1000,
            labels: LabelRule::Random,
            ce_weight: 1.0,
            bn_weight: 1.0,
            tv_l2_weight: 2.5e-5,
            mix_probability: 1.0,
            smallest_side: 0.25,
            largest_side: 0.75,
            keep_best: false,
            loss: loss_table("norm"),
            prior: Vec::new(),
            optimizer: OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let mut config: MixMixConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    for (key, weight) in
        [("ce_weight", config.ce_weight), ("bn_weight", config.bn_weight), ("tv_l2_weight", config.tv_l2_weight)]
    {
        checked_weight(key, weight)?;
    }
    config.labels.with_classes()?;
    if !(0.0..=1.0).contains(&config.mix_probability) {
        return Err(ConfigError::invalid("mix_probability", config.mix_probability, "write a number from 0 to 1"));
    }
    if !(config.smallest_side > 0.0 && config.smallest_side <= config.largest_side) {
        let fix = "write a number above 0 and up to `largest_side`";
        return Err(ConfigError::invalid("smallest_side", config.smallest_side, fix));
    }
    if config.largest_side > 1.0 {
        return Err(ConfigError::invalid("largest_side", config.largest_side, "write a number up to 1"));
    }
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(MixMix { config, loss, priors }))
}

/// Images of a class that the teacher still finds in them when a rectangle of each is replaced by that of another
/// image.
///
/// ```text
/// x_0 ~ N(0, 1),   x'_i = (1 - m_i) x_i + m_i x_j,   l_i = 1 - mean m_i
/// L = ce_weight CE(T(x'_i), l_i y_i + (1 - l_i) y_j) + bn_weight D(x') + tv_l2_weight sum_k |d_k|
/// x <- Adam(x, dL/dx)
/// ```
/// m_i: 1 in a rectangle whose sides are drawn from `smallest_side` to `largest_side` of the image's, anywhere, for
/// each image in every iteration; j = (i - s) mod N with one shift s from 1 to N - 1 a batch and iteration; D: the
/// distance of `loss`; d_k: differences of neighbouring pixels of x' in four directions.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space, unmixed. The labels are
/// y.
/// # Range
/// `L >= 0`; `0 <= l_i <= 1`. CE is in nats. Values are not clamped: a pixel may be one that no image has.
/// # Source
/// Li et al., "MixMix: All You Need for Data-Free Compression Are Feature and Data Mixing", ICCV 2021, data mixing,
/// <https://arxiv.org/abs/2011.09899> (recalled, not read).
/// # Differences from the source
/// Feature mixing, the sum of losses over a zoo of several teachers, is not made: a source has one teacher. The
/// rectangle is pasted from the same place of the other image. Weights, rectangle, iterations and learning rate are
/// this project's.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct MixMix {
    config: MixMixConfig,
    loss: Box<dyn StatisticsLoss>,
    priors: Priors,
}

impl ImageSource for MixMix {
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
        let mut recipe = Mixing { config, loss: self.loss.as_ref(), shift: 0, own: Vec::new() };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Mixing<'a> {
    config: &'a MixMixConfig,
    loss: &'a dyn StatisticsLoss,
    /// How far on in the batch the image stands that image i has a piece of.
    shift: usize,
    /// The share of its own pixels that each image keeps.
    own: Vec<f32>,
}

impl Recipe for Mixing<'_> {
    fn sampling(&self) -> Sampling {
        self.loss.sampling()
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        let config = self.config;
        let [batch, _, height, width] = canvas.dims();
        self.shift = 0;
        self.own = vec![1.0; batch];
        if batch < 2 || !random.random_bool(config.mix_probability) {
            return canvas;
        }
        self.shift = random.random_range(1..batch);
        let sides = [config.smallest_side, config.largest_side];
        let boxes: Vec<CropBox> = (0..batch)
            .map(|_| {
                let extent = [height, width].map(|side| (side as f64 * uniform(sides, random)).round() as usize);
                CropBox::anywhere([height, width], extent, random)
            })
            .collect();
        let area = |cut: &CropBox| (cut.height * cut.width) as f32 / (height * width) as f32;
        self.own = boxes.iter().map(|cut| 1.0 - area(cut)).collect();
        let mask = inside(&boxes, [height, width], &canvas.device());
        let others = canvas.clone().roll_dim(self.shift, 0);
        blend(canvas, others, mask)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let [batch, classes] = view.logits.dims();
        let targets = mixed(view.labels, self.shift, &self.own, classes, &view.logits.device());
        let value = soft_cross_entropy(view.logits.clone(), targets);
        let mut terms = vec![Term { name: "ce-loss", weight: config.ce_weight, value }];
        let value = self.loss.evaluate(view.statistics, batch);
        terms.push(Term { name: "bn-loss", weight: config.bn_weight, value });
        if config.tv_l2_weight != 0.0 {
            let value = total_variation_l2(view.shown.clone());
            terms.push(Term { name: "tv-l2", weight: config.tv_l2_weight, value });
        }
        terms
    }
}

/// `t_i = l_i onehot(y_i) + (1 - l_i) onehot(y_{i - shift})`: `[image, classes]`, on the plain device.
fn mixed(labels: &[u32], shift: usize, own: &[f32], classes: usize, device: &Device) -> Tensor<2> {
    let count = labels.len();
    let mut values = vec![0.0f32; count * classes];
    for (image, (row, &share)) in values.chunks_mut(classes.max(1)).zip(own).enumerate() {
        let other = (image + count - shift) % count;
        row[labels[image] as usize] += share;
        row[labels[other] as usize] += 1.0 - share;
    }
    Tensor::from_data(TensorData::new(values, [count, classes]), &device.clone().without_autodiff())
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "mixmix",
    summary: "class images that keep their class beside a rectangle of another image",
    source: "Li et al., MixMix, ICCV 2021",
    defaults: defaults_of::<MixMixConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
