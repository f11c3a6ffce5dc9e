//! Unit after unit.

use std::collections::BTreeSet;

use blindfold_zoo::{ConfigError, Network, NoTap, Stream, stream};
use burn::tensor::Tensor;

use super::flow::{CHUNK, Flow};
use super::task::Task;
use super::units::{Stretch, units};
use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::step::FitRequest;

/// How a unit is fitted.
pub(super) trait Method {
    /// What is fitted together.
    fn stretch(&self) -> Stretch;

    /// Whether it compares the network's logits.
    fn needs_logits(&self) -> bool {
        false
    }

    /// Whether it chooses between neighbouring integers, and so leaves weights of other formats as they are.
    fn rounds_integers(&self) -> bool {
        false
    }

    /// The student with the unit fitted.
    ///
    /// # Errors
    /// [`QuantError::Cancelled`]; the codecs' own.
    fn fit(&self, task: &Task<'_>, random: &mut Stream) -> Result<Fitted, QuantError>;
}

/// What came of a unit.
pub(super) struct Fitted {
    /// The student, all roundings hard.
    pub(super) student: QuantizedNetwork,
    /// The unit's error with what was learned before it was rounded; see [`Task::error`].
    pub(super) soft: f64,
}

/// Fits all units in topological order, each on what the student as fitted so far passes to it.
///
/// A unit whose error is above that of the student as it came (nearest rounding, calibrated activations) stays as it
/// came. After each unit the errors are told: `fit/<step>/<unit>/before`, `soft`, `hard` (of what is kept), and
/// `rejected` where the fitted unit was worse and so not kept; `diverged` where it went beyond what numbers hold.
///
/// # Errors
/// [`QuantError::Config`] where no weight has the integers that the method chooses among;
/// [`QuantError::NoImages`], [`QuantError::Cancelled`]; [`QuantError::NotFinite`] with the unit for a network whose
/// outputs are not finite; the methods' own, with the unit.
pub(super) fn reconstruct(
    step: &str,
    method: &dyn Method,
    request: FitRequest<'_>,
    student: QuantizedNetwork,
) -> Result<QuantizedNetwork, QuantError> {
    let FitRequest { teacher, images, seed, progress } = request;
    let images = images.clone().inner();
    if images.dims()[0] == 0 {
        return Err(QuantError::NoImages);
    }
    let (done, mut student) = match progress.resume() {
        Some((done, state)) => (done, student.with_state(state)?),
        None => (0, student),
    };
    let layers = student.weight_tensors()?;
    if method.rounds_integers() && !layers.is_empty() && layers.iter().all(|layer| layer.codec.uniform().is_none()) {
        let fix = format!(
            "`{step}` learns how integers are rounded: leave `format` out, or fit with `admm`, which takes any"
        );
        return Err(ConfigError::invalid("quant.weight.format", "a format without integers", fix).into());
    }
    let units = units(&student.network, method.stretch());
    let logits = method.needs_logits().then(|| logits(teacher, &images));
    let mut float = Flow::new(teacher, &images, &mut NoTap);
    let mut quantized = Flow::new(&student.network, &images, &mut student.tap());
    for (index, unit) in units.iter().enumerate() {
        let reads = teacher.reads_of(unit.nodes.clone());
        let float_inputs = float.at(&reads);
        let target = float.advance(teacher, unit, &mut NoTap);
        if index >= done {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let names: BTreeSet<&str> = unit.nodes.clone().map(|id| teacher.node(id).name.as_str()).collect();
            let task = Task {
                unit,
                teacher,
                student: &student,
                layers: layers.iter().filter(|layer: &&LayerWeight| names.contains(layer.name.as_str())).collect(),
                inputs: quantized.at(&reads),
                float_inputs,
                passing: quantized.at(&passing(teacher, unit.nodes.start, unit.nodes.end)),
                target,
                logits: logits.clone(),
                progress: &*progress,
            };
            let before = task.error_of(&student);
            if !before.is_finite() {
                let value = before as f32;
                return Err(QuantError::NotFinite { index: 0, count: 1, value }.at(&unit.name));
            }
            let mut random = stream(seed, &format!("reconstruct {}", unit.name));
            let (fitted, lost) = match method.fit(&task, &mut random) {
                Err(error) if diverged(&error) => (Fitted { student: student.clone(), soft: f64::NAN }, true),
                fitted => (fitted.map_err(|error| error.at(&unit.name))?, false),
            };
            let hard = task.error_of(&fitted.student);
            drop(task);
            let better = hard <= before;
            let key = |what: &str| format!("fit/{step}/{}/{what}", unit.name);
            let mut values = vec![(key("before"), before), (key("soft"), fitted.soft)];
            if !better {
                values.push((key("rejected"), hard));
            }
            if lost {
                values.push((key("diverged"), 1.0));
            }
            values.push((key("hard"), if better { hard } else { before }));
            if better {
                student = fitted.student;
            }
            values.retain(|(_, value)| value.is_finite());
            progress.unit(index + 1, units.len(), &values);
            progress.checkpoint(index + 1, &student)?;
        }
        quantized.advance(&student.network, unit, &mut student.tap());
    }
    Ok(student)
}

/// Whether a fit went beyond what numbers hold: the unit then stays as it came.
fn diverged(error: &QuantError) -> bool {
    match error {
        QuantError::Grid(_) | QuantError::NotFinite { .. } => true,
        QuantError::At { source, .. } => diverged(source),
        _ => false,
    }
}

/// The nodes before a unit that nodes after it read.
fn passing(network: &Network, start: usize, end: usize) -> Vec<usize> {
    if end == network.nodes().len() {
        return Vec::new();
    }
    network.reads_of(end..network.nodes().len()).into_iter().filter(|&id| id < start).collect()
}

/// The logits of all images.
fn logits(network: &Network, images: &Tensor<4>) -> Tensor<2> {
    let count = images.dims()[0];
    let parts = (0..count).step_by(CHUNK).map(|start| {
        let length = CHUNK.min(count - start);
        network.forward(images.clone().narrow(0, start, length)).inner()
    });
    Tensor::cat(parts.collect(), 0)
}
