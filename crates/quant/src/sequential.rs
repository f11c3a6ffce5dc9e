//! Running a network over many images node by node.

use std::collections::BTreeMap;

use blindfold_zoo::{Network, NodeId, Tap};
use burn::tensor::{Tensor, s};

use crate::channel_statistics::ChannelStatistics;
use crate::error::QuantError;

/// A run over all images that stops after every node, so that what comes next can be changed by what all of them gave
/// there.
///
/// Each node runs once. The outputs that later nodes read are kept on the device, for all images.
#[derive(Debug)]
pub(crate) struct Sequential {
    batches: Vec<BTreeMap<NodeId, Tensor<4>>>,
    last_use: Vec<NodeId>,
    next: NodeId,
}

impl Sequential {
    /// Ready to run the network's first node on images `[image, channel, height, width]`, `batch` of them at a time.
    pub(crate) fn new(network: &Network, images: &Tensor<4>, batch: usize) -> Self {
        let count = images.dims()[0];
        let batches = (0..count)
            .step_by(batch.max(1))
            .map(|start| {
                let end = (start + batch.max(1)).min(count);
                BTreeMap::from([(0, images.clone().inner().slice(s![start..end, .., .., ..]))])
            })
            .collect();
        let mut last_use: Vec<NodeId> = (0..network.nodes().len()).collect();
        for (id, node) in network.nodes().iter().enumerate() {
            for &input in &node.inputs {
                last_use[input] = id;
            }
        }
        Self { batches, last_use, next: 0 }
    }

    /// Runs the next node of the network, which may have changed from there on.
    pub(crate) fn advance(&mut self, network: &Network, tap: &mut dyn Tap) {
        let id = self.next;
        let reads = if id == 0 { vec![0] } else { network.reads_of(id..id + 1) };
        for values in &mut self.batches {
            let mut known = Vec::with_capacity(reads.len());
            for &from in &reads {
                let last = id == 0 || self.last_use[from] == id;
                let value = if last { values.remove(&from) } else { values.get(&from).cloned() };
                known.push((from, value.expect("an output is kept until the last node that reads it")));
            }
            values.insert(id, network.run_stretch(id..id + 1, known, tap));
        }
        self.next += 1;
    }

    /// Statistics of what the next node would give, which does not go on.
    pub(crate) fn preview(&self, network: &Network, tap: &mut dyn Tap) -> ChannelStatistics {
        let id = self.next;
        let reads = if id == 0 { vec![0] } else { network.reads_of(id..id + 1) };
        let mut statistics = ChannelStatistics::default();
        for values in &self.batches {
            let known = reads.iter().filter_map(|from| Some((*from, values.get(from)?.clone()))).collect();
            statistics.see(&network.run_stretch(id..id + 1, known, tap));
        }
        statistics
    }

    /// Statistics of the output of a node that has run and is still to be read.
    pub(crate) fn statistics(&self, id: NodeId) -> ChannelStatistics {
        let mut statistics = ChannelStatistics::default();
        self.batches.iter().filter_map(|values| values.get(&id)).for_each(|value| statistics.see(value));
        statistics
    }
}

/// The first `max` images.
///
/// # Errors
/// [`QuantError::NoImages`] when there are none.
pub(crate) fn first_images(images: &Tensor<4>, max: usize) -> Result<Tensor<4>, QuantError> {
    match images.dims()[0].min(max) {
        0 => Err(QuantError::NoImages),
        count => Ok(images.clone().slice(s![0..count, .., .., ..])),
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::NoTap;

    use super::*;
    use crate::architectures::all;
    use crate::samples::host_values;
    use crate::testing::images;

    #[test]
    fn the_last_output_is_that_of_an_ordinary_run() {
        for network in all(20) {
            let x = images(&network, 5, 3);
            let mut run = Sequential::new(&network, &x, 2);
            for id in 0..network.nodes().len() {
                let mean = run.preview(&network, &mut NoTap).mean().to_vec();
                run.advance(&network, &mut NoTap);
                assert_eq!(run.statistics(id).mean(), mean);
            }
            let last: Vec<f32> =
                run.batches.iter().flat_map(|values| host_values(values[&network.output()].clone())).collect();
            let expected: Vec<f32> = network.forward(x).into_data().iter::<f32>().collect();
            let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert_eq!(last.len(), expected.len());
            assert!(last.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6 * largest), "{}", network.name());
            assert_eq!(run.batches[0].len(), 1, "everything else has been read");
        }
    }
}
