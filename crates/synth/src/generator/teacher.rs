//! The teacher as generators see it.

use blindfold_zoo::{ConfigError, FeatureTap, Layer, Network, Node, Taps};
use burn::tensor::{Device, Tensor};

use crate::bn::{ObservedNetwork, Sampling, Statistics, StatisticsTap};
use crate::error::SynthError;

/// The statistics that generators compare: over the batch, with the biased variance.
const SAMPLING: Sampling = Sampling { per_image: false, unbiased: false };

/// A teacher in evaluation mode whose batch norms, blocks and last features are watched.
#[derive(Debug)]
pub(super) struct WatchedTeacher {
    observed: ObservedNetwork,
    /// The nodes at the ends of the blocks.
    blocks: Vec<String>,
    /// The node that the last linear layer reads.
    last: Option<String>,
}

/// What a teacher makes of a batch; everything has gradients to the images.
pub(super) struct Look {
    /// `[batch, classes]`.
    pub(super) logits: Tensor<2>,
    pub(super) statistics: Statistics,
    /// The outputs of the blocks, where they were asked for.
    pub(super) blocks: Vec<Tensor<4>>,
    /// Input of the last linear layer, `[batch, features]`; the logits where there is no such layer.
    pub(super) last: Tensor<2>,
}

impl WatchedTeacher {
    /// Watches a teacher.
    ///
    /// # Errors
    /// [`SynthError::NoBatchNorm`] for a teacher without batch norms.
    pub(super) fn new(teacher: &Network) -> Result<Self, SynthError> {
        let observed = ObservedNetwork::new(teacher, true)?;
        let network = observed.network();
        // Folding keeps the outputs of blocks: one that ends in a batch norm now ends in the convolution that computes
        // it.
        let blocks = network.blocks().iter().map(|block| network.node(block.output).name.clone()).collect();
        let last = classifier(network).map(|node| network.node(node.inputs[0]).name.clone());
        Ok(Self { observed, blocks, last })
    }

    /// The plain device that it is on.
    pub(super) fn device(&self) -> Device {
        self.observed.network().device().without_autodiff()
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Runs it on images `[batch, channel, height, width]`; `blocks` asks for the outputs of the blocks.
    pub(super) fn look(&self, images: Tensor<4>, blocks: bool) -> Look {
        let mut statistics = StatisticsTap::new(&self.observed, SAMPLING);
        let wanted = if blocks { &self.blocks[..] } else { &[] };
        let mut features = FeatureTap::new(wanted.iter().chain(&self.last).cloned());
        let logits = self.observed.network().run(images, &mut Taps(vec![&mut statistics, &mut features]));
        let statistics =
            statistics.statistics().expect("the run above has passed every batch norm of the network that is watched");
        let seen = |name: &String| {
            features.features.get(name).cloned().expect("the run above has passed every node of the network")
        };
        let last = match &self.last {
            Some(name) => {
                let last = seen(name);
                let [batch, channels, height, width] = last.dims();
                last.reshape([batch, channels * height * width])
            }
            None => logits.clone(),
        };
        Look { statistics, blocks: wanted.iter().map(seen).collect(), last, logits }
    }
}

/// The last linear layer.
fn classifier(network: &Network) -> Option<&Node> {
    network.nodes().iter().rfind(|node| matches!(node.layer, Layer::Linear(_)))
}

/// The weight of the last linear layer, a row of features for each class.
///
/// # Errors
/// [`ConfigError::Invalid`] when there is none.
pub(super) fn class_directions(network: &Network) -> Result<Tensor<2>, ConfigError> {
    match classifier(network).map(|node| &node.layer) {
        Some(Layer::Linear(linear)) if linear.weight.val().dims()[0] == network.classes() => {
            Ok(linear.weight.val().without_autodiff())
        }
        _ => {
            let found = format!("the network `{}`, whose classes have no row in a last linear layer", network.name());
            Err(ConfigError::invalid("teacher", found, "start the classes' embedding at random numbers instead"))
        }
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{NetworkBuilder, Op};

    use super::*;
    use crate::sample::{batch_norm, images, plain_network, small_network, smooth_network};

    fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} against {b}");
        }
    }

    /// Two blocks, the first of which ends in a batch norm that is folded.
    fn blocks() -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 4);
        let first = graph.conv("a.conv", 0, [4, 3, 3], 1, 1, false);
        let end = graph.push("a.bn", &[first], Layer::BatchNorm2d(batch_norm("a.bn", 4, 1)));
        graph.block("a", first, 0);
        let first = graph.conv("b.conv", end, [5, 4, 3], 2, 1, false);
        graph.push("b.bn", &[first], Layer::BatchNorm2d(batch_norm("b.bn", 5, 2)));
        graph.op("b.relu", &[graph.last()], Op::Relu);
        graph.block("b", first, end);
        graph.op("pool", &[graph.last()], Op::GlobalAvgPool);
        graph.op("flatten", &[graph.last()], Op::Flatten);
        graph.linear("linear", graph.last(), 6, 5);
        graph.finish("blocks", [3, 8, 8], 6)
    }

    #[test]
    fn a_look_is_what_the_teacher_computes() {
        let network = blocks();
        let watched = WatchedTeacher::new(&network).unwrap();
        let look = watched.look(images(4, 1), true);
        let names = ["a.bn", "b.relu", "flatten"].map(str::to_owned);
        let mut features = FeatureTap::new(names.clone());
        let logits = network.run(images(4, 1), &mut features);
        assert_close(&host(look.logits), &host(logits));
        assert_eq!(look.blocks.len(), watched.blocks());
        for (name, output) in names.iter().zip(look.blocks) {
            assert_close(&host(output), &host(features.features[name].clone()));
        }
        assert_eq!(look.last.dims(), [4, 5]);
        assert_close(&host(look.last), &host(features.features["flatten"].clone()));
        assert!(watched.look(images(4, 1), false).blocks.is_empty());
    }

    #[test]
    fn the_class_directions_are_the_rows_of_the_last_linear_layer() {
        let network = small_network(1);
        let state = network.state();
        let (_, weight) = state.iter().find(|(name, _)| name == "linear.weight").unwrap();
        let directions = class_directions(&network).unwrap();
        assert_eq!(directions.dims(), [6, 5]);
        assert_eq!(host(directions), weight.iter::<f32>().collect::<Vec<f32>>());
    }

    #[test]
    fn a_teacher_without_a_linear_layer_ends_in_its_logits() {
        let look = WatchedTeacher::new(&smooth_network()).unwrap().look(images(2, 1), true);
        assert_eq!(host(look.last), host(look.logits));
        let error = class_directions(&smooth_network()).unwrap_err().to_string();
        assert!(error.starts_with("`teacher`: the network `smooth`"), "{error}");
        assert!(matches!(WatchedTeacher::new(&plain_network()), Err(SynthError::NoBatchNorm { .. })));
    }
}
