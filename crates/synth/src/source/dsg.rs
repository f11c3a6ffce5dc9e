//! `dsg`: statistics with slack, and each image with a layer of its own.

use blindfold_zoo::{ConfigError, Entry, Network, defaults_of, parse, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_plan, checked_weight, image_passes, positive};
use crate::bn::{ObservedNetwork, Sampling, Statistics, checked_epsilon};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `dsg`. Optimizer, schedule and iterations are those of ZeroQ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DsgConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised together.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the term of the images themselves, which has no slack; 0 leaves it out.
    pub input_weight: f64,
    /// Share of the noise images' deviations that lie within the slack.
    pub percentile: f64,
    /// Number of noise images that the slack is measured with.
    pub noise_images: usize,
    /// What the term of each image's own layer counts on top of all layers; 0 leaves the enhancement out.
    pub enhancement: f64,
    /// Added to both variances before the root.
    pub epsilon: f64,
    /// Give the images at which a batch had its lowest loss.
    pub keep_best: bool,
    /// More terms of the loss: `kind` names an image prior, `weight` is what it counts, the other keys are its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<PriorConfig>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
}

impl Default for DsgConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 64,
            iterations: 500,
            bn_weight: 1.0,
            input_weight: 1.0,
            percentile: 0.9,
            noise_images: 1024,
            enhancement: 1.0,
            epsilon: 1e-6,
            keep_best: false,
            prior: Vec::new(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: DsgConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    positive("noise_images", config.noise_images)?;
    for (key, weight) in
        [("bn_weight", config.bn_weight), ("input_weight", config.input_weight), ("enhancement", config.enhancement)]
    {
        checked_weight(key, weight)?;
    }
    if !(0.0..=1.0).contains(&config.percentile) {
        return Err(ConfigError::invalid("percentile", config.percentile, "write a number from 0 to 1"));
    }
    checked_epsilon(config.epsilon)?;
    let priors = Priors::build(&config.prior, LabelRule::None, &plugins.priors)?;
    Ok(Box::new(Dsg { config, priors }))
}

/// Images whose statistics come near those of the teacher's batch norms, but no nearer than noise does.
///
/// ```text
/// l_j(x) = sum_c ( max(0, |mu_c(x) - m_c| - d_j)^2 + max(0, |sigma_c(x) - s_c| - g_j)^2 )      channels c of layer j
/// L = bn_weight (1/N) sum_n ( sum_j l_j(x_n) + enhancement * l_{n mod K}(x_n) ) + input_weight (1/N) sum_n D_0(x_n)
/// ```
/// mu, sigma: mean and deviation over the positions of one image of the input of batch norm j, `sigma = sqrt(var + e)`
/// with the *unbiased* variance; m, s: its running statistics; K: the number of batch norms, n counted over all
/// batches. d_j, g_j: the slack of layer j, the `percentile` of `|mu - m|` and of `|sigma - s|` over its channels and
/// over `noise_images` images drawn from N(0, 1). D_0: ZeroQ's term of the images themselves, mean 0 and deviation 1.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
/// # Range
/// `L >= 0`; the batch norms' term is 0 as soon as every layer of every image is within its slack.
/// # Source
/// Zhang et al., "Diversifying Sample Generation for Accurate Data-Free Quantization", CVPR 2021: slack distribution
/// alignment and layer-wise sample enhancement, <https://arxiv.org/abs/2103.01049> (recalled, not read).
/// # Differences from the source
/// The source makes as many images as the network has batch norms; here image n enhances layer n mod K, for any number
/// of images. Images start from N(0, 1). The correlation inhibition of the journal version is not made.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Dsg {
    config: DsgConfig,
    priors: Priors,
}

impl ImageSource for Dsg {
    fn count(&self) -> usize {
        self.config.count
    }

    /// The noise images for the slack count too.
    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations)
            .saturating_add(self.config.noise_images as u64)
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
            labels: LabelRule::None,
            keep_best: config.keep_best,
        };
        let mut recipe = Diverse { config, seed: request.seed, slack: None };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

/// Each image for itself, as in ZeroQ.
const SAMPLING: Sampling = Sampling { per_image: true, unbiased: true };

struct Diverse<'a> {
    config: &'a DsgConfig,
    seed: u64,
    slack: Option<Slack>,
}

/// How far mean and deviation of each layer may be off.
#[derive(Debug, Clone, PartialEq)]
struct Slack {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Recipe for Diverse<'_> {
    fn sampling(&self) -> Sampling {
        SAMPLING
    }

