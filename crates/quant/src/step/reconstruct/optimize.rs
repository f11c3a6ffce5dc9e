//! Fitting a unit by gradient.

use std::collections::BTreeMap;

use blindfold_zoo::{FeatureTap, NoTap, NodeId, Stream, Taps};
use burn::tensor::{Int, Tensor, TensorData};

use super::dropout::Dropout;
use super::engine::{Fitted, Method};
use super::flow::select;
use super::goal::Goal;
use super::learned_step::LearnedStep;
use super::loss::{indecision, log_distribution, prediction_difference, reconstruction};
use super::schedule::cosine;
use super::settings::{Prediction, Settings};
use super::soft_tap::SoftTap;
use super::soft_weight::{Leaves, SoftWeight};
use super::task::Task;
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;

impl Method for Settings {
    fn stretch(&self) -> Stretch {
        self.stretch
    }

    fn needs_logits(&self) -> bool {
        self.prediction.is_some()
    }

    fn rounds_integers(&self) -> bool {
        self.rounding.is_some()
    }

    fn fit(&self, task: &Task<'_>, random: &mut Stream) -> Result<Fitted, QuantError> {
        let mut learned = Learned::new(self, task)?;
        if learned.weights.is_empty() && learned.steps.is_empty() {
            return Ok(Fitted { student: task.student.clone(), soft: task.error_of(task.student) });
        }
        let goal = match &self.correction {
            Some(correction) => correction.goal(task)?,
            None => Goal::of(task),
        };
        let prediction = self.prediction.as_ref().and_then(|prediction| Outlook::new(prediction, task));
        for iteration in 0..self.iterations {
            if task.progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            learned.iterate(self, task, &goal, prediction.as_ref(), random, iteration);
        }
        Ok(Fitted { soft: learned.soft_error(task), student: learned.harden(task.student)? })
    }
}

/// All that is learned of a unit.
struct Learned<'a> {
    weights: Vec<SoftWeight<'a>>,
    /// Weights that are quantized and not learned.
    fixed: BTreeMap<String, Tensor<4>>,
    steps: Vec<LearnedStep>,
}

impl<'a> Learned<'a> {
    fn new(settings: &Settings, task: &'a Task<'_>) -> Result<Self, QuantError> {
        let device = task.device();
        let (mut weights, mut fixed, mut steps) = (Vec::new(), BTreeMap::new(), Vec::new());
        for layer in &task.layers {
            let rounding = settings.rounding.as_ref();
            match rounding.and_then(|rounding| SoftWeight::new(layer, &device, rounding.step_lr.is_some())) {
                Some(weight) => weights.push(weight),
                None => {
                    let values = layer.quantized()?;
                    fixed.insert(layer.name.clone(), Tensor::from_data(TensorData::new(values, layer.shape), &device));
                }
            }
        }
        if settings.activation_lr.is_some() {
            for node in &task.student.network.nodes()[task.unit.nodes.clone()] {
                let codec = task.student.activations.get(&node.name);
                let grid = codec.and_then(|codec| codec.uniform());
                steps.extend(grid.and_then(|grid| LearnedStep::new(&node.name, grid, &device)));
            }
        }
        Ok(Self { weights, fixed, steps })
    }

    /// One step of the optimizer on one batch.
    fn iterate(
        &mut self,
        settings: &Settings,
        task: &Task<'_>,
        goal: &Goal,
        prediction: Option<&Outlook<'_>>,
        random: &mut Stream,
        iteration: usize,
    ) {
        let batch = task.draw(random, settings.batch);
        let inputs = mixed_inputs(task, goal, &batch, random, settings.drop);
        let weight_leaves: Vec<Leaves> = self.weights.iter().map(SoftWeight::leaves).collect();
        let step_leaves: Vec<Tensor<4>> = self.steps.iter().map(LearnedStep::leaf).collect();
        let (tensors, shares) = self.soft_weights(&weight_leaves);
        let mut features = FeatureTap::new(prediction.iter().flat_map(|outlook| outlook.names()));
        let output = {
            let steps = self.steps.iter().zip(step_leaves.iter().cloned()).collect();
            let mut soft = SoftTap::new(task.student, tensors, steps, Dropout::new(&mut *random, settings.drop));
            let mut taps = Taps(vec![&mut soft, &mut features]);
            task.student.network.run_stretch(task.unit.nodes.clone(), inputs, &mut taps)
        };
        let mut loss = reconstruction(output.clone(), select(&goal.target, &batch), settings.exponent);
        if let Some(outlook) = prediction {
            loss = loss + outlook.loss(task, output, features, &batch);
        }
        let rounding = settings.rounding.as_ref();
        if let Some(rounding) = rounding
            && let Some(beta) = rounding.annealing.beta(iteration, settings.iterations)
        {
            for share in shares {
                loss = loss + indecision(share, beta) * rounding.lambda;
            }
        }
        if !loss.is_tracked() {
            return;
        }
        let mut gradients = loss.backward();
        let falling = cosine(iteration, settings.iterations);
        if let Some(rounding) = rounding {
            let step_lr = rounding.step_lr.unwrap_or(0.0) * falling;
            for (weight, leaves) in self.weights.iter_mut().zip(&weight_leaves) {
                weight.descend(leaves, &mut gradients, rounding.lr, step_lr);
            }
        }
        let step_lr = settings.activation_lr.unwrap_or(0.0) * falling;
        for (step, leaf) in self.steps.iter_mut().zip(&step_leaves) {
            step.descend(leaf, &mut gradients, step_lr);
        }
    }

