//! `intraq`: images of a class that differ from each other.

pub(super) mod crop;

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse, stream};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use self::crop::{LocalCrop, checked_probability};
use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{ObservedNetwork, Sampling, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::geometry::uniform;
use crate::optimised::margin::{FeatureCentres, Margin, checked_bounds};
use crate::optimised::prior::probability_of;
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, look, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plateau::PlateauConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `intraq`. The defaults are those for CIFAR-10.
///
/// The source has `target` .6, `lambda_l` .02, `lambda_u` 1 for CIFAR-100 and 1, 0, 2 for ImageNet, where the margins
/// never act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntraqConfig {
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
    /// Weight of the squared distance of the class's probability to its target.
    pub target_weight: f64,
    /// Weight of the margins around the centre of the class.
    pub margin_weight: f64,
    /// Least probability that an image may be asked for.
    pub target: f64,
    /// Share of the images that are asked for a probability from `target` to 1; the others are asked for 1.
    pub soft_probability: f64,
    /// Cosine distance to the centre of its class below which an image is pushed away.
    pub lambda_l: f64,
    /// Cosine distance to the centre of its class above which an image is pulled back.
    pub lambda_u: f64,
    /// Probability that a step shows the teacher boxes of the images and not the whole images.
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

impl Default for IntraqConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 256,
            iterations: 1000,
            labels: LabelRule::Random,
            bn_weight: 1.0,
            target_weight: 1.0,
            margin_weight: 1.0,
            target: 0.95,
            soft_probability: 0.5,
            lambda_l: 0.05,
            lambda_u: 0.8,
            crop_probability: 0.5,
            min_scale: 0.5,
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
    let mut config: IntraqConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    config.labels.with_classes()?;
    for (key, weight) in [
        ("bn_weight", config.bn_weight),
        ("target_weight", config.target_weight),
        ("margin_weight", config.margin_weight),
    ] {
        checked_weight(key, weight)?;
    }
    for (key, value) in [("target", config.target), ("soft_probability", config.soft_probability)] {
        checked_probability(key, value)?;
    }
    checked_bounds(config.lambda_l, config.lambda_u)?;
    let crop = LocalCrop {
        probability: config.crop_probability,
        min_scale: config.min_scale,
        max_ratio: config.max_ratio,
        flip: config.flip_probability,
    };
    let crop = crop.checked()?;
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(Intraq { config, loss, priors, crop }))
}

/// Images that differ within their class: parts of them are shown, sureness varies, and features keep their distance.
///
/// ```text
/// x_0 ~ N(0, 1)
/// x'_n = a random box of x_n, stretched, some mirrored, with probability `crop_probability` a step; else x_n
/// L = bn_weight D(x') + target_weight (1/N) sum_n (p_n - t_n)^2
///   + margin_weight mean_n ( max(0, lambda_l - d_n) + max(0, d_n - lambda_u) )
/// d_n = 1 - cos(f(x'_n), c(y_n))
/// x <- Adam(x, dL/dx), lr falling by ReduceLROnPlateau(L)
/// ```
/// D: the distance of `loss`, by default `mean-var-mse`; p_n: the probability that the teacher gives to the class
/// y_n; t_n, drawn once a batch: uniform in `[target, 1]` for a share `soft_probability` of the images, else 1; f:
/// the input of the last linear layer; c(y): its mean over the finished images of class y of the batches before. The
/// mean of the hinges is over the images whose class has such images: in the first batch there are none.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `L >= 0`; `(p - t)^2 <= 1`, and a hinge is at most 2.
/// # Source
/// Zhong et al., "IntraQ: Learning Synthetic Images with Intra-Class Heterogeneity for Zero-Shot Network
/// Quantization", CVPR 2022, <https://arxiv.org/abs/2111.09136>: local object reinforcement, soft inception loss and
/// marginal distance constraint; the constants of its CIFAR-10 recipe, from the authors' code.
/// # Differences from the source
/// The source keeps the features of four groups of batches on disk; here all batches are of one synthesis.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Intraq {
    config: IntraqConfig,
    loss: Box<dyn StatisticsLoss>,
    priors: Priors,
    crop: LocalCrop,
}

impl ImageSource for Intraq {
    fn count(&self) -> usize {
        self.config.count
    }

    /// Each finished image is looked at once more, for the centre of its class.
    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations)
            .saturating_add(self.config.count as u64)
            .saturating_add(self.priors.passes(self.config.count))
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
        let mut recipe = Heterogeneous {
            config,
            loss: self.loss.as_ref(),
            crop: self.crop,
            seed: request.seed,
            centres: FeatureCentres::default(),
            targets: Vec::new(),
            margin: None,
        };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Heterogeneous<'a> {
    config: &'a IntraqConfig,
    loss: &'a dyn StatisticsLoss,
    crop: LocalCrop,
    seed: u64,
    /// Of the batches that are finished.
    centres: FeatureCentres,
    /// Of the batch at hand: the probability that each image is asked for.
    targets: Vec<f32>,
    /// Of the batch at hand, where one of its classes has been seen.
    margin: Option<Margin>,
}

impl Recipe for Heterogeneous<'_> {
    fn sampling(&self) -> Sampling {
        self.loss.sampling()
    }

    fn prepare(&mut self, observed: &ObservedNetwork, batch: usize, labels: &[u32]) -> Result<(), SynthError> {
        let mut random = stream(self.seed, &format!("intraq targets/{batch}"));
        self.targets = soft_targets(labels.len(), self.config.target, self.config.soft_probability, &mut random);
        self.margin = self.centres.margin(labels, &observed.network().device().without_autodiff());
        Ok(())
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        self.crop.apply(canvas, random)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let [batch, ..] = view.shown.dims();
        let mut terms = vec![
            Term { name: "bn-loss", weight: config.bn_weight, value: self.loss.evaluate(view.statistics, batch) },
            Term {
                name: "target-loss",
                weight: config.target_weight,
                value: soft_inception(view.logits.clone(), view.labels, &self.targets),
            },
        ];
        if let Some(margin) = &self.margin {
            let value = margin.loss(view.features.clone(), [config.lambda_l, config.lambda_u]);
            terms.push(Term { name: "margin-loss", weight: config.margin_weight, value });
        }
        terms
    }

    fn finish_batch(
        &mut self,
        images: &Tensor<4>,
        labels: &[u32],
        observed: &ObservedNetwork,
    ) -> Result<(), SynthError> {
        self.centres.add(look(observed, images.clone(), self.loss.sampling()).features, labels);
        Ok(())
    }
}

/// The probability that each of so many images is asked for: from `target` to 1 with probability `soft`, else 1.
fn soft_targets(count: usize, target: f64, soft: f64, random: &mut Stream) -> Vec<f32> {
    (0..count).map(|_| if random.random_bool(soft) { uniform([target, 1.0], random) as f32 } else { 1.0 }).collect()
}

/// `(1/N) sum_n (p_n - t_n)^2`: `[1]`.
fn soft_inception(logits: Tensor<2>, labels: &[u32], targets: &[f32]) -> Tensor<1> {
    let data = TensorData::new(targets.to_vec(), [targets.len()]);
    let targets = Tensor::<1>::from_data(data, &logits.device().without_autodiff());
    (probability_of(logits, labels) - targets).square().mean()
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "intraq",
    summary: "class images that differ within their class: local crops, soft targets, margins around class centres",
    source: "Zhong et al., IntraQ, CVPR 2022, its three losses",
    defaults: defaults_of::<IntraqConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
