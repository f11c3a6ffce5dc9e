//! `synq`: hard images whose deeper layers come near those of one image a class.

use blindfold_zoo::ops::Moments;
use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::hast::{checked_gamma, hard_sample_loss};
use super::intraq::crop::LocalCrop;
use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{ObservedNetwork, Sampling, Statistics};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::class_centres::{
    ClassCentresConfig, Groups, OF_BATCH, class_centres, layered_distance, moments_of, optimise_part,
};
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors};
use crate::optimizer::OptimizerConfig;
use crate::plateau::PlateauConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `synq`. The defaults are those for ImageNet, the source's only recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynqConfig {
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
    /// Weight of the distance to the statistics of the centres; 0 makes no centres.
    pub centre_weight: f64,
    /// Probability that a step shows the teacher boxes of the images and not the whole images; 0 leaves that out.
    pub crop_probability: f64,
    /// Least share of an image's area that a box covers.
    pub min_scale: f64,
    /// Largest ratio of a box's longer to its shorter side.
    pub max_ratio: f64,
    /// Probability that a box is mirrored.
    pub flip_probability: f64,
    /// More terms of the loss: `kind` names an image prior, `weight` is what it counts, the other keys are its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<PriorConfig>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
    /// How the image that stands for each class is made.
    pub centres: ClassCentresConfig,
}

impl Default for SynqConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 256,
            iterations: 1000,
            labels: LabelRule::Random,
            bn_weight: 0.4,
            beta: 0.1,
            gamma: 0.5,
            centre_weight: 0.02,
            crop_probability: 0.5,
            min_scale: 0.4,
            max_ratio: 4.0 / 3.0,
            flip_probability: 0.5,
            prior: Vec::new(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::Plateau(PlateauConfig { patience: 50, ..PlateauConfig::default() }),
            centres: ClassCentresConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: SynqConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    config.labels.with_classes()?;
    for (key, weight) in
        [("bn_weight", config.bn_weight), ("beta", config.beta), ("centre_weight", config.centre_weight)]
    {
        checked_weight(key, weight)?;
    }
    checked_gamma(config.gamma)?;
    config.centres.validate().map_err(|error| error.within("centres"))?;
    let crop = LocalCrop {
        probability: config.crop_probability,
        min_scale: config.min_scale,
        max_ratio: config.max_ratio,
        flip: config.flip_probability,
    };
    let crop = crop.checked()?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(Synq { config, priors, crop }))
}

/// Hard images whose late layers have the statistics of images that the teacher is sure of.
///
/// ```text
/// centres: one image a class, see `ClassCentresConfig`
/// c_l, u_l: mean and variance over all of them of the input of batch norm l
/// x_0 ~ N(0, 1)
/// x'_n = a random box of x_n, stretched, some mirrored, with probability `crop_probability` a step; else x_n
/// L = bn_weight (1/K) sum_l ( MSE(mu_l(x'), m_l) + MSE(var_l(x'), v_l) )
///   + beta (1/N) sum_n (1 - p_n)^gamma (-ln p_n)
///   + centre_weight 1/(K N) sum_{late l} ( MSE(mu_l(x'), c_l) + MSE(var_l(x'), u_l) )
/// x <- Adam(x, dL/dx), lr falling by ReduceLROnPlateau(L)
/// ```
/// mu_l, var_l: mean and *biased* variance over the batch of the input of batch norm `l`; m_l, v_l: its running
/// statistics; K: the number of batch norms, late ones as `centres.early_share` says; N: images of the batch; MSE:
/// mean over channels; p_n: the probability that the teacher gives to the class y_n of image n.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `L >= 0`.
/// # Source
/// Kim et al., "SynQ: Accurate Zero-shot Quantization by Synthesis-aware Fine-tuning", ICLR 2025,
/// <https://arxiv.org/abs/2603.18423>, the synthesis of its code with layered batch-norm statistics; the loss of hard
/// samples is that of `hast`.
/// # Differences from the source
/// u_l is the variance over all centres together, within and between them; the code forgets the number of images in the
/// first batch's share of it. The code begins the late layers one batch norm before the middle.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Synq {
    config: SynqConfig,
    priors: Priors,
    crop: LocalCrop,
}

impl ImageSource for Synq {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, teacher: &Network) -> u64 {
        let config = &self.config;
        let centres = if config.centre_weight == 0.0 { 0 } else { config.centres.passes(teacher.classes()) };
        image_passes(config.count, config.iterations)
            .saturating_add(centres)
            .saturating_add(self.priors.passes(config.count))
    }

    fn synthesize(&self, mut request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let calibrated = config.centre_weight != 0.0;
        let before = if calibrated { config.centres.total(request.teacher.classes()) } else { 0 };
        let total = before + config.count.div_ceil(config.batch) * config.iterations;
        let goal = if calibrated { Some(goal(&config.centres, &mut request, total)?) } else { None };
        let plan = Plan {
            count: config.count,
            batch: config.batch,
            iterations: config.iterations,
            optimizer: &config.optimizer,
            schedule: &config.schedule,
            labels: config.labels,
            keep_best: false,
        };
        let seed = request.seed;
        let mut recipe = Calibrated { config, crop: self.crop, goal };
        optimise_part(&mut WithPriors::new(&mut recipe, &self.priors), plan, &mut request, seed, ("", before, total))
    }
}

/// Makes the centres, and takes mean and variance over all of them: `[1, channels of all layers]`.
fn goal(config: &ClassCentresConfig, request: &mut Request<'_>, total: usize) -> Result<Moments, SynthError> {
    let centres = class_centres(config, request, total)?;
    let observed = ObservedNetwork::new(request.teacher, true)?;
    let Moments { mean, var } = moments_of(&observed, &centres, config.batch);
    let apart = Statistics { mean, var, target: observed.target().clone() };
    let Statistics { mean, var, .. } = Groups::whole(centres.len(), &apart.mean.device()).pool(&apart);
    Ok(Moments { mean, var })
}

struct Calibrated<'a> {
    config: &'a SynqConfig,
    crop: LocalCrop,
    goal: Option<Moments>,
}

impl Recipe for Calibrated<'_> {
    fn sampling(&self) -> Sampling {
        OF_BATCH
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        self.crop.apply(canvas, random)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let target = &view.statistics.target;
        let mut terms = vec![
            Term {
                name: "bn-loss",
                weight: config.bn_weight,
                value: layered_distance(view.statistics, [&target.mean, &target.var], |_| 1.0),
            },
            Term {
                name: "hard-loss",
                weight: config.beta,
                value: hard_sample_loss(view.logits.clone(), view.labels, config.gamma),
            },
        ];
        if let Some(goal) = &self.goal {
            let value = centre_loss(view.statistics, goal, &config.centres, view.labels.len());
            terms.push(Term { name: "centre-loss", weight: config.centre_weight, value });
        }
        terms
    }
}

/// `1/(K N) sum_{late l} ( MSE(mu_l, c_l) + MSE(var_l, u_l) )`: `[1]`.
fn centre_loss(statistics: &Statistics, goal: &Moments, centres: &ClassCentresConfig, images: usize) -> Tensor<1> {
    let layers = statistics.target.layers.len();
    let late = |layer| if centres.is_late(layer, layers) { 1.0 } else { 0.0 };
    layered_distance(statistics, [&goal.mean, &goal.var], late) / images.max(1) as f64
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "synq",
    summary: "hard class images whose late layers have the statistics of one sure image a class",
    source: "Kim et al., SynQ, ICLR 2025, synthesis with layered batch-norm statistics",
    defaults: defaults_of::<SynqConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
