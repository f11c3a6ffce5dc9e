//! `deepinversion`: DeepInversion and Adaptive DeepInversion.

use blindfold_quant::{MAX_BITS, MIN_BITS, QuantError, Quantizer, Range, ZeroqAffine, ZeroqAffineConfig};
use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse};
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, check_plan, checked_weight, image_passes};
use crate::bn::{Sampling, StatisticsLoss, loss_of, loss_table};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::geometry::{mirror, roll};
use crate::optimised::prior::{cross_entropy, image_norm, total_variation_l1, total_variation_l2};
use crate::optimised::{LabelRule, PixelRange, Plan, Recipe, ScheduleConfig, Term, View, WithPriors, optimise};
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::prior::{PriorConfig, Priors};

/// Settings of `deepinversion`. The defaults are those for CIFAR-10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepInversionConfig {
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
    /// Weight of the lengths of the differences of neighbouring pixels.
    pub tv_l2_weight: f64,
    /// Weight of their absolute values.
    pub tv_l1_weight: f64,
    /// Weight of the mean length of the images.
    pub norm_weight: f64,
    /// Weight of the competition with the student; 0 is DeepInversion, above 0 Adaptive DeepInversion.
    pub adi_weight: f64,
    /// Temperature of both distributions in the competition.
    pub adi_temperature: f64,
    /// In the competition probabilities are clamped to `[adi_floor, 1 - adi_floor]`.
    pub adi_floor: f64,
    /// Bits of the student's weights.
    pub student_bits: u8,
    /// In every iteration the images are rolled by up to so many pixels each way.
    pub jitter: usize,
    /// In every iteration the batch is mirrored with probability 1/2.
    pub flip: bool,
    /// After every step values are clamped to those that a pixel can have.
    pub clamp: bool,
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

impl Default for DeepInversionConfig {
    fn default() -> Self {
        Self {
            count: 64,
            batch: 256,
            iterations: 2000,
            labels: LabelRule::Random,
            ce_weight: 1.0,
            bn_weight: 10.0,
            tv_l2_weight: 2.5e-5,
            tv_l1_weight: 0.0,
            norm_weight: 0.0,
            adi_weight: 0.0,
            adi_temperature: 3.0,
            adi_floor: 0.01,
            student_bits: 4,
            jitter: 2,
            flip: true,
            clamp: true,
            keep_best: true,
            loss: loss_table("norm"),
            prior: Vec::new(),
            optimizer: OptimizerConfig { lr: 0.05, ..OptimizerConfig::default() },
            schedule: ScheduleConfig::Constant {},
        }
    }
}

