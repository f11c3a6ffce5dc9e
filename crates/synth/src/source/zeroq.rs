//! `zeroq`: images whose statistics are those that the teacher's batch norms remember.

use blindfold_zoo::{ConfigError, Entry, Network, defaults_of, parse, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, checked_weight, image_passes, positive};
use crate::bn::{Objective, ObservedNetwork, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};
use crate::optimizer::{Canvas, OptimizerConfig};
use crate::plateau::{PlateauConfig, PlateauScheduler};
use crate::plugins::SourcePlugins;
use crate::progress::{Progress, Step};

/// The images that the optimisation starts from: `(randint(0, levels - 1) - centre) / divisor` for every value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InitConfig {
    /// How many integers there are to draw from, from 0 up.
    pub levels: u32,
    /// Subtracted from the integer.
    pub centre: f32,
    /// What the difference is divided by.
    pub divisor: f32,
}

impl Default for InitConfig {
    fn default() -> Self {
        Self { levels: 255, centre: 127.5, divisor: 5418.75 }
    }
}

/// Settings of `zeroq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZeroqConfig {
    /// Number of images.
    pub count: usize,
    /// How many are optimised together, with one learning rate.
    pub batch: usize,
    /// On flex, how many of a batch form one group of work where the loss takes statistics per image.
    pub shard: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the term of the images themselves; 0 leaves it out.
    pub input_weight: f64,
    /// The distance: `kind` names a batch-norm loss, the other keys are its own.
    pub loss: toml::Table,
    /// The images at the start.
    pub init: InitConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How its learning rate falls.
    pub plateau: PlateauConfig,
}

impl Default for ZeroqConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 64,
            shard: 16,
            iterations: 500,
            bn_weight: 1.0,
            input_weight: 1.0,
            loss: loss_table("mean-std-per-image"),
            init: InitConfig::default(),
            optimizer: OptimizerConfig::default(),
            plateau: PlateauConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let mut config: ZeroqConfig = parse(table)?;
    for (key, value) in [("count", config.count), ("batch", config.batch), ("shard", config.shard)] {
        positive(key, value)?;
    }
    for (key, weight) in [("bn_weight", config.bn_weight), ("input_weight", config.input_weight)] {
        checked_weight(key, weight)?;
    }
    let init = &config.init;
    if init.levels == 0 || !init.centre.is_finite() || !init.divisor.is_normal() {
        let found = format!("levels = {}, centre = {}, divisor = {}", init.levels, init.centre, init.divisor);
        return Err(ConfigError::invalid("init", found, "write at least one level, and a divisor other than 0"));
    }
    config.optimizer.validate().map_err(|error| error.within("optimizer"))?;
    config.plateau.validate().map_err(|error| error.within("plateau"))?;
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    Ok(Box::new(Zeroq { config, loss }))
}

/// Images optimised until the statistics of what each batch norm reads are those that it remembers.
///
/// ```text
/// x_0 = (randint(0, 254) - 127.5) / 5418.75
/// L(x) = bn_weight * D(x; m, s) + input_weight * D_0(x; 0, 1)
/// x <- Adam(x, dL/dx), lr falling by ReduceLROnPlateau(L)
/// ```
/// D: the distance of `loss` between the statistics of the batch norms' inputs and their running statistics; D_0: the same
/// distance between the images' own statistics and mean 0, standard deviation 1.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
/// # Range
/// `L >= 0`. Values are not clamped: a pixel may be one that no image has.
/// # Source
/// Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, eq. 1, <https://arxiv.org/abs/2001.00281>.
/// # Differences from the source
/// The source makes one batch; more images than `batch` are made as several, each with its own optimizer and schedule.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Zeroq {
    config: ZeroqConfig,
    loss: Box<dyn StatisticsLoss>,
}

impl Zeroq {
    fn start(&self, size: usize, seed: u64) -> Vec<f32> {
        let InitConfig { levels, centre, divisor } = self.config.init;
        let mut random = stream(seed, "zeroq start");
        (0..size).map(|_| (random.random_range(0..levels) as f32 - centre) / divisor).collect()
    }

    /// Optimises one batch; `done` of `total` iterations are behind it.
    fn optimize(
        &self,
        objective: &Objective<'_>,
        images: Tensor<4>,
        progress: &mut dyn Progress,
        (done, total): (usize, usize),
    ) -> Result<Vec<f32>, SynthError> {
        let config = &self.config;
        let mut canvas = Canvas::new(images, &config.optimizer);
        let mut schedule = PlateauScheduler::new(config.optimizer.lr, config.plateau.clone());
        for iteration in 1..=config.iterations {
            if progress.cancelled() {
                return Err(SynthError::Cancelled);
            }
            let evaluation = objective.evaluate(&canvas.images(), config.shard);
            if !evaluation.loss.is_finite() {
                return Err(SynthError::NotFinite { loss: evaluation.loss, iteration });
            }
            let lr = schedule.lr();
            canvas = canvas.step(lr, evaluation.gradient);
            schedule.step(evaluation.loss);
            let scalars =
                [("loss", evaluation.loss), ("bn_loss", evaluation.bn), ("input_loss", evaluation.input), ("lr", lr)];
            progress.step(Step { iteration: done + iteration, total, scalars: &scalars });
        }
        Ok(canvas.images().into_data().iter::<f32>().collect())
    }
}

impl ImageSource for Zeroq {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, _teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations)
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let shape @ [channels, height, width] = request.teacher.input_shape();
        let observed = ObservedNetwork::new(request.teacher, true)?;
        let objective = Objective {
            observed: &observed,
            loss: self.loss.as_ref(),
            bn_weight: config.bn_weight,
            input_weight: config.input_weight,
        };
        let device: Device = request.teacher.device().without_autodiff();
        let size = channels * height * width;
        let start = self.start(config.count * size, request.seed);
        let total = config.count.div_ceil(config.batch) * config.iterations;
        let mut pixels = Vec::with_capacity(start.len());
        for (index, values) in start.chunks(config.batch * size).enumerate() {
            let dims = [values.len() / size, channels, height, width];
            let images = Tensor::from_data(TensorData::new(values.to_vec(), dims), &device);
            let place = (index * config.iterations, total);
            pixels.extend(self.optimize(&objective, images, request.progress, place)?);
        }
        ImageSet::new(shape, pixels, None, Origin::Synthetic)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "zeroq",
    summary: "noise optimised until its batch-norm statistics are those that the teacher remembers",
    source: "Cai et al., ZeroQ, CVPR 2020, eq. 1",
    defaults: defaults_of::<ZeroqConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
