//! Counting distinct values.

use std::collections::BTreeMap;

use blindfold_zoo::{Site, Tap};
use burn::tensor::Tensor;

use crate::plan::Plan;
use crate::samples::host_values;

/// What was measured of one tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Number of values.
    pub(super) values: usize,
    /// Number of groups.
    pub(super) groups: usize,
    /// Largest number of distinct values in a group.
    pub(super) levels: usize,
}

/// Counts the distinct values of the weights and activations that pass, by the groups of the plan.
pub(super) struct LevelMeter<'a> {
    plan: &'a Plan,
    pub(super) weights: BTreeMap<String, Seen>,
    pub(super) activations: BTreeMap<String, Seen>,
}

impl<'a> LevelMeter<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, weights: BTreeMap::new(), activations: BTreeMap::new() }
    }
}

impl Tap for LevelMeter<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        if let Some(target) = self.plan.weight(&site.node.name) {
            let seen = measure(weight.clone(), target.granularity.weight_view(weight.dims()));
            self.weights.insert(site.node.name.clone(), seen);
        }
        weight
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if let Some(target) = self.plan.activation(&site.node.name) {
            let seen = measure(output.clone(), target.activation_view(output.dims()));
            self.activations.insert(site.node.name.clone(), seen);
        }
        output
    }
}

fn measure(tensor: Tensor<4>, (view, axis): ([usize; 4], Option<usize>)) -> Seen {
    let tensor = tensor.reshape(view);
    let groups = axis.map_or(1, |axis| view[axis]);
    let tensor = match axis {
        Some(axis) if axis > 0 => tensor.swap_dims(0, axis),
        _ => tensor,
    };
    let values = host_values(tensor);
    let length = (values.len() / groups.max(1)).max(1);
    let levels = values.chunks(length).map(distinct).max().unwrap_or(0);
    Seen { values: values.len(), groups, levels }
}

fn distinct(values: &[f32]) -> usize {
    let mut bits: Vec<u32> = values.iter().map(|value| (value + 0.0).to_bits()).collect();
    bits.sort_unstable();
    bits.dedup();
    bits.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_zeros_are_one_level() {
        assert_eq!(distinct(&[0.0, -0.0, 1.0, 1.0, -1.0]), 3);
    }
}
