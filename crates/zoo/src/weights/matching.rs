//! Matching tensors to the parameters of a network, by name and shape.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::WeightError;
use crate::Network;
use crate::names::near_matches;

/// The tensors by name, once it is sure that they are exactly the network's.
pub(crate) fn match_state(
    network: &Network,
    state: Vec<(String, TensorData)>,
) -> Result<BTreeMap<String, TensorData>, WeightError> {
    let mut offered: BTreeMap<String, TensorData> = state.into_iter().collect();
    let mut matched = BTreeMap::new();
    let (mut missing, mut misshaped) = (Vec::new(), Vec::new());
    for (name, own) in network.state() {
        match offered.remove(&name) {
            None => missing.push(name),
            Some(data) if data.shape() != own.shape() => {
                misshaped.push((name, own.shape().to_vec(), data.shape().to_vec()));
            }
            Some(data) => {
                matched.insert(name, data);
            }
        }
    }
    let unused: Vec<String> = offered.into_keys().collect();
    if missing.is_empty() && unused.is_empty() && misshaped.is_empty() {
        return Ok(matched);
    }
    let missing = missing
        .into_iter()
        .map(|name| {
            let near = near_matches(&name, unused.iter().map(String::as_str));
            (name, near)
        })
        .collect();
    Err(WeightError::Mismatch { network: network.name().to_owned(), missing, unused, misshaped })
}