    fn prepare(&mut self, observed: &ObservedNetwork, _batch: usize, _labels: &[u32]) -> Result<(), SynthError> {
        if self.slack.is_none() {
            self.slack = Some(slack(observed, self.config, self.seed));
        }
        Ok(())
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let [batch, ..] = view.shown.dims();
        let first = view.batch * config.batch;
        let weights = enhanced(view.statistics, first..first + batch, config.enhancement);
        let value = excess(view.statistics, self.slack.as_ref(), weights, config.epsilon);
        let mut terms = vec![Term { name: "bn-loss", weight: config.bn_weight, value }];
        if config.input_weight != 0.0 {
            let [mean, std] = gaps(&Statistics::of_images(view.shown.clone(), SAMPLING), config.epsilon);
            let value = (mean.square() + std.square()).sum() / batch as f64;
            terms.push(Term { name: "input-loss", weight: config.input_weight, value });
        }
        terms
    }
}

/// The weighted sum of the squares by which the statistics miss their slack, averaged over images: `[1]`.
fn excess(statistics: &Statistics, slack: Option<&Slack>, weights: Tensor<2>, epsilon: f64) -> Tensor<1> {
    let [images, _] = statistics.mean.dims();
    let [mut mean, mut std] = gaps(statistics, epsilon);
    if let Some(slack) = slack {
        let by_layer = |values: &[f32]| statistics.by_layer(|layer, _| f64::from(values[layer]));
        mean = (mean - by_layer(&slack.mean)).clamp_min(0.0);
        std = (std - by_layer(&slack.std)).clamp_min(0.0);
    }
    ((mean.square() + std.square()) * weights).sum() / images as f64
}

/// `|mu - m|` and `|sigma - s|`, each `[image, channels of all layers]`.
fn gaps(statistics: &Statistics, epsilon: f64) -> [Tensor<2>; 2] {
    let mean = statistics.mean.clone() - statistics.target.mean.clone();
    let std = (statistics.var.clone() + epsilon).sqrt() - statistics.target.std(epsilon);
    [mean.abs(), std.abs()]
}

/// 1 for each channel of each of these images, more for those of the image's own layer: `[image, channels of all
/// layers]`.
fn enhanced(statistics: &Statistics, images: std::ops::Range<usize>, enhancement: f64) -> Tensor<2> {
    let layers = &statistics.target.layers;
    let count = images.len();
    let values: Vec<f32> = images
        .flat_map(|image| {
            let own = image % layers.len();
            layers.iter().enumerate().flat_map(move |(layer, channels)| {
                let weight = if layer == own { 1.0 + enhancement } else { 1.0 };
                std::iter::repeat_n(weight as f32, channels.len())
            })
        })
        .collect();
    let channels = values.len() / count.max(1);
    Tensor::from_data(TensorData::new(values, [count, channels]), &statistics.target.mean.device())
}

/// The slack that Gaussian noise needs, `config.batch` images at a time.
fn slack(observed: &ObservedNetwork, config: &DsgConfig, seed: u64) -> Slack {
    let [channels, height, width] = observed.network().input_shape();
    let device: Device = observed.network().device().without_autodiff();
    let layers = observed.target().layers.clone();
    let mut random = stream(seed, "dsg noise");
    let mut deviations = [vec![Vec::new(); layers.len()], vec![Vec::new(); layers.len()]];
    for first in (0..config.noise_images).step_by(config.batch) {
        let count = config.batch.min(config.noise_images - first);
        let size = count * channels * height * width;
        let values: Vec<f32> = (0..size).map(|_| StandardNormal.sample(&mut random)).collect();
        let noise = Tensor::from_data(TensorData::new(values, [count, channels, height, width]), &device);
        let (_, statistics) = observed.run(noise, SAMPLING);
        for (kept, gap) in deviations.iter_mut().zip(gaps(&statistics, config.epsilon)) {
            let [_, columns] = gap.dims();
            let values: Vec<f32> = gap.into_data().iter::<f32>().collect();
            for row in values.chunks(columns) {
                for (kept, channels) in kept.iter_mut().zip(&layers) {
                    kept.extend_from_slice(&row[channels.clone()]);
                }
            }
        }
    }
    let [mean, std] =
        deviations.map(|kept| kept.into_iter().map(|values| percentile(values, config.percentile)).collect());
    Slack { mean, std }
}

/// The value that a share of the values lies below, linear between neighbours; 0 without values.
fn percentile(mut values: Vec<f32>, share: f64) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let low = (place.floor() as usize).min(last);
    let high = (low + 1).min(last);
    let (below, above) = (f64::from(values[low]), f64::from(values[high]));
    (below + (above - below) * (place - low as f64)) as f32
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "dsg",
    summary: "batch-norm statistics with the slack that noise needs, each image with one layer enhanced",
    source: "Zhang et al., Diversifying Sample Generation (DSG), CVPR 2021",
    defaults: defaults_of::<DsgConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
