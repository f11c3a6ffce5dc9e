//! One unit with everything that it is fitted on.

use blindfold_zoo::{Network, NodeId, Stream, Tap};
use burn::tensor::{Device, Int, Tensor};
use rand::seq::index::sample;

use super::flow::{CHUNK, chunk_of, indices_of};
use super::units::Unit;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::step::FitProgress;

/// A unit, its layers, and the values of all images around it, on the plain device.
pub(super) struct Task<'a> {
    /// The unit.
    pub(super) unit: &'a Unit,
    /// The same graph in floating point.
    pub(super) teacher: &'a Network,
    /// The student with the units before fitted.
    pub(super) student: &'a QuantizedNetwork,
    /// The quantized weights of the unit.
    pub(super) layers: Vec<&'a LayerWeight>,
    /// What the unit reads in the student.
    pub(super) inputs: Vec<(NodeId, Tensor<4>)>,
    /// What it reads in the teacher.
    pub(super) float_inputs: Vec<(NodeId, Tensor<4>)>,
    /// What nodes after the unit read of nodes before it, in the student.
    pub(super) passing: Vec<(NodeId, Tensor<4>)>,
    /// What it puts out in the teacher.
    pub(super) target: Tensor<4>,
    /// The teacher's logits `[image, class]`, for methods that ask for them.
    pub(super) logits: Option<Tensor<2>>,
    /// Whether the user wants to stop.
    pub(super) progress: &'a dyn FitProgress,
}

impl Task<'_> {
    /// The device of all values.
    pub(super) fn device(&self) -> Device {
        self.target.device()
    }

    /// The indices of a batch of distinct images; all images where there are no more.
    pub(super) fn draw(&self, random: &mut Stream, batch: usize) -> Tensor<1, Int> {
        let count = self.target.dims()[0];
        indices_of(&sample(random, count, batch.min(count)).into_vec(), &self.target)
    }

    /// The unit's mean squared error for each value of its output, over all images.
    ///
    /// ```text
    /// E = (1 / (N C H W)) sum (y - y*)^2
    /// ```
    pub(super) fn error(&self, network: &Network, tap: &mut dyn Tap) -> f64 {
        let [count, channels, height, width] = self.target.dims();
        let mut sum = 0.0;
        for start in (0..count).step_by(CHUNK) {
            let length = CHUNK.min(count - start);
            let known = chunk_of(&self.inputs, start, length);
            let output = network.run_stretch(self.unit.nodes.clone(), known, tap).inner();
            let difference = output - self.target.clone().narrow(0, start, length);
            sum += f64::from((difference.clone() * difference).sum().into_scalar::<f32>());
        }
        sum / (count * channels * height * width) as f64
    }

    /// That error of a student as it is, all roundings hard.
    pub(super) fn error_of(&self, student: &QuantizedNetwork) -> f64 {
        self.error(&student.network, &mut student.tap())
    }
}
