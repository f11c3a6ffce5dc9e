//! Fake quantization while a network runs.

use blindfold_zoo::{Site, Tap};
use burn::tensor::{Tensor, TensorData};

use super::quantized::QuantizedNetwork;
use crate::error::QuantError;
use crate::samples::Samples;

/// Replaces weights and activations by their quantized values, with the plan's gradient.
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

    /// The first fault of the run, if any.
    pub fn fault(&self) -> Option<&QuantError> {
        self.fault.as_ref()
    }

    fn quantize_weight(&self, name: &str, weight: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let Some((target, bits)) = self.quantized.weight_target(name) else { return Ok(None) };
        let plain = weight.clone().inner();
        let (shape, device) = (plain.dims(), plain.device());
        let samples = Samples::of(plain.clone(), target.granularity.weight_axis())?;
        let grid = self.quantized.weight_grid(target, bits, &samples)?;
        let values = grid.fake_quantize_values(samples.values(), shape)?;
        let quantized = Tensor::from_data(TensorData::new(values, shape), &device);
        Ok(Some(self.quantized.plan.ste().attach(weight.clone(), plain, quantized, &grid)))
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
        match self.quantized.activations.get(&site.node.name) {
            Some(grid) => self.quantized.plan.ste().fake_quantize(output, grid),
            None => output,
        }
    }
}
