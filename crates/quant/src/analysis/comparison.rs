//! A quantized network beside its teacher, on images.

use blindfold_zoo::{Network, Node};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::logits::{LogitError, Logits};
use super::modes::{Selection, SelectiveTap};
use crate::error::QuantError;
use crate::host::is_host;
use crate::network::QuantizedNetwork;
use crate::samples::host_values;
use crate::step::FitProgress;

/// A quantized network beside its teacher, on images: what every table of the error analysis is measured with.
///
/// The networks run a batch of images at a time; on the host several runs at once, without a change to any result.
pub struct Comparison<'a> {
    pub(crate) student: &'a QuantizedNetwork,
    pub(super) quantized: Network,
    pub(super) teacher: Network,
    pixels: Vec<f32>,
    shape: [usize; 4],
    batch: usize,
    answers: Logits,
}

impl<'a> Comparison<'a> {
    /// A student and the teacher of the same graph: rewritten by the same passes, batch norms folded where the plan
    /// folds them.
    ///
    /// # Shapes
    /// - images: `[image, channel, height, width]`; `batch` of them run together
    ///
    /// # Errors
    /// [`QuantError::NoImages`]; [`QuantError::OtherNetwork`] names the first node of the student that the teacher does
    /// not have at that place; [`QuantError::NotFinite`] for weights and logits of either that are NaN or infinite.
    pub fn new(
        student: &'a QuantizedNetwork,
        teacher: &Network,
        images: Tensor<4>,
        batch: usize,
    ) -> Result<Self, QuantError> {
        let shape = images.dims();
        if shape[0] == 0 {
            return Err(QuantError::NoImages);
        }
        let (quantized, teacher) = (student.network.clone().frozen(), teacher.clone().frozen());
        if let Some(node) = first_difference(&quantized, &teacher) {
            return Err(QuantError::OtherNetwork { network: teacher.name().to_owned(), missing: vec![node] });
        }
        student.weight_tensors()?;
        let (pixels, batch) = (host_values(images), batch.max(1));
        let answers = Logits::new(Vec::new(), shape[0])?;
        let mut comparison = Self { student, quantized, teacher, pixels, shape, batch, answers };
        comparison.answers = comparison.logits(Selection::NOTHING)?;
        Ok(comparison)
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.shape[0]
    }

    /// The distance from the teacher's logits when these tensors are quantized and no others.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] for logits that are NaN or infinite; those of dynamic ranges.
    pub fn error(&self, selection: Selection<'_>) -> Result<LogitError, QuantError> {
        Ok(self.answers.distance(&self.logits(selection)?))
    }

    /// [`Self::error`] of each selection, in order.
    pub(super) fn errors(
        &self,
        selections: &[Selection<'_>],
        progress: &mut dyn FitProgress,
    ) -> Result<Vec<LogitError>, QuantError> {
        let at_once = if is_host(&self.teacher.device()) { rayon::current_num_threads() } else { 1 };
        let mut errors: Vec<LogitError> = Vec::with_capacity(selections.len());
        for part in selections.chunks(at_once.max(1)) {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let found: Result<Vec<LogitError>, QuantError> =
                part.par_iter().map(|&selection| self.error(selection)).collect();
            errors.extend(found?);
            progress.unit(errors.len(), selections.len(), &[]);
        }
        Ok(errors)
    }

    fn logits(&self, selection: Selection<'_>) -> Result<Logits, QuantError> {
        let network = self.network(selection);
        let mut values: Vec<f32> = Vec::new();
        for images in self.batches() {
            let mut tap = SelectiveTap::new(self.student, selection);
            let logits = network.run(images, &mut tap);
            tap.finish()?;
            values.extend(logits.into_data().iter::<f32>());
        }
        Logits::new(values, self.shape[0])
    }

    /// The network to run for a selection.
    pub(super) fn network(&self, selection: Selection<'_>) -> Network {
        selection.network(&self.teacher, &self.quantized)
    }

    /// All images, a batch at a time.
    pub(super) fn batches(&self) -> impl Iterator<Item = Tensor<4>> {
        let [count, channels, height, width] = self.shape;
        let (size, device) = (channels * height * width, self.teacher.device());
        (0..count).step_by(self.batch).map(move |first| {
            let last = (first + self.batch).min(count);
            let values = self.pixels[first * size..last * size].to_vec();
            Tensor::from_data(TensorData::new(values, [last - first, channels, height, width]), &device)
        })
    }
}

/// The first node at which the graphs, or the shapes of their weights, are not the same.
fn first_difference(student: &Network, teacher: &Network) -> Option<String> {
    let shape = |node: &Node| node.layer.weight().map(|weight| weight.dims());
    let same = |a: &Node, b: &Node| {
        a.name == b.name && a.inputs == b.inputs && a.layer.kind() == b.layer.kind() && shape(a) == shape(b)
    };
    let (own, other) = (student.nodes(), teacher.nodes());
    let differing = own.iter().enumerate().find(|(id, node)| other.get(*id).is_none_or(|found| !same(node, found)));
    match differing {
        Some((_, node)) => Some(node.name.clone()),
        None => (own.len() != other.len()).then(|| student.node(student.output()).name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, plain, small};

    fn student(network: Network, protocol: Protocol) -> QuantizedNetwork {
        let config = QuantConfig {
            protocol,
            weight_bits: Precision::Int(3),
            activation_bits: Precision::Int(3),
            ..Default::default()
        };
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 8, 2);
        QuantizedNetwork::calibrate(network, plan, std::iter::once(batch)).unwrap()
    }

    #[test]
    fn errors_do_not_depend_on_the_batch() {
        let network = small(3);
        let student = student(network.clone(), Protocol::Gdfq);
        let x = images(&network, 7, 4);
        let error = |batch: usize| {
            Comparison::new(&student, &network, x.clone(), batch).unwrap().error(Selection::BOTH).unwrap()
        };
        let (whole, parts) = (error(7), error(3));
        assert!(whole.kl > 0.0 && whole.mse > 0.0);
        assert!((whole.kl - parts.kl).abs() < 1e-5 * whole.kl && whole.agreement == parts.agreement);
    }

    #[test]
    fn another_teacher_and_broken_weights_are_errors() {
        let network = small(3);
        let folded = student(network.clone(), Protocol::Brecq);
        let x = images(&network, 2, 4);
        let refused =
            |student: &QuantizedNetwork, teacher: &Network| match Comparison::new(student, teacher, x.clone(), 2) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
        assert!(refused(&folded, &network).contains("relu1"), "a teacher whose batch norms are not folded");
        assert!(refused(&folded, &plain(1)).contains("conv1"));
        let broken = network.clone().map_layers(|name, layer| match layer.weight() {
            Some(weight) if name == "layer1.0.conv1" => layer.with_weight(weight * f32::NAN),
            _ => layer,
        });
        let diverged = student(network.clone(), Protocol::Gdfq).with_network(broken);
        assert!(refused(&diverged, &network).starts_with("`layer1.0.conv1`: value 0 of"));
        let none = Tensor::<4>::from_data(TensorData::new(Vec::<f32>::new(), [0, 3, 12, 12]), &network.device());
        assert!(matches!(Comparison::new(&folded, &network, none, 2), Err(QuantError::NoImages)));
    }
}
