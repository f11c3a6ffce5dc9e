//! The values of all images on their way through a network.

use std::collections::BTreeMap;

use blindfold_zoo::{FeatureTap, Network, NodeId, Tap, Taps};
use burn::tensor::{Int, Tensor, TensorData};

use super::units::Unit;

/// How many images run at once where nothing is learned.
pub(super) const CHUNK: usize = 64;

/// The outputs, for all images, of the nodes that are still to be read.
///
/// It moves from unit to unit, always in the same chunks of images, so that a restart makes the same bits.
#[derive(Debug)]
pub(super) struct Flow {
    values: BTreeMap<NodeId, Tensor<4>>,
}

impl Flow {
    /// The images, as the tap lets them pass.
    pub(super) fn new(network: &Network, images: &Tensor<4>, tap: &mut dyn Tap) -> Self {
        let input = Unit { name: "input".to_owned(), nodes: 0..1 };
        let mut flow = Self { values: BTreeMap::from([(0, images.clone())]) };
        flow.advance(network, &input, tap);
        flow
    }

    /// The values of nodes that have not been read for the last time.
    pub(super) fn at(&self, nodes: &[NodeId]) -> Vec<(NodeId, Tensor<4>)> {
        nodes.iter().filter_map(|id| Some((*id, self.values.get(id)?.clone()))).collect()
    }

    /// Runs the next unit, and forgets what nothing after it reads. Returns the unit's output.
    pub(super) fn advance(&mut self, network: &Network, unit: &Unit, tap: &mut dyn Tap) -> Tensor<4> {
        let outputs = unit.outputs(network);
        let reads = if unit.nodes.start == 0 { vec![0] } else { network.reads_of(unit.nodes.clone()) };
        let known = self.at(&reads);
        let count = known.first().map_or(0, |(_, value)| value.dims()[0]);
        let mut parts: BTreeMap<NodeId, Vec<Tensor<4>>> = BTreeMap::new();
        for start in (0..count).step_by(CHUNK) {
            let mut features = FeatureTap::new(outputs.iter().map(|&id| network.node(id).name.clone()));
            let known = chunk_of(&known, start, CHUNK.min(count - start));
            network.run_stretch(unit.nodes.clone(), known, &mut Taps(vec![&mut *tap, &mut features]));
            for &id in &outputs {
                if let Some(value) = features.features.remove(&network.node(id).name) {
                    parts.entry(id).or_default().push(value.inner());
                }
            }
        }
        self.values.extend(parts.into_iter().map(|(id, parts)| (id, Tensor::cat(parts, 0))));
        let (end, last) = (unit.nodes.end, unit.nodes.end - 1);
        let output = self.values.get(&last).cloned();
        self.values.retain(|&id, _| network.consumers(id).iter().any(|&reader| reader >= end));
        output.expect("the run above has passed the last node of the unit, and there is at least one image")
    }
}

/// Some neighbouring images of each value.
pub(super) fn chunk_of(values: &[(NodeId, Tensor<4>)], start: usize, length: usize) -> Vec<(NodeId, Tensor<4>)> {
    values.iter().map(|(id, value)| (*id, value.clone().narrow(0, start, length))).collect()
}

/// The images of these indices, `[batch, ...]`.
pub(super) fn select<const D: usize>(values: &Tensor<D>, indices: &Tensor<1, Int>) -> Tensor<D> {
    values.clone().select(0, indices.clone())
}

/// Indices as a tensor on the device of `values`.
pub(super) fn indices_of(indices: &[usize], values: &Tensor<4>) -> Tensor<1, Int> {
    let places: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    Tensor::from_data(TensorData::new(places, [indices.len()]), &values.device())
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::NoTap;

    use super::super::units::{Stretch, units};
    use super::*;
    use crate::samples::host_values;
    use crate::testing::{images, small};

    #[test]
    fn unit_after_unit_is_the_whole_network() {
        let network = small(2);
        let images = images(&network, CHUNK + 5, 3);
        let whole = network.run(images.clone(), &mut NoTap).into_data().try_to_vec::<f32>().unwrap();
        for by in [Stretch::Layer, Stretch::Block] {
            let mut flow = Flow::new(&network, &images, &mut NoTap);
            let units = units(&network, by);
            let outputs: Vec<Tensor<4>> = units.iter().map(|unit| flow.advance(&network, unit, &mut NoTap)).collect();
            let found = host_values(outputs[outputs.len() - 1].clone());
            assert_eq!(found.len(), whole.len());
            assert!(found.iter().zip(&whole).all(|(found, whole)| (found - whole).abs() < 1e-5));
            assert!(flow.values.is_empty(), "nothing is kept that nobody reads");
        }
    }

    #[test]
    fn batches_are_drawn_by_index() {
        let network = small(2);
        let images = images(&network, 5, 3);
        let batch = select(&images, &indices_of(&[4, 0], &images));
        let (all, size) = (host_values(images), 3 * 12 * 12);
        assert_eq!(host_values(batch), [&all[4 * size..], &all[..size]].concat());
    }
}
