//! What stands for weights and activations while a unit is fitted.

use std::collections::BTreeMap;

use blindfold_zoo::{Site, Stream, Tap};
use burn::tensor::{Tensor, TensorData};

use super::dropout::Dropout;
use super::learned_step::LearnedStep;
use crate::network::{FakeQuantTap, QuantizedNetwork};

/// The student's fake quantization, with weights and activation steps that are being learned in the place of its own.
pub(super) struct SoftTap<'a> {
    student: &'a QuantizedNetwork,
    quantization: FakeQuantTap<'a>,
    weights: BTreeMap<String, Tensor<4>>,
    steps: Vec<(&'a LearnedStep, Tensor<4>)>,
    dropout: Option<Dropout<&'a mut Stream>>,
}

impl<'a> SoftTap<'a> {
    /// `weights` replace those of the layers of their names, `steps` those of their sites; with `dropout` quantized
    /// activations pass in floating point now and then.
    pub(super) fn new(
        student: &'a QuantizedNetwork,
        weights: BTreeMap<String, Tensor<4>>,
        steps: Vec<(&'a LearnedStep, Tensor<4>)>,
        dropout: Option<Dropout<&'a mut Stream>>,
    ) -> Self {
        Self { student, quantization: student.tap(), weights, steps, dropout }
    }

    fn quantizes(&self, name: &str) -> bool {
        let dynamic = || self.student.plan.activation(name).is_some_and(|target| target.dynamic.is_some());
        self.student.activations.contains_key(name) || self.student.is_calibrated() && dynamic()
    }
}

impl Tap for SoftTap<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        match self.weights.get(&site.node.name) {
            Some(learned) => learned.clone(),
            None => self.quantization.weight(site, weight),
        }
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        let name = &site.node.name;
        if !self.quantizes(name) {
            return output;
        }
        let (shape, device) = (output.dims(), output.device().inner());
        let dropped = self.dropout.as_mut().map(|dropout| dropout.draw(shape.iter().product()));
        if let Some((learned, step)) = self.steps.iter().find(|(learned, _)| learned.name() == name) {
            return learned.quantize(output, step, dropped);
        }
        let quantized = self.quantization.output(site, output.clone());
        match dropped {
            Some(dropped) => {
                let dropped = Tensor::from_data(TensorData::new(dropped, shape), &device);
                quantized.mask_where(dropped, output)
            }
            None => quantized,
        }
    }
}
