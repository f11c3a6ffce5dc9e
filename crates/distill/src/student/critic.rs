//! The student as a generator sees it.

use blindfold_quant::QuantizedNetwork;
use blindfold_synth::{Critic, StudentView, SynthError};
use blindfold_zoo::Network;
use burn::tensor::Tensor;

use super::networks::{Mode, Networks};
use crate::error::DistillError;

/// The student with its parameters at rest: gradients flow to the images alone, through fake quantization by the plan's rule.
/// Its batch norms normalise as in its training, and nothing is dropped.
#[derive(Debug)]
pub(super) struct StudentCritic<'a> {
    networks: Networks<'a>,
    blocks: Vec<String>,
}

impl<'a> StudentCritic<'a> {
    /// `student` is without gradients, on the plain device.
    pub(super) fn new(teacher: &'a Network, student: &'a QuantizedNetwork, mode: Mode) -> Self {
        let network = &student.network;
        let blocks = network.blocks().iter().map(|block| network.node(block.output).name.clone()).collect();
        Self { networks: Networks::new(teacher, student, Mode { drop: 0.0, ..mode }), blocks }
    }

    /// Images that were shown to it.
    pub(super) fn passes(&self) -> u64 {
        self.networks.passes()
    }
}

impl Critic for StudentCritic<'_> {
    fn look(&self, images: Tensor<4>, features: bool) -> Result<StudentView, SynthError> {
        let nodes = if features { self.blocks.as_slice() } else { &[] };
        let mut outputs = self.networks.student(images, nodes, "generator").outputs;
        let fault =
            |error: DistillError| SynthError::Malformed { what: "the student".into(), found: error.to_string() };
        self.networks.check().map_err(fault)?;
        let features = nodes.iter().filter_map(|node| outputs.features.remove(node)).collect();
        Ok(StudentView { logits: outputs.logits, features })
    }
}
