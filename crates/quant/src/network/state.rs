//! What a checkpoint holds of a quantized network.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use crate::grid::Grid;

/// Everything of a quantized network that its config does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedState {
    /// The network's parameters by name.
    pub parameters: Vec<(String, TensorData)>,
    /// Grids of weights that calibration has frozen, by layer.
    pub weights: BTreeMap<String, Grid>,
    /// Grids of activations, by site.
    pub activations: BTreeMap<String, Grid>,
}