pub(super) fn build(table: toml::Table, plugins: &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError> {
    let mut config: DeepInversionConfig = parse(table)?;
    check_plan((config.count, config.batch), &config.optimizer, &config.schedule)?;
    for (key, weight) in [
        ("ce_weight", config.ce_weight),
        ("bn_weight", config.bn_weight),
        ("tv_l2_weight", config.tv_l2_weight),
        ("tv_l1_weight", config.tv_l1_weight),
        ("norm_weight", config.norm_weight),
        ("adi_weight", config.adi_weight),
    ] {
        checked_weight(key, weight)?;
    }
    if config.ce_weight != 0.0 {
        config.labels.with_classes()?;
    }
    if !(config.adi_temperature > 0.0 && config.adi_temperature.is_finite()) {
        return Err(ConfigError::invalid("adi_temperature", config.adi_temperature, "write a positive number"));
    }
    if !(config.adi_floor > 0.0 && config.adi_floor < 0.5) {
        return Err(ConfigError::invalid("adi_floor", config.adi_floor, "write a number between 0 and 0.5"));
    }
    if !(MIN_BITS..=MAX_BITS).contains(&config.student_bits) {
        let fix = format!("write {MIN_BITS} to {MAX_BITS}");
        return Err(ConfigError::invalid("student_bits", config.student_bits, fix));
    }
    if i32::try_from(config.jitter).is_err() {
        return Err(ConfigError::invalid("jitter", config.jitter, "write a number of pixels"));
    }
    let loss = loss_of(std::mem::take(&mut config.loss), &plugins.statistics)?;
    let priors = Priors::build(&config.prior, config.labels, &plugins.priors)?;
    Ok(Box::new(DeepInversion { config, loss, priors }))
}

/// Images that the teacher is sure of, with the statistics that its batch norms remember, and smooth.
///
/// ```text
/// x_0 ~ N(0, 1),   x' = x rolled by up to `jitter` pixels each way, mirrored with probability 1/2
/// L = ce_weight CE(T(x'), y) + bn_weight D(x') + tv_l2_weight sum_k |d_k| + tv_l1_weight sum_k mean|d_k|
///   + norm_weight (1/N) sum_n |x'_n| + adi_weight (1 - JS(T(x'), S(x')))
/// JS = (1/N) sum_n 1/2 ( KL(p_n || m_n) + KL(q_n || m_n) ),   m = (p + q) / 2
/// x <- clamp(Adam(x, dL/dx))
/// ```
/// D: the distance of `loss` (by default lengths of the differences of means and variances, the first batch norm
/// tenfold); d_k: differences of neighbouring pixels in four directions; p, q: softmax of the logits of teacher and
/// student over `adi_temperature`, clamped to `[adi_floor, 1 - adi_floor]`; S: the teacher with its weights on
/// `student_bits` bits.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. The labels are y.
/// # Range
/// `0 <= JS <= ln 2`. CE and JS are in nats.
/// # Source
/// Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020, sections 3.2 and 3.3,
/// <https://arxiv.org/abs/1912.08795>; the constants of its CIFAR-10 recipe, from the paper and the authors' code.
/// # Differences from the source
/// The source's student is a network in training; here it is the teacher with quantized weights (by output channel,
/// asymmetric min-max) and floating-point activations, which is what its images are to fit. The stage at half
/// resolution that the source runs first on ImageNet is not made, since most networks here read one size of image
/// alone. Each batch has its own optimizer.
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`]; [`SynthError::Shape`] for a
/// normalisation of too few channels, [`SynthError::Malformed`] for weights that are not finite.
struct DeepInversion {
    config: DeepInversionConfig,
    loss: Box<dyn StatisticsLoss>,
    priors: Priors,
}

impl ImageSource for DeepInversion {
    fn count(&self) -> usize {
        self.config.count
    }

    fn passes(&self, _teacher: &Network) -> u64 {
        let networks = if self.config.adi_weight == 0.0 { 1 } else { 2 };
        image_passes(self.config.count, self.config.iterations)
            .saturating_mul(networks)
            .saturating_add(self.priors.passes(self.config.count))
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let config = &self.config;
        let adaptive = config.adi_weight != 0.0;
        let student = adaptive.then(|| coarse(request.teacher, config.student_bits)).transpose()?;
        let range =
            config.clamp.then(|| PixelRange::new(request.normalization, request.teacher.input_shape())).transpose()?;
        let mut recipe = Dream { config, loss: self.loss.as_ref(), student, range };
        let plan = Plan {
            count: config.count,
            batch: config.batch,
            iterations: config.iterations,
            optimizer: &config.optimizer,
            schedule: &config.schedule,
            labels: config.labels,
            keep_best: config.keep_best,
        };
        optimise(&mut WithPriors::new(&mut recipe, &self.priors), plan, request)
    }
}

struct Dream<'a> {
    config: &'a DeepInversionConfig,
    loss: &'a dyn StatisticsLoss,
    student: Option<Network>,
    range: Option<PixelRange>,
}

impl Recipe for Dream<'_> {
    fn sampling(&self) -> Sampling {
        self.loss.sampling()
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        let [batch, ..] = canvas.dims();
        let reach = self.config.jitter as i32;
        let (down, right) = (random.random_range(-reach..=reach), random.random_range(-reach..=reach));
        let turned = self.config.flip && random.random_bool(0.5);
        mirror(roll(canvas, down as isize, right as isize), &vec![turned; batch])
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let config = self.config;
        let [batch, ..] = view.shown.dims();
        let mut terms = Vec::new();
        let mut add = |name: &'static str, weight: f64, value: &dyn Fn() -> Tensor<1>| {
            if weight != 0.0 {
                terms.push(Term { name, weight, value: value() });
            }
        };
        add("ce-loss", config.ce_weight, &|| cross_entropy(view.logits.clone(), view.labels));
        add("bn-loss", config.bn_weight, &|| self.loss.evaluate(view.statistics, batch));
        add("tv-l2", config.tv_l2_weight, &|| total_variation_l2(view.shown.clone()));
        add("tv-l1", config.tv_l1_weight, &|| total_variation_l1(view.shown.clone()));
        add("norm", config.norm_weight, &|| image_norm(view.shown.clone()));
        if let Some(student) = &self.student {
            let divergence = jensen_shannon(
                view.logits.clone(),
                student.forward(view.shown.clone()),
                config.adi_temperature,
                config.adi_floor,
            );
            terms.push(Term { name: "adi-loss", weight: config.adi_weight, value: divergence.neg() + 1.0 });
        }
        terms
    }

    fn after_step(&self, canvas: Tensor<4>) -> Tensor<4> {
        match &self.range {
            Some(range) => range.clamp(canvas),
            None => canvas,
        }
    }

    fn result(&self, canvas: Tensor<4>) -> Tensor<4> {
        // The best canvas may be the first one, which no step has clamped.
        self.after_step(canvas)
    }
}

/// How far the softened answers of two networks lie apart, averaged over images: `[1]`.
fn jensen_shannon(teacher: Tensor<2>, student: Tensor<2>, temperature: f64, floor: f64) -> Tensor<1> {
    let [batch, _] = teacher.dims();
    let soften = |logits: Tensor<2>| softmax(logits / temperature, 1).clamp(floor, 1.0 - floor);
    let (p, q) = (soften(teacher), soften(student));
    let middle = (p.clone() + q.clone()) * 0.5;
    let part = |x: Tensor<2>| x.clone() * (x / middle.clone()).log();
    (part(p) + part(q)).sum() * (0.5 / batch as f64)
}

/// The network with each weight on the grid of so many bits over the range of its output channel.
fn coarse(teacher: &Network, bits: u8) -> Result<Network, SynthError> {
    let mut fault = None;
    let network = teacher.clone().frozen().map_layers(|name, layer| {
        let Some(weight) = layer.weight() else { return layer };
        match on_grid(&weight, bits) {
            Ok(weight) => layer.with_weight(weight),
            Err(error) => {
                fault.get_or_insert(SynthError::malformed(&format!("the weight of `{name}`"), error));
                layer
            }
        }
    });
    fault.map_or(Ok(network), Err)
}

fn on_grid(weight: &Tensor<4>, bits: u8) -> Result<Tensor<4>, QuantError> {
    let quantizer = ZeroqAffine::new(&ZeroqAffineConfig::default())?;
    let shape = weight.dims();
    let mut values: Vec<f32> = weight.to_data().iter::<f32>().collect();
    let channel = (values.len() / shape[0].max(1)).max(1);
    for values in values.chunks_mut(channel) {
        quantizer.map(Range::of(values)?, bits)?.fake_quantize(values);
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), &weight.device()))
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "deepinversion",
    summary: "class images with the teacher's statistics, smooth; adaptive against a quantized student if asked",
    source: "Yin et al., DeepInversion, CVPR 2020, sections 3.2 and 3.3",
    defaults: defaults_of::<DeepInversionConfig>,
    build: |table| build(table, &SourcePlugins::builtin()?),
};

#[cfg(test)]
mod tests;
