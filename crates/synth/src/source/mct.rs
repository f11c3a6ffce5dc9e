//! `mct`: data generation of Sony's Model Compression Toolkit.

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::Tensor;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_blur, check_plan, checked_weight, image_passes};
use crate::bn::{Sampling, Statistics, checked_epsilon};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::geometry::{gaussian_blur, mirror};
use crate::optimised::{LabelRule, PixelRange, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Over which images statistics are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageGranularity {
    /// Over each image alone.
    Image,
    /// Over the images of a batch.
    Batch,
    /// Over all images: they must be one batch.
    All,
}

/// What is asked of the teacher's logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputLoss {
    /// A wide range: the negative mean of `max - min`.
    NegativeRange,
    /// A wide range: the mean of `1 / (max - min)`.
    InverseRange,
}

/// Settings of `mct`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MctConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised together; all of them with `granularity = "all"`.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Over which images statistics are taken.
    pub granularity: ImageGranularity,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// What the first batch norm counts in it; the others count 1.
    pub first_weight: f64,
    /// Added to both variances before the root.
    pub epsilon: f64,
    /// What is asked of the teacher's logits.
    pub output: OutputLoss,
    /// Weight of that; 0 leaves it out.
    pub output_weight: f64,
    /// Pixels by which the optimised canvas is higher and wider than an image. The source has 32 for images of 224
    /// pixels.
    pub extra_pixels: usize,
    /// Width in pixels of the smoothing's window, odd (recalled).
    pub smoothing_kernel: usize,
    /// Deviation in pixels of the smoothing (recalled).
    pub smoothing_sigma: f64,
    /// In every iteration the batch is mirrored with probability 1/2.
    pub flip: bool,
    /// After every step values are clamped to those that a pixel can have.
    pub clip: bool,
    /// Give the images at which a batch had its lowest loss.
    pub keep_best: bool,
    /// More terms of the loss: `kind` names an image prior, `weight` is what it counts, the other keys are its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<PriorConfig>,
    /// The optimizer; its `lr` is in pixels of 0 to 255.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
}

impl Default for MctConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 64,
            iterations: 500,
            granularity: ImageGranularity::All,
            bn_weight: 1.0,
            first_weight: 1.0,
            epsilon: 1e-6,
            output: OutputLoss::NegativeRange,
            output_weight: 1e-5,
            extra_pixels: 4,
            smoothing_kernel: 3,
            smoothing_sigma: 1.25,
            flip: true,
            clip: true,
            keep_best: false,
            prior: Vec::new(),
            optimizer: OptimizerConfig { lr: 16.0, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: MctConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    for (key, weight) in [
        ("bn_weight", config.bn_weight),
        ("first_weight", config.first_weight),
        ("output_weight", config.output_weight),
    ] {
        checked_weight(key, weight)?;
    }
    checked_epsilon(config.epsilon)?;
    check_blur(["smoothing_kernel", "smoothing_sigma"], config.smoothing_kernel, config.smoothing_sigma)?;
    if config.granularity == ImageGranularity::All && config.batch < config.count {
        let fix = format!("write at least {}: with `granularity = \"all\"` all images are one batch", config.count);
        return Err(ConfigError::invalid("batch", config.batch, fix));
    }
    let priors = Priors::build(&config.prior, LabelRule::None, &plugins.priors)?;
    Ok(Box::new(Mct { config, priors }))
}

/// Valid, smooth images with the statistics of the teacher's batch norms and a wide range of logits.
///
/// ```text
/// x: pixels 0 to 255 of a canvas `extra_pixels` larger than an image, at first mean + std N(0, 1) of the normalisation
/// x' = normalise(mirror(crop(G x))),  result: normalise(central crop(G x))
/// L = bn_weight (1/R) sum_r (1/K) sum_j (w_j / C_j) sum_c ( (mu - m)^2 + (sigma - s)^2 ) + output_weight O(T(x'))
/// O = -mean (max z - min z)  or  mean 1 / (max z - min z)
/// x <- clip(Adam(x, dL/dx), 0, 255)
/// ```
/// mu, sigma: mean and deviation, `sqrt(var + e)` with the *biased* variance, of the input of batch norm j by channel,
/// over each image (R of them), each batch or all images (R = 1); m, s: its running statistics; K: the number of batch
/// norms, C_j: the channels of one; w_1 = `first_weight`, the others 1; G: the Gaussian smoothing; the crop is one
/// random place for the whole batch.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
/// # Range
/// With `clip` every pixel is valid.
/// # Source
/// Dikstein et al., "Data Generation for Hardware-Friendly Post-Training Quantization", WACV 2025,
/// <https://arxiv.org/abs/2410.22110>, and the toolkit's defaults.
/// # Differences from the source
/// Adam instead of RAdam, which Burn does not have, at the source's rate of 16, read in pixels; it goes on when the
/// rate falls instead of being reset. `all` takes the images as one batch, where the source adds statistics up over
/// several. Of the source's weightings of layers the gradient-based one, and of its output losses the regularised one,
/// are not made.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`]; [`SynthError::Shape`] for a
/// normalisation of too few channels.
struct Mct {
    config: MctConfig,
    priors: Priors,
}

