//! Fake quantization while a network runs.

use blindfold_zoo::{Site, Tap};
use burn::tensor::{Tensor, TensorData};

use super::quantized::QuantizedNetwork;
use crate::audit::Role;
use crate::error::QuantError;
use crate::samples::Samples;

/// Replaces weights and activations by their quantized values, with the plan's gradient; those with learned parameters
/// with the gradient of their quantizer, and with one for the parameters.
///
/// A weight that is not finite passes as it is, so that the logits are not finite either; [`Self::fault`] says which it was.
#[derive(Debug)]
pub struct FakeQuantTap<'a> {
    quantized: &'a QuantizedNetwork,
    fault: Option<QuantError>,
}

impl<'a> FakeQuantTap<'a> {
    pub(super) fn new(quantized: &'a QuantizedNetwork) -> Self {
        Self { quantized, fault: None }
    }

    /// The first fault of the run, taken out.
    pub(crate) fn into_fault(self) -> Option<QuantError> {
        self.fault
    }

    /// The first fault of the run, if any.
    pub fn fault(&self) -> Option<&QuantError> {
        self.fault.as_ref()
    }

    fn quantize_weight(&self, name: &str, weight: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let Some((target, bits)) = self.quantized.weight_target(name) else { return Ok(None) };
        let shape = weight.dims();
        let (view, axis) = target.granularity.weight_view(shape);
        let weight = weight.clone().reshape(view);
        if let Some(learned) = self.quantized.learned_at(Role::Weight, name) {
            return Ok(Some(learned.forward(weight)?.reshape(shape)));
        }
        let plain = weight.clone().inner();
        let samples = Samples::of(plain.clone(), axis)?;
        let codec = self.quantized.weight_codec(target, bits, &samples, axis)?;
        let values = codec.fake_quantize_values(samples.values(), view)?;
        let quantized = Tensor::from_data(TensorData::new(values, view), &plain.device());
        Ok(Some(self.quantized.plan.ste().attach(weight, plain, quantized, &codec).reshape(shape)))
    }

    fn quantize_as_learned(&self, name: &str, output: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let learned = self.quantized.learned_at(Role::Activation, name);
        learned.map(|learned| learned.forward(output.clone())).transpose()
    }

    fn quantize_dynamically(&self, name: &str, output: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let target = self.quantized.plan.activation(name).filter(|target| target.dynamic.is_some());
        let Some((target, bits)) = target.and_then(|target| Some((target, target.precision.bits()?))) else {
            return Ok(None);
        };
        let (codec, view) = target.dynamic_codec(output.clone(), bits)?;
        Ok(Some(self.quantized.plan.ste().fake_quantize(view, &codec).reshape(output.dims())))
    }
}

impl Tap for FakeQuantTap<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        match self.quantize_weight(&site.node.name, &weight) {
            Ok(quantized) => quantized.unwrap_or(weight),
            Err(error) => {
                self.fault.get_or_insert(error.at(&site.node.name));
                weight
            }
        }
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        match self.quantize_as_learned(&site.node.name, &output) {
            Ok(Some(quantized)) => return quantized,
            Ok(None) => {}
            Err(error) => {
                self.fault.get_or_insert(error.at(&site.node.name));
                return output;
            }
        }
        match self.quantized.activations.get(&site.node.name) {
            Some(codec) => self.quantized.plan.ste().fake_quantize(output, codec),
            None if self.quantized.is_calibrated() => match self.quantize_dynamically(&site.node.name, &output) {
                Ok(quantized) => quantized.unwrap_or(output),
                Err(error) => {
                    self.fault.get_or_insert(error.at(&site.node.name));
                    output
                }
            },
            None => output,
        }
    }
}