    /// All weights by name, soft ones where they are learned, and the `h` of those.
    fn soft_weights(&self, leaves: &[Leaves]) -> (BTreeMap<String, Tensor<4>>, Vec<Tensor<4>>) {
        let (mut tensors, mut shares) = (self.fixed.clone(), Vec::new());
        for (weight, leaves) in self.weights.iter().zip(leaves) {
            let (tensor, share) = weight.soft(leaves);
            tensors.insert(weight.name().to_owned(), tensor);
            shares.push(share);
        }
        (tensors, shares)
    }

    /// The unit's error with soft roundings, nothing dropped.
    fn soft_error(&self, task: &Task<'_>) -> f64 {
        let leaves: Vec<Leaves> = self.weights.iter().map(SoftWeight::values).collect();
        let steps = self.steps.iter().map(|step| (step, step.value())).collect();
        let mut soft = SoftTap::new(task.student, self.soft_weights(&leaves).0, steps, None);
        task.error(&task.student.network, &mut soft)
    }

    /// The student with what was learned, rounded.
    fn harden(&self, student: &QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let mut student = student.clone();
        for weight in &self.weights {
            let (values, codec) = weight.hard().map_err(|error| error.at(weight.name()))?;
            student = student.with_layer_weight(weight.name(), values, codec)?;
        }
        for step in &self.steps {
            let codec = step.codec().map_err(|error| error.at(step.name()))?;
            student.activations.insert(step.name().to_owned(), codec);
        }
        Ok(student)
    }
}

/// What the unit reads for a batch: the student's values, each replaced by the goal's with the probability `drop`.
fn mixed_inputs(
    task: &Task<'_>,
    goal: &Goal,
    batch: &Tensor<1, Int>,
    random: &mut Stream,
    drop: f64,
) -> Vec<(NodeId, Tensor<4>)> {
    let mut dropout = Dropout::new(random, drop);
    task.inputs
        .iter()
        .zip(&goal.inputs)
        .map(|((id, student), (_, teacher))| {
            let mut value = select(student, batch);
            if let Some(dropout) = &mut dropout {
                value = dropout.mix(value, select(teacher, batch));
            }
            (*id, value.autodiff())
        })
        .collect()
}

/// What becomes of a unit's output in the rest of the network, in floating point.
pub(super) struct Outlook<'a> {
    settings: &'a Prediction,
    /// The teacher's distributions of all images, as logarithms.
    teacher: Tensor<2>,
    /// The nodes of the unit that nodes after it read, with their names.
    read: Vec<(NodeId, String)>,
}

impl<'a> Outlook<'a> {
    /// None where the task has no logits.
    pub(super) fn new(settings: &'a Prediction, task: &Task<'_>) -> Option<Self> {
        let teacher = log_distribution(task.logits.clone()?, settings.temperature);
        let named = |id: NodeId| (id, task.teacher.node(id).name.clone());
        let read = task.unit.outputs(task.teacher).into_iter().map(named).collect();
        Some(Self { settings, teacher, read })
    }

    /// The nodes whose outputs [`Self::loss`] wants.
    pub(super) fn names(&self) -> Vec<String> {
        self.read.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The weighted loss of a batch, from the unit's output and those of its nodes that later ones read.
    pub(super) fn loss(
        &self,
        task: &Task<'_>,
        output: Tensor<4>,
        mut features: FeatureTap,
        batch: &Tensor<1, Int>,
    ) -> Tensor<1> {
        let (end, count) = (task.unit.nodes.end, task.teacher.nodes().len());
        let logits = if end == count {
            output
        } else {
            let passing = task.passing.iter().map(|(id, value)| (*id, select(value, batch).autodiff()));
            let own = self.read.iter().filter_map(|(id, name)| Some((*id, features.features.remove(name)?)));
            let known = passing.chain(own).collect();
            task.teacher.run_stretch(end..count, known, &mut NoTap)
        };
        let [images, classes, height, width] = logits.dims();
        let student = log_distribution(logits.reshape([images, classes * height * width]), self.settings.temperature);
        prediction_difference(student, select(&self.teacher, batch)) * self.settings.weight
    }
}