impl ImageSource for Mct {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations).saturating_add(self.priors.passes(self.config.count))
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let [_, height, width] = request.teacher.input_shape();
        let range = PixelRange::new(request.normalization, request.teacher.input_shape())?;
        let plan = Plan {
            count: config.count,
            batch: config.batch,
            iterations: config.iterations,
            optimizer: &config.optimizer,
            schedule: &config.schedule,
            labels: LabelRule::None,
            keep_best: config.keep_best,
        };
        let mut recipe = Pipeline { config, range, size: [height, width] };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Pipeline<'a> {
    config: &'a MctConfig,
    range: PixelRange,
    /// Height and width of an image.
    size: [usize; 2],
}

impl Pipeline<'_> {
    fn smooth(&self, canvas: Tensor<4>) -> Tensor<4> {
        gaussian_blur(canvas, self.config.smoothing_kernel, self.config.smoothing_sigma)
    }

    fn crop(&self, canvas: Tensor<4>, [top, left]: [usize; 2]) -> Tensor<4> {
        canvas.narrow(2, top, self.size[0]).narrow(3, left, self.size[1])
    }
}

impl Recipe for Pipeline<'_> {
    fn sampling(&self) -> Sampling {
        Sampling { per_image: self.config.granularity == ImageGranularity::Image, unbiased: false }
    }

    fn canvas_shape(&self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        [channels, height + self.config.extra_pixels, width + self.config.extra_pixels]
    }

    fn start(&mut self, [batch, channels, height, width]: [usize; 4], random: &mut Stream) -> Vec<f32> {
        (0..batch * channels * height * width)
            .map(|place| self.range.pixel(place / (height * width) % channels, StandardNormal.sample(random)))
            .collect()
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        let [batch, ..] = canvas.dims();
        let corner = [0, 1].map(|_| random.random_range(0..=self.config.extra_pixels));
        let turned = self.config.flip && random.random_bool(0.5);
        let cropped = self.crop(self.smooth(canvas), corner);
        self.range.normalise(mirror(cropped, &vec![turned; batch]))
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let value = distance(view.statistics, config.first_weight, config.epsilon);
        let mut terms = vec![Term { name: "bn-loss", weight: config.bn_weight, value }];
        if config.output_weight != 0.0 {
            let value = config.output.of(view.logits.clone());
            terms.push(Term { name: "output-loss", weight: config.output_weight, value });
        }
        terms
    }

    fn after_step(&self, canvas: Tensor<4>) -> Tensor<4> {
        if self.config.clip { canvas.clamp(0.0, 255.0) } else { canvas }
    }

    fn result(&self, canvas: Tensor<4>) -> Tensor<4> {
        let corner = self.config.extra_pixels / 2;
        // The best canvas may be the first one, which no step has clipped.
        self.range.normalise(self.crop(self.smooth(self.after_step(canvas)), [corner; 2]))
    }
}

/// The mean over layers and channels of the squared distances of mean and deviation, averaged over the rows of the
/// statistics.
fn distance(statistics: &Statistics, first_weight: f64, epsilon: f64) -> Tensor<1> {
    let [rows, _] = statistics.mean.dims();
    let layers = statistics.target.layers.len() as f64;
    let mean = statistics.mean.clone() - statistics.target.mean.clone();
    let std = (statistics.var.clone() + epsilon).sqrt() - statistics.target.std(epsilon);
    let share = statistics.by_layer(|layer, channels| {
        let weight = if layer == 0 { first_weight } else { 1.0 };
        weight / (layers * channels as f64)
    });
    ((mean.square() + std.square()) * share).sum() / rows as f64
}

/// Ranges below this count as it.
const SMALLEST_RANGE: f64 = 1e-6;

impl OutputLoss {
    /// The loss of logits `[image, class]`: `[1]`.
    fn of(self, logits: Tensor<2>) -> Tensor<1> {
        let range = logits.clone().max_dim(1) - logits.min_dim(1);
        match self {
            Self::NegativeRange => range.mean().neg(),
            Self::InverseRange => range.clamp_min(SMALLEST_RANGE).recip().mean(),
        }
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "mct",
    summary: "valid, smooth images with the statistics of all images together, cropped from an enlarged canvas",
    source: "Dikstein et al., Data Generation for Hardware-Friendly Post-Training Quantization, WACV 2025",
    defaults: defaults_of::<MctConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
