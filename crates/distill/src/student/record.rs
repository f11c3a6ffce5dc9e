//! What a step of the student's training reports.

use serde::Serialize;

/// What one step did; all values are from before its update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// The step, from 0, counted through both phases.
    pub step: usize,
    /// Epochs of training before this step; 0 throughout the range warm-up.
    pub epoch: usize,
    /// What the step was for.
    pub phase: Phase,
    /// Each loss that is on in this epoch; empty in the range warm-up.
    pub losses: Vec<LossValue>,
    /// Sum of the weighted losses, which is what the step minimises; 0 in the range warm-up.
    pub total: f64,
    /// Learning rate of the update; 0 in the range warm-up.
    pub lr: f64,
    /// Share of the batch's images for which student and teacher find the same class most likely; none in the range warm-up.
    pub agreement: Option<f64>,
    /// Share of the integer weights that the update changed; none in steps that did not measure it (`log_every`).
    pub changed_weights: Option<f64>,
    /// Mean over the quantized weight tensors of what inundation multiplied the update by; none without inundation.
    pub inundation: Option<f64>,
    /// The generator's losses by name, unweighted; empty in steps in which no generator moved.
    pub generator: Vec<(String, f64)>,
}

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Collects the ranges of activations; updates no student, but a generator where one makes the images.
    RangeWarmup,
    /// Updates the student.
    Training,
}

/// The value of one loss on one batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossValue {
    /// The loss's name, with `-2`, `-3` from its second use on.
    pub name: String,
    /// As the loss gives it.
    pub raw: f64,
    /// Times its weight in this epoch.
    pub weighted: f64,
    /// Euclidean norm of the gradient of the unweighted loss over all parameters of the student's network; none in steps that
    /// did not measure it (`gradient_norms_every`).
    pub gradient_norm: Option<f64>,
}
