//! `texq`: images whose statistics and textures come near those of one image of their class.

mod texture;

use blindfold_zoo::ops::Moments;
use blindfold_zoo::{ConfigError, Entry, Network, defaults_of, parse};
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use self::texture::{texture_distance, texture_energy, texture_shares};
use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{ObservedNetwork, Sampling};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::class_centres::{
    ClassCentresConfig, Groups, PER_IMAGE, class_centres, layered_distance, moments_of, optimise_part,
};
use crate::optimised::prior::cross_entropy;
use crate::optimised::{LabelRule, Plan, Recipe, ScheduleConfig, Term, View, WithPriors};
use crate::optimizer::OptimizerConfig;
use crate::plateau::PlateauConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `texq`. All defaults of the images, though not of the centres, are ours: the source's are not
/// published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TexqConfig {
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
    /// Weight of the cross-entropy with the class.
    pub ce_weight: f64,
    /// Weight of the distance of each class's statistics to those of its centre.
    pub centre_weight: f64,
    /// Weight of the distance of the images' textures to those of their centres.
    pub texture_weight: f64,
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

impl Default for TexqConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 256,
            iterations: 1000,
            labels: LabelRule::Random,
            bn_weight: 1.0,
            ce_weight: 1.0,
            centre_weight: 1.0,
            texture_weight: 1.0,
            prior: Vec::new(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::Plateau(PlateauConfig { patience: 50, ..PlateauConfig::default() }),
            centres: ClassCentresConfig::default(),
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: TexqConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    config.labels.with_classes()?;
    for (key, weight) in [
        ("bn_weight", config.bn_weight),
        ("ce_weight", config.ce_weight),
        ("centre_weight", config.centre_weight),
        ("texture_weight", config.texture_weight),
    ] {
        checked_weight(key, weight)?;
    }
    config.centres.validate().map_err(|error| error.within("centres"))?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(Texq { config, priors }))
}

/// Images that the teacher's layers and a texture analysis find like the one image that stands for their class.
///
/// ```text
/// centres: one image z_c a class c, see `ClassCentresConfig`
/// x_0 ~ N(0, 1)
/// L = bn_weight (1/K) sum_l ( MSE(mu_l(x), m_l) + MSE(var_l(x), v_l) ) + ce_weight CE(T(x), y)
///   + centre_weight (1/G) sum_c (1/K) sum_l w_l ( MSE(mu_l(x_c), mu_l(z_c)) + MSE(var_l(x_c), var_l(z_c)) )
///   + texture_weight (1/N) sum_n KL( q(z_{y_n}) || q(x_n) )
/// x <- Adam(x, dL/dx), lr falling by ReduceLROnPlateau(L)
/// ```
/// mu_l, var_l: mean and *biased* variance of the input of batch norm `l` over the batch, over its images x_c of
/// class c, or over one centre; m_l, v_l: its running statistics; K: the number of batch norms; w_l: `early_weight`
/// or `late_weight` of the centres; G: the classes that the batch has; MSE: mean over channels. q: the shares of 15
/// kinds of texture in an image's energy, by the filters of Laws that combine L5, E5, S5 and R5, each energy the mean
/// of the absolute response.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `L >= 0`. CE and KL are in nats.
/// # Source
/// Chen et al., "TexQ: Zero-shot Network Quantization with Texture Feature Distribution Calibration", NeurIPS 2023
/// (recalled, not read); the centres as in SynQ's code, which follows it.
/// # Differences from the source
/// TexQ has no code. The source trains a generator by its centres; here the images themselves are optimised. What it
/// calls the calibration of the texture energy's distribution is here the divergence between the shares of Laws'
/// energies, and the layered statistics are held against the centre's own (recalled). Its mixup distillation belongs to
/// the student's training.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`].
struct Texq {
    config: TexqConfig,
    priors: Priors,
}

impl ImageSource for Texq {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, teacher: &Network) -> u64 {
        image_passes(self.config.count, self.config.iterations)
            .saturating_add(self.config.centres.passes(teacher.classes()))
            .saturating_add(self.priors.passes(self.config.count))
    }

    fn synthesize(&self, mut request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let before = config.centres.total(request.teacher.classes());
        let total = before + config.count.div_ceil(config.batch) * config.iterations;
        let centres = Centres::make(&config.centres, &mut request, total)?;
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
        let mut recipe = Calibrated { config, centres };
        optimise_part(&mut WithPriors::new(&mut recipe, &self.priors), plan, &mut request, seed, ("", before, total))
    }
}

/// What the images are held against, a row a class.
struct Centres {
    /// `[class, channels of all layers]`.
    moments: Moments,
    /// `[class, texture]`.
    textures: Tensor<2>,
}

impl Centres {
    fn make(config: &ClassCentresConfig, request: &mut Request<'_>, total: usize) -> Result<Self, SynthError> {
        let images = class_centres(config, request, total)?;
        let observed = ObservedNetwork::new(request.teacher, true)?;
        let device = request.teacher.device().without_autodiff();
        let shares = images.batches(config.batch, &device).map(|part| texture_shares(texture_energy(part)));
        let textures = Tensor::cat(shares.collect(), 0);
        Ok(Self { moments: moments_of(&observed, &images, config.batch), textures })
    }
}

/// The rows of these numbers.
fn rows(table: &Tensor<2>, numbers: &[u32]) -> Tensor<2> {
    let places: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [numbers.len()]), &table.device());
    table.clone().select(0, places)
}

struct Calibrated<'a> {
    config: &'a TexqConfig,
    centres: Centres,
}

impl Recipe for Calibrated<'_> {
    fn sampling(&self) -> Sampling {
        PER_IMAGE
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let device = view.shown.device().without_autodiff();
        let target = &view.statistics.target;
        let layers = target.layers.len();
        let whole = Groups::whole(view.labels.len(), &device).pool(view.statistics);
        let groups = Groups::new(view.labels, &device);
        let Moments { mean, var } = &self.centres.moments;
        let [mean, var] = [mean, var].map(|table| rows(table, &groups.classes));
        let weight = |layer| config.centres.weight(layer, layers);
        let textures = texture_shares(texture_energy(view.shown.clone()));
        vec![
            Term {
                name: "bn-loss",
                weight: config.bn_weight,
                value: layered_distance(&whole, [&target.mean, &target.var], |_| 1.0),
            },
            Term { name: "ce-loss", weight: config.ce_weight, value: cross_entropy(view.logits.clone(), view.labels) },
            Term {
                name: "centre-loss",
                weight: config.centre_weight,
                value: layered_distance(&groups.pool(view.statistics), [&mean, &var], weight),
            },
            Term {
                name: "texture-loss",
                weight: config.texture_weight,
                value: texture_distance(textures, rows(&self.centres.textures, view.labels)),
            },
        ]
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "texq",
    summary: "class images with the layer statistics and the texture energies of one sure image of their class",
    source: "Chen et al., TexQ, NeurIPS 2023, without its generator",
    defaults: defaults_of::<TexqConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
