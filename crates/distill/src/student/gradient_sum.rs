//! Gradients of several passes, summed.

use blindfold_quant::{LearnedParameters, QuantizedNetwork};
use blindfold_zoo::Network;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};

/// The gradients of losses that are summed, one pass after the other.
pub(super) struct GradientSum<'a> {
    student: &'a QuantizedNetwork,
    network: GradientsAccumulator<Network>,
    quantizers: GradientsAccumulator<LearnedParameters>,
}

impl<'a> GradientSum<'a> {
    pub(super) fn new(student: &'a QuantizedNetwork) -> Self {
        Self { student, network: GradientsAccumulator::new(), quantizers: GradientsAccumulator::new() }
    }

    /// Adds those of a loss; gives back what is not of the student's parameters.
    pub(super) fn add(&mut self, loss: Tensor<1>) -> Gradients {
        let mut gradients = loss.backward();
        let network = &self.student.network;
        self.network.accumulate(network, GradientsParams::from_module(&mut gradients, network));
        if let Some(learned) = &self.student.learned {
            self.quantizers.accumulate(learned, GradientsParams::from_module(&mut gradients, learned));
        }
        gradients
    }

    /// Those of the parameters of the student's network, and those of its quantizers' parameters.
    pub(super) fn into_parts(mut self) -> (GradientsParams, GradientsParams) {
        (self.network.grads(), self.quantizers.grads())
    }
}
