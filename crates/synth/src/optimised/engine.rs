//! The loop that every optimised image source runs.

use blindfold_zoo::{Layer, Network, NodeId, Site, Tap, Taps, stream};
use burn::tensor::{Device, Tensor, TensorData};

use super::labels::LabelRule;
use super::recipe::{Recipe, Term, View};
use super::schedule::ScheduleConfig;
use crate::bn::{ObservedNetwork, Sampling, Statistics, StatisticsTap};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};
use crate::optimizer::{Canvas, OptimizerConfig};
use crate::progress::{Progress, Step};
use crate::source::Request;

/// How many images, in which batches, how long, with which optimizer and schedule, for which classes.
pub(crate) struct Plan<'a> {
    /// Number of images.
    pub(crate) count: usize,
    /// How many are optimised together; the last batch may be smaller.
    pub(crate) batch: usize,
    /// Steps of the optimizer for each batch.
    pub(crate) iterations: usize,
    /// The optimizer; each batch has its own.
    pub(crate) optimizer: &'a OptimizerConfig,
    /// How its learning rate moves.
    pub(crate) schedule: &'a ScheduleConfig,
    /// How classes are chosen.
    pub(crate) labels: LabelRule,
    /// Give the images at which a batch had its lowest loss, and not those of the last step.
    pub(crate) keep_best: bool,
}

/// Optimises all batches of a plan, one after the other.
///
/// ```text
/// x_{t+1} = after_step( optimizer( x_t, d/dx sum_k weight_k * term_k(transform(x_t)) ) )
/// ```
/// The labels are those of the image set, unless there are none. Random numbers follow from the seed and the numbers of
/// batch and iteration. The teacher's statistics are read with its batch norms folded where that loses nothing.
///
/// # Errors
/// [`SynthError::NoBatchNorm`], [`SynthError::NotFinite`], [`SynthError::Cancelled`], and the recipe's own.
pub(crate) fn optimise(recipe: &mut dyn Recipe, plan: Plan<'_>, request: Request<'_>) -> Result<ImageSet, SynthError> {
    let observed = ObservedNetwork::new(request.teacher, true)?;
    let shape = request.teacher.input_shape();
    let labels = plan.labels.draw(plan.count, request.teacher.classes(), request.seed);
    let size = plan.batch.max(1);
    let total = plan.count.div_ceil(size) * plan.iterations;
    let mut run = Run { observed: &observed, plan: &plan, seed: request.seed, total, progress: request.progress };
    let mut pixels = Vec::with_capacity(plan.count * shape.iter().product::<usize>());
    for (batch, first) in (0..plan.count).step_by(size).enumerate() {
        let count = size.min(plan.count - first);
        let own = labels.get(first..first + count).unwrap_or_default();
        let images = run.batch(recipe, batch, count, own)?;
        debug_assert_eq!(images.dims(), [count, shape[0], shape[1], shape[2]]);
        recipe.finish_batch(&images, own, &observed)?;
        pixels.extend(images.into_data().iter::<f32>());
    }
    let labels = (plan.labels != LabelRule::None).then_some(labels);
    ImageSet::new(shape, pixels, labels, Origin::Synthetic)
}

/// What a teacher makes of images.
pub(crate) struct Look {
    /// `[batch, classes]`.
    pub(crate) logits: Tensor<2>,
    /// Of the batch norms' inputs.
    pub(crate) statistics: Statistics,
    /// Input of the last linear layer, `[batch, features]`; the logits where there is none.
    pub(crate) features: Tensor<2>,
}

/// Runs the watched teacher on images; gradients flow to them.
pub(crate) fn look(observed: &ObservedNetwork, images: Tensor<4>, sampling: Sampling) -> Look {
    let network = observed.network();
    let mut statistics = StatisticsTap::new(observed, sampling);
    let mut features = LastFeatures::new(network);
    let logits = network.run(images, &mut Taps(vec![&mut statistics, &mut features]));
    let statistics =
        statistics.statistics().expect("the run above has passed every batch norm of the network that is watched");
    let features = features.seen.unwrap_or_else(|| logits.clone());
    Look { logits, statistics, features }
}

/// Keeps the input of the last linear layer.
struct LastFeatures {
    node: Option<NodeId>,
    seen: Option<Tensor<2>>,
}

