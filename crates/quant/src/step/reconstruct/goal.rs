//! What a unit is fitted towards.

use blindfold_zoo::NodeId;
use burn::tensor::Tensor;

use super::task::Task;

/// What a unit reads and puts out in the teacher, of all images: as it is, or corrected.
pub(super) struct Goal {
    /// What it reads.
    pub(super) inputs: Vec<(NodeId, Tensor<4>)>,
    /// What it then puts out.
    pub(super) target: Tensor<4>,
}

impl Goal {
    /// As it is.
    pub(super) fn of(task: &Task<'_>) -> Self {
        Self { inputs: task.float_inputs.clone(), target: task.target.clone() }
    }
}
