//! `genie-d`: images drawn by a generator of each batch's own, whose latent codes are optimised with it.

use blindfold_zoo::{ConfigError, Entry, Network, Taps, defaults_of, merge_defaults, parse, stream};
use burn::tensor::{Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_plan, checked_weight, image_passes, positive};
use crate::bn::{ObservedNetwork, Statistics, StatisticsLoss, StatisticsTap, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};
use crate::optimised::ScheduleConfig;
use crate::optimizer::{Canvas, OptimizerConfig};
use crate::plugins::SourcePlugins;
use crate::progress::{Progress, Step};

mod generator;
mod swing;

use generator::Generator;
use swing::Swing;

/// How the learning rate of the generators falls: `lr * factor^(iteration / every)`, rounded down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenieDecayConfig {
    /// What the rate is multiplied by.
    pub factor: f64,
    /// After so many iterations each.
    pub every: usize,
}

impl Default for GenieDecayConfig {
    fn default() -> Self {
        Self { factor: 0.95, every: 100 }
    }
}

impl GenieDecayConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            return Err(ConfigError::invalid("factor", self.factor, "write a number above 0, and 1 at most"));
        }
        positive("every", self.every).map(|_| ())
    }

    fn factor(&self, iteration: usize) -> f64 {
        self.factor.powi(i32::try_from(iteration / self.every.max(1)).unwrap_or(i32::MAX))
    }
}

/// Settings of `genie-d`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenieDConfig {
    /// Number of images.
    pub count: usize,
    /// How many one generator draws.
    pub batch: usize,
    /// Steps of both optimizers for each batch.
    pub iterations: usize,
    /// Length of a latent code.
    pub latent: usize,
    /// Channels of the generator's widest layers; even.
    pub channels: usize,
    /// Added to the variance in the generator's batch norms.
    pub norm_epsilon: f64,
    /// Slope of its leaky rectifier for negative values.
    pub slope: f64,
    /// Strided convolutions of the teacher read their input moved by up to a pixel.
    pub swing: bool,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the term of the images themselves; 0 leaves it out.
    pub input_weight: f64,
    /// The distance: `kind` names a batch-norm loss, the other keys are its own.
    pub loss: toml::Table,
    /// The optimizer of the latent codes.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
    /// The optimizer of the generators.
    pub generator_optimizer: OptimizerConfig,
    /// How its learning rate falls.
    pub generator_decay: GenieDecayConfig,
}

impl Default for GenieDConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 128,
            iterations: 4000,
            latent: 256,
            channels: 128,
            norm_epsilon: 1e-5,
            slope: 0.2,
            swing: true,
            bn_weight: 1.0,
            input_weight: 1.0,
            loss: loss_table("mean-std-per-channel"),
            optimizer: OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::default(),
            generator_optimizer: OptimizerConfig { lr: 0.01, ..OptimizerConfig::default() },
            generator_decay: GenieDecayConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    // So that a part of an optimizer's table keeps the rest of that optimizer's defaults; schedules and losses of
    // another kind have other keys.
    let mut defaults = defaults_of::<GenieDConfig>();
    for of_kinds in ["schedule", "loss"] {
        defaults.remove(of_kinds);
    }
    let mut config: GenieDConfig = parse(merge_defaults(defaults, table))?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    positive("latent", config.latent)?;
    if config.channels == 0 || !config.channels.is_multiple_of(2) {
        return Err(ConfigError::invalid("channels", config.channels, "write an even number, such as 128"));
    }
    if !(config.norm_epsilon > 0.0 && config.norm_epsilon.is_finite()) {
        return Err(ConfigError::invalid("norm_epsilon", config.norm_epsilon, "write a positive number"));
    }
    if !(config.slope >= 0.0 && config.slope < 1.0) {
        return Err(ConfigError::invalid("slope", config.slope, "write a number from 0 to below 1"));
    }
    for (key, weight) in [("bn_weight", config.bn_weight), ("input_weight", config.input_weight)] {
        checked_weight(key, weight)?;
    }
    config.generator_optimizer.validate().map_err(|error| error.within("generator_optimizer"))?;
    config.generator_decay.validate().map_err(|error| error.within("generator_decay"))?;
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    Ok(Box::new(GenieD { config, loss }))
}