impl LastFeatures {
    fn new(network: &Network) -> Self {
        let node = network.nodes().iter().rposition(|node| matches!(node.layer, Layer::Linear(_)));
        Self { node, seen: None }
    }
}

impl Tap for LastFeatures {
    fn input(&mut self, site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        if self.node == Some(site.id) {
            let [batch, channels, height, width] = input.dims();
            self.seen = Some(input.clone().reshape([batch, channels * height * width]));
        }
        input
    }
}

/// What all batches of a synthesis share.
struct Run<'a> {
    observed: &'a ObservedNetwork,
    plan: &'a Plan<'a>,
    seed: u64,
    /// Iterations of all batches together.
    total: usize,
    progress: &'a mut dyn Progress,
}

impl Run<'_> {
    fn batch(
        &mut self,
        recipe: &mut dyn Recipe,
        batch: usize,
        count: usize,
        labels: &[u32],
    ) -> Result<Tensor<4>, SynthError> {
        let (plan, seed) = (self.plan, self.seed);
        recipe.prepare(self.observed, batch, labels)?;
        let [channels, height, width] = recipe.canvas_shape(self.observed.network().input_shape());
        let shape = [count, channels, height, width];
        let values = recipe.start(shape, &mut stream(seed, &format!("optimised start/{batch}")));
        let device: Device = self.observed.network().device().without_autodiff();
        let mut canvas = Canvas::new(Tensor::from_data(TensorData::new(values, shape), &device), plan.optimizer);
        let mut schedule = plan.schedule.begin(plan.optimizer.lr, plan.iterations);
        let mut best: Option<(f64, Tensor<4>)> = None;
        for iteration in 0..plan.iterations {
            if self.progress.cancelled() {
                return Err(SynthError::Cancelled);
            }
            let images = canvas.images();
            let leaf = images.clone().autodiff().require_grad();
            let mut random = stream(seed, &format!("optimised transform/{batch}/{iteration}"));
            let shown = recipe.transform(leaf.clone(), &mut random, iteration);
            let Look { logits, statistics, features } = look(self.observed, shown.clone(), recipe.sampling());
            let terms = recipe.terms(&View {
                canvas: leaf.clone(),
                shown,
                logits,
                statistics: &statistics,
                features,
                labels,
                batch,
            });
            let gradient = gradient(&terms, &leaf);
            let values: Vec<f64> = terms.iter().map(value).collect();
            let weighted = terms.iter().zip(&values).filter(|(term, _)| term.weight != 0.0);
            let loss: f64 = weighted.map(|(term, value)| term.weight * value).sum();
            if !loss.is_finite() {
                return Err(SynthError::NotFinite { loss, iteration: iteration + 1 });
            }
            if plan.keep_best && best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, images));
            }
            let lr = schedule.lr();
            canvas = canvas.step(lr, gradient);
            let moved = recipe.after_step(canvas.images());
            canvas = canvas.with_images(moved);
            schedule.step(loss);
            self.report(batch * plan.iterations + iteration + 1, (loss, lr), &recipe.names(&terms), &values);
        }
        Ok(recipe.result(best.map_or_else(|| canvas.images(), |(_, images)| images)))
    }

    fn report(&mut self, iteration: usize, (loss, lr): (f64, f64), names: &[String], values: &[f64]) {
        let mut scalars = vec![("loss", loss)];
        scalars.extend(names.iter().map(String::as_str).zip(values.iter().copied()));
        scalars.push(("lr", lr));
        self.progress.step(Step { iteration, total: self.total, scalars: &scalars });
    }
}

/// The gradient of the weighted sum, on the plain device.
fn gradient(terms: &[Term], leaf: &Tensor<4>) -> Tensor<4> {
    let weighted = terms.iter().filter(|term| term.weight != 0.0);
    let total = weighted.map(|term| term.value.clone() * term.weight).reduce(|sum, term| sum + term);
    total
        .filter(Tensor::is_tracked)
        .and_then(|total| leaf.grad_remove(&mut total.backward()))
        .unwrap_or_else(|| leaf.clone().without_autodiff().zeros_like())
}

fn value(term: &Term) -> f64 {
    f64::from(term.value.clone().into_scalar::<f32>())
}
