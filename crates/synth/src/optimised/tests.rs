//! The engine with recipes whose minimum is known.

use blindfold_zoo::{Network, Stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::*;
use crate::bn::{ObservedNetwork, Sampling};
use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimizer::{OptimizerConfig, OptimizerKind};
use crate::progress::{NoProgress, Progress, Step};
use crate::sample::{host, images, normalization, plain_network, small_network, smooth_network};
use crate::source::Request;

const SAMPLING: Sampling = Sampling { per_image: false, unbiased: false };

/// Draws the canvas towards a constant, which each image's label moves on by one.
struct Toward {
    constant: f64,
    prepared: Vec<(usize, Vec<u32>)>,
    finished: Vec<[usize; 4]>,
    extra: usize,
    draws: Vec<u32>,
    scale: f64,
}

impl Toward {
    fn new(constant: f64) -> Self {
        Self { constant, prepared: Vec::new(), finished: Vec::new(), extra: 0, draws: Vec::new(), scale: 1.0 }
    }
}

impl Recipe for Toward {
    fn sampling(&self) -> Sampling {
        SAMPLING
    }

    fn canvas_shape(&self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        [channels, height + self.extra, width]
    }

    fn prepare(&mut self, observed: &ObservedNetwork, batch: usize, labels: &[u32]) -> Result<(), SynthError> {
        assert_eq!(observed.network().input_shape(), [3, 8, 8]);
        self.prepared.push((batch, labels.to_vec()));
        Ok(())
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, _iteration: usize) -> Tensor<4> {
        self.draws.push(random.random_range(0..1_000_000));
        canvas.narrow(2, 0, 8)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let [batch, ..] = view.canvas.dims();
        assert_eq!(view.shown.dims(), [batch, 3, 8, 8]);
        assert_eq!((view.logits.dims()[0], view.features.dims()[0]), (batch, batch));
        assert_eq!(view.batch, self.prepared.len() - 1);
        assert_eq!(view.statistics.mean.dims()[0], 1);
        let goal: Vec<f32> = (0..batch)
            .map(|image| self.constant as f32 + view.labels.get(image).map_or(0.0, |&label| label as f32))
            .collect();
        let goal = Tensor::<4>::from_data(TensorData::new(goal, [batch, 1, 1, 1]), &Device::flex());
        let value = (view.canvas.clone() - goal).square().mean() * self.scale;
        let ignored = view.canvas.clone().sum() / 0.0;
        vec![Term { name: "the-goal", weight: 2.0, value }, Term { name: "ignored", weight: 0.0, value: ignored }]
    }

    fn result(&self, canvas: Tensor<4>) -> Tensor<4> {
        canvas.narrow(2, 0, 8)
    }

    fn finish_batch(
        &mut self,
        images: &Tensor<4>,
        _labels: &[u32],
        _observed: &ObservedNetwork,
    ) -> Result<(), SynthError> {
        self.finished.push(images.dims());
        Ok(())
    }
}

struct Setting {
    count: usize,
    batch: usize,
    iterations: usize,
    lr: f64,
    labels: LabelRule,
    keep_best: bool,
    kind: OptimizerKind,
}

/// With the weight 2 of the goal's mean square each step of 48 halves the distance for two images, and removes it for one.
impl Default for Setting {
    fn default() -> Self {
        Self {
            count: 5,
            batch: 2,
            iterations: 40,
            lr: 48.0,
            labels: LabelRule::None,
            keep_best: false,
            kind: OptimizerKind::Sgd,
        }
    }
}

fn run(
    recipe: &mut dyn Recipe,
    setting: &Setting,
    teacher: &Network,
    progress: &mut dyn Progress,
) -> Result<ImageSet, SynthError> {
    let optimizer = OptimizerConfig { kind: setting.kind, lr: setting.lr, ..OptimizerConfig::default() };
    let schedule = ScheduleConfig::Cosine(CosineConfig { warmup: 3 });
    let plan = Plan {
        count: setting.count,
        batch: setting.batch,
        iterations: setting.iterations,
        optimizer: &optimizer,
        schedule: &schedule,
        labels: setting.labels,
        keep_best: setting.keep_best,
    };
    let normalization = normalization();
    optimise(recipe, plan, Request { teacher, normalization: &normalization, seed: 7, real: None, progress })
}

fn made(recipe: &mut dyn Recipe, setting: &Setting) -> ImageSet {
    run(recipe, setting, &small_network(1), &mut NoProgress).unwrap()
}

#[test]
fn the_images_are_the_recipes_minimum() {
    let mut recipe = Toward { extra: 2, ..Toward::new(0.75) };
    let images = made(&mut recipe, &Setting { labels: LabelRule::Balanced, ..Setting::default() });
    let labels = images.labels.clone().unwrap();
    for (index, &label) in labels.iter().enumerate() {
        for value in images.image(index) {
            assert!((value - 0.75 - label as f32).abs() < 0.01, "{value} for class {label}");
        }
    }
    let mut sorted = labels.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    let batches: Vec<Vec<u32>> = labels.chunks(2).map(<[u32]>::to_vec).collect();
    assert_eq!(recipe.prepared, batches.into_iter().enumerate().collect::<Vec<_>>());
    assert_eq!(recipe.finished, [[2, 3, 8, 8], [2, 3, 8, 8], [1, 3, 8, 8]]);
}

#[test]
fn without_iterations_the_images_are_the_start() {
    let images = made(&mut Toward::new(0.0), &Setting { count: 50, iterations: 0, ..Setting::default() });
    assert_eq!(images.labels, None);
    let count = images.pixels.len() as f64;
    let mean = images.pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let var = images.pixels.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count;
    assert!(mean.abs() < 5.0 / count.sqrt() && (var - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{mean} {var}");
    assert_ne!(images.image(0), images.image(2), "each batch has a start of its own");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_each_iteration_its_own_draw() {
    let setting = Setting::default();
    let mut recipe = Toward::new(0.5);
    let images = made(&mut recipe, &setting);
    let mut again = Toward::new(0.5);
    assert_eq!(made(&mut again, &setting), images);
    assert_eq!(recipe.draws, again.draws);
    assert_eq!(recipe.draws.len(), 3 * 40);
    let mut distinct = recipe.draws.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 110, "{}", distinct.len());
}

#[derive(Default)]
struct Heard(Vec<(f64, f64, f64)>);

impl Progress for Heard {
    fn step(&mut self, step: Step<'_>) {
        let names: Vec<&str> = step.scalars.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["loss", "the_goal", "ignored", "lr"]);
        self.0.push((step.scalars[0].1, step.scalars[1].1, step.scalars[3].1));
        assert_eq!((step.iteration, step.total), (self.0.len(), 120));
    }
}

#[test]
fn the_report_has_the_weighted_sum_the_terms_and_the_rate() {
    let mut heard = Heard::default();
    run(&mut Toward::new(0.5), &Setting::default(), &small_network(1), &mut heard).unwrap();
    assert_eq!(heard.0.len(), 120);
    assert!(heard.0.iter().all(|(loss, goal, _)| *loss == 2.0 * goal));
    assert!((heard.0[0].2 - 16.0).abs() < 1e-9 && heard.0[3].2 == 48.0 && heard.0[39].2 < 1.0);
    assert!(heard.0[39].0 < 1e-4 * heard.0[0].0, "the loss falls");
    assert!((heard.0[40].2 - 16.0).abs() < 1e-9, "each batch has a schedule of its own");
}

#[test]
fn the_best_images_are_kept_where_asked() {
    // Gradient descent with a rate at which every step makes the loss larger: the best images are the start.
    let unstable = Setting { lr: 1000.0, iterations: 6, ..Setting::default() };
    let start = made(&mut Toward::new(0.0), &Setting { iterations: 0, ..Setting::default() });
    assert_ne!(made(&mut Toward::new(0.0), &unstable), start);
    assert_eq!(made(&mut Toward::new(0.0), &Setting { keep_best: true, ..unstable }), start);
}

#[test]
fn adam_can_be_chosen() {
    let setting = Setting { kind: OptimizerKind::Adam, lr: 0.01, iterations: 1, ..Setting::default() };
    let start = made(&mut Toward::new(9.0), &Setting { iterations: 0, ..Setting::default() });
    let moved = made(&mut Toward::new(9.0), &setting);
    for (before, after) in start.pixels.iter().zip(&moved.pixels) {
        // The first step of Adam is the learning rate itself: a third of it, while it warms up.
        assert!((after - before - 0.01 / 3.0).abs() < 1e-5, "{before} became {after}");
    }
}

struct Clamped(Toward);

impl Recipe for Clamped {
    fn sampling(&self) -> Sampling {
        SAMPLING
    }

    fn prepare(&mut self, observed: &ObservedNetwork, batch: usize, labels: &[u32]) -> Result<(), SynthError> {
        self.0.prepare(observed, batch, labels)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        self.0.terms(view)
    }

    fn after_step(&self, canvas: Tensor<4>) -> Tensor<4> {
        canvas.clamp(-0.5, 0.25)
    }
}

#[test]
fn after_step_has_the_last_word() {
    let images = made(&mut Clamped(Toward::new(3.0)), &Setting::default());
    assert!(images.pixels.iter().all(|value| *value == 0.25));
}

#[test]
fn a_loss_that_is_no_number_is_an_error() {
    let mut recipe = Toward { scale: f64::INFINITY, ..Toward::new(0.0) };
    let error = run(&mut recipe, &Setting::default(), &small_network(1), &mut NoProgress).unwrap_err();
    assert!(matches!(error, SynthError::NotFinite { iteration: 1, .. }), "{error}");
}

struct Impatient(usize);

impl Progress for Impatient {
    fn step(&mut self, step: Step<'_>) {
        self.0 = step.iteration;
    }

    fn cancelled(&self) -> bool {
        self.0 == 43
    }
}

#[test]
fn it_stops_when_it_is_told_to() {
    let mut progress = Impatient(0);
    let result = run(&mut Toward::new(0.0), &Setting::default(), &small_network(1), &mut progress);
    assert_eq!((result, progress.0), (Err(SynthError::Cancelled), 43));
}

#[test]
fn a_network_without_batch_norm_is_refused() {
    let error = run(&mut Toward::new(0.0), &Setting::default(), &plain_network(), &mut NoProgress).unwrap_err();
    assert_eq!(error, SynthError::NoBatchNorm { network: "plain".to_owned() });
}

#[test]
fn the_features_are_what_the_last_linear_layer_reads() {
    let network = small_network(1);
    let observed = ObservedNetwork::new(&network, true).unwrap();
    let seen = look(&observed, images(4, 3), SAMPLING);
    assert_eq!(seen.features.dims(), [4, 5]);
    let linear = network.nodes().iter().find(|node| node.name == "linear").unwrap();
    let blindfold_zoo::Layer::Linear(linear) = &linear.layer else { panic!("`linear` is a linear layer") };
    let bias = linear.bias.as_ref().unwrap().val();
    let logits = seen.features.matmul(linear.weight.val().transpose()) + bias.unsqueeze();
    for (found, expected) in host(&logits).iter().zip(host(&seen.logits)) {
        assert!((found - expected).abs() < 1e-5);
    }
    let smooth = ObservedNetwork::new(&smooth_network(), true).unwrap();
    let seen = look(&smooth, images(4, 3), SAMPLING);
    assert_eq!(host(&seen.features), host(&seen.logits), "without a linear layer they are the logits");
}
