//! One image a class that stands for it: what TexQ and SynQ hold their images against.

mod groups;
#[cfg(test)]
pub(crate) mod reference;
mod stage;
#[cfg(test)]
pub(crate) mod tests;

use blindfold_zoo::ops::Moments;
use blindfold_zoo::{ConfigError, stream};
use burn::tensor::Tensor;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::prior::cross_entropy;
use super::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View};
use crate::bn::{ObservedNetwork, Sampling};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimizer::OptimizerConfig;
use crate::plateau::PlateauConfig;
use crate::source::Request;

pub(crate) use groups::{Groups, layered_distance};
pub(crate) use stage::optimise_part;

/// The `centres` table: how the image that stands for each class is made.
///
/// ```text
/// x_0 ~ N(0, 1)
/// L(x) = (1/K) sum_l w_l ( MSE(mu_l(x), m_l) + MSE(var_l(x), v_l) ) + ce_weight CE(T(x), class)
/// w_l = early_weight for l < early_share * K (l from 0), else late_weight
/// ```
/// mu_l, var_l: mean and *biased* variance over the batch of the input of batch norm `l`; m_l, v_l: its running
/// statistics; K: the number of batch norms; MSE: mean over channels.
///
/// # Source
/// Kim et al., "SynQ: Accurate Zero-shot Quantization by Synthesis-aware Fine-tuning", ICLR 2025, after Chen et al.,
/// "TexQ", NeurIPS 2023.
/// # Differences from the source
/// SynQ's code begins the late layers one batch norm before the middle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassCentresConfig {
    /// How many are optimised together.
    pub batch: usize,
    /// Steps of the optimizer for each batch.
    pub iterations: usize,
    /// Weight of the cross-entropy with the class.
    pub ce_weight: f64,
    /// Weight of the statistics of the early layers.
    pub early_weight: f64,
    /// Weight of the statistics of the late layers.
    pub late_weight: f64,
    /// Share of the batch norms that count as early.
    pub early_share: f64,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How its learning rate moves.
    pub schedule: ScheduleConfig,
}

impl Default for ClassCentresConfig {
    fn default() -> Self {
        Self {
            batch: 256,
            iterations: 1500,
            ce_weight: 5.0,
            early_weight: 0.2,
            late_weight: 1.1,
            early_share: 0.5,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::Plateau(PlateauConfig { patience: 50, min_lr: 0.05, ..PlateauConfig::default() }),
        }
    }
}

impl ClassCentresConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.batch == 0 {
            return Err(ConfigError::invalid("batch", self.batch, "write a number of at least 1"));
        }
        for (key, weight) in
            [("ce_weight", self.ce_weight), ("early_weight", self.early_weight), ("late_weight", self.late_weight)]
        {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(ConfigError::invalid(key, weight, "write 0 or a positive number"));
            }
        }
        if !(0.0..=1.0).contains(&self.early_share) {
            return Err(ConfigError::invalid("early_share", self.early_share, "write a number from 0 to 1"));
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))?;
        self.schedule.validate().map_err(|error| error.within("schedule"))
    }

    /// Whether batch norm number `layer` of so many is a late one.
    pub(crate) fn is_late(&self, layer: usize, layers: usize) -> bool {
        layer as f64 >= self.early_share * layers as f64
    }

    /// The weight of the statistics of batch norm number `layer` of so many.
    pub(crate) fn weight(&self, layer: usize, layers: usize) -> f64 {
        if self.is_late(layer, layers) { self.late_weight } else { self.early_weight }
    }

    /// Iterations of all batches together.
    pub(crate) fn total(&self, classes: usize) -> usize {
        classes.max(1).div_ceil(self.batch.max(1)) * self.iterations
    }

    /// Image passes of the centres: those of their optimisation, and one each for their statistics.
    pub(crate) fn passes(&self, classes: usize) -> u64 {
        let classes = classes.max(1) as u64;
        classes.saturating_mul(self.iterations as u64).saturating_add(classes)
    }
}

/// Makes one image a class, in the order of the classes; `total` iterations are told to the request's progress as
/// their number.
///
/// # Errors
/// As [`optimise_part`].
pub(crate) fn class_centres(
    config: &ClassCentresConfig,
    request: &mut Request<'_>,
    total: usize,
) -> Result<ImageSet, SynthError> {
    let plan = Plan {
        count: request.teacher.classes().max(1),
        batch: config.batch,
        iterations: config.iterations,
        optimizer: &config.optimizer,
        schedule: &config.schedule,
        labels: LabelRule::Balanced,
        keep_best: false,
    };
    let seed = stream(request.seed, "class centres").random::<u64>();
    in_class_order(optimise_part(&mut Centres { config }, plan, request, seed, ("centres_", 0, total))?)
}

fn in_class_order(images: ImageSet) -> Result<ImageSet, SynthError> {
    let classes = images.labels.clone().unwrap_or_default();
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|&index| classes.get(index).copied());
    let pixels = order.iter().flat_map(|&index| images.image(index).iter().copied()).collect();
    let labels = order.iter().filter_map(|&index| classes.get(index).copied()).collect();
    ImageSet::new(images.shape, pixels, Some(labels), images.origin)
}

/// Mean and biased variance of each image apart, `[image, channels of all layers]`; `batch` images are run at a time.
pub(crate) fn moments_of(observed: &ObservedNetwork, images: &ImageSet, batch: usize) -> Moments {
    let device = observed.network().device().without_autodiff();
    let parts = images.batches(batch, &device).map(|part| {
        let (_, statistics) = observed.run(part, PER_IMAGE);
        (statistics.mean, statistics.var)
    });
    let (means, vars): (Vec<Tensor<2>>, Vec<Tensor<2>>) = parts.unzip();
    Moments { mean: Tensor::cat(means, 0), var: Tensor::cat(vars, 0) }
}

/// What [`Groups::pool`] takes.
pub(crate) const PER_IMAGE: Sampling = Sampling { per_image: true, unbiased: false };

/// What [`Groups::pool`] gives.
pub(crate) const OF_BATCH: Sampling = Sampling { per_image: false, unbiased: false };

struct Centres<'a> {
    config: &'a ClassCentresConfig,
}

impl Recipe for Centres<'_> {
    fn sampling(&self) -> Sampling {
        OF_BATCH
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let target = &view.statistics.target;
        let layers = target.layers.len();
        let weight = |layer| self.config.weight(layer, layers);
        vec![
            Term {
                name: "bn-loss",
                weight: 1.0,
                value: layered_distance(view.statistics, [&target.mean, &target.var], weight),
            },
            Term {
                name: "ce-loss",
                weight: self.config.ce_weight,
                value: cross_entropy(view.logits.clone(), view.labels),
            },
        ]
    }
}