/// Images of a generator that is trained for one batch alone, until the statistics of what each batch norm reads are
/// those that it remembers.
///
/// ```text
/// x = G(z),  z ~ N(0, I) at the start, one code an image;  G: one generator a batch
/// L(x) = bn_weight * D(x; m, s) + input_weight * D_0(x; 0, 1)
/// z <- Adam(z, dL/dz), lr by `schedule`      G <- Adam(G, dL/dG), lr * factor^(iteration / every)
/// ```
/// D: the distance of `loss` between the statistics of the batch norms' inputs and their running statistics; D_0: the
/// same distance between the images' own statistics and mean 0, standard deviation 1. With `swing` each strided
/// convolution of the teacher reads its input cut out of the input with one reflected pixel around it, from a place
/// that is drawn anew for each run.
///
/// The generator: a linear layer to a quarter of the image's side, then twice doubling and a convolution.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
///
/// # Range
/// Each colour of a batch has mean 0 and standard deviation 1: the generator ends in a batch norm.
///
/// # Source
/// Jeon et al., "GENIE: Show Me the Data for Quantization", CVPR 2023, section 3.1, <https://arxiv.org/abs/2212.04780>;
/// network and numbers as in its code, whose names for the two learning rates are exchanged: what is used is 0.1 for
/// the codes.
///
/// # Differences from the source
/// - The images are those after the last step, the source's those before it.
/// - The source makes 1024 images.
///
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::Config`] for images whose sides are not divisible by 4,
/// [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct GenieD {
    config: GenieDConfig,
    loss: Box<dyn StatisticsLoss>,
}

/// A batch's place in the synthesis.
struct Place {
    /// Number of the batch, from 0.
    batch: usize,
    /// Images in it.
    count: usize,
    /// Iterations of all batches together.
    total: usize,
}

impl GenieD {
    fn optimise(
        &self,
        observed: &ObservedNetwork,
        place: &Place,
        seed: u64,
        progress: &mut dyn Progress,
    ) -> Result<Vec<f32>, SynthError> {
        let config = &self.config;
        let &Place { batch, count, total } = place;
        let device = observed.network().device().without_autodiff();
        let mut random = stream(seed, &format!("genie-d codes/{batch}"));
        let codes: Vec<f32> = (0..count * config.latent).map(|_| StandardNormal.sample(&mut random)).collect();
        let codes = Tensor::from_data(TensorData::new(codes, [count, config.latent, 1, 1]), &device);
        let mut codes = Canvas::new(codes, &config.optimizer);
        let mut random = stream(seed, &format!("genie-d generator/{batch}"));
        let mut generator = Generator::new(config, observed.network().input_shape(), &device, &mut random);
        let mut schedule = config.schedule.begin(config.optimizer.lr, config.iterations);
        for iteration in 0..config.iterations {
            if progress.cancelled() {
                return Err(SynthError::Cancelled);
            }
            let leaf = codes.images().autodiff().require_grad();
            let images = generator.images(leaf.clone());
            let swing = config.swing.then(|| Swing::new(stream(seed, &format!("genie-d swing/{batch}/{iteration}"))));
            let bn = self.loss.evaluate(&self.statistics(observed, images.clone(), swing), count);
            let input = (config.input_weight != 0.0).then(|| {
                let statistics = Statistics::of_images(images, self.loss.input_sampling());
                self.loss.evaluate_input(&statistics, count)
            });
            let weighted = bn.clone() * config.bn_weight;
            let weighted = match &input {
                Some(input) => weighted + input.clone() * config.input_weight,
                None => weighted,
            };
            let value = |term: Tensor<1>| f64::from(term.into_scalar::<f32>());
            let (bn, input) = (value(bn), input.map_or(0.0, value));
            let loss = config.bn_weight * bn + config.input_weight * input;
            if !loss.is_finite() {
                return Err(SynthError::NotFinite { loss, iteration: iteration + 1 });
            }
            let mut gradients = weighted.backward();
            let gradient = leaf.grad_remove(&mut gradients).unwrap_or_else(|| codes.images().zeros_like());
            let lr = schedule.lr();
            let generator_lr = config.generator_optimizer.lr * config.generator_decay.factor(iteration);
            codes = codes.step(lr, gradient);
            generator = generator.step(generator_lr, gradients);
            schedule.step(loss);
            let scalars =
                [("loss", loss), ("bn_loss", bn), ("input_loss", input), ("lr", lr), ("generator_lr", generator_lr)];
            progress.step(Step { iteration: batch * config.iterations + iteration + 1, total, scalars: &scalars });
        }
        Ok(generator.images(codes.images()).without_autodiff().into_data().iter::<f32>().collect())
    }

    /// The statistics of the batch norms' inputs, with or without swing.
    fn statistics(&self, observed: &ObservedNetwork, images: Tensor<4>, swing: Option<Swing>) -> Statistics {
        let mut tap = StatisticsTap::new(observed, self.loss.sampling());
        match swing {
            Some(mut swing) => observed.network().run(images, &mut Taps(vec![&mut swing, &mut tap])),
            None => observed.network().run(images, &mut tap),
        };
        tap.statistics().expect("the run above has passed every batch norm of the network that is watched")
    }
}

impl ImageSource for GenieD {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations)
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let shape @ [_, height, width] = request.teacher.input_shape();
        if height == 0 || width == 0 || !height.is_multiple_of(4) || !width.is_multiple_of(4) {
            let fix = "take a teacher whose images have sides divisible by 4: the generator doubles them twice";
            return Err(ConfigError::invalid("teacher", format!("images of {height}x{width} pixels"), fix).into());
        }
        let observed = ObservedNetwork::new(request.teacher, true)?;
        let total = config.count.div_ceil(config.batch) * config.iterations;
        let mut pixels = Vec::with_capacity(config.count * shape.iter().product::<usize>());
        for (batch, first) in (0..config.count).step_by(config.batch).enumerate() {
            let place = Place { batch, count: config.batch.min(config.count - first), total };
            pixels.extend(self.optimise(&observed, &place, request.seed, request.progress)?);
        }
        ImageSet::new(shape, pixels, None, Origin::Synthetic)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "genie-d",
    summary: "images of a generator that is trained for each batch, latent codes and all, on batch-norm statistics",
    source: "Jeon et al., GENIE: Show Me the Data for Quantization, CVPR 2023, section 3.1",
    defaults: defaults_of::<GenieDConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
