//! How far what passes a stretch of a network is from what its batch norms remember.

use std::collections::BTreeMap;
use std::ops::Range;

use blindfold_zoo::ops::channel_moments;
use blindfold_zoo::{BatchNorm2d, Layer, Network, NodeId, Site, Tap};
use burn::tensor::{Device, Tensor, TensorData};

use crate::pass::ChannelMoments;
use crate::shapes::output_shapes;

/// `e` of the distance.
const EPSILON: f64 = 1e-5;

/// From an output whose deviation is below this share of the layer's largest one, or of its own mean, the input does
/// not follow without loss of precision.
const SMALLEST_SCALE: f32 = 1e-3;

/// The batch norms of a stretch, folded or not.
///
/// ```text
/// D = sum_l sum_c (m_lc - mean_lc)^2 + (sqrt(v_lc + e) - deviation_lc)^2           for each image
/// ```
/// `m`, `v`: mean and unbiased variance, over the positions of the image, of what batch norm `l` reads; `mean`,
/// `deviation`: its running mean, and `sqrt(running_var + epsilon)`; `e = 1e-5`.
///
/// A batch norm that is folded into the convolution before it is seen by that one's output `y`:
///
/// ```text
/// m_x - mean = (m_y - beta) deviation / gamma          v_x = v_y (deviation / gamma)^2
/// ```
/// Channels whose `gamma` is next to 0 are then left out. So are batch norms that read a single position an image.
pub(super) struct WatchedNorms {
    /// The stretch up to the last of them.
    stretch: Range<NodeId>,
    norms: Vec<WatchedNorm>,
}

/// One of them: its input is `(seen - centre) * scale`, counted from the running mean.
struct WatchedNorm {
    node: NodeId,
    /// Whether the node's output is seen; else what it reads.
    folded: bool,
    centre: Tensor<2>,
    scale: Tensor<2>,
    square: Tensor<2>,
    deviation: Tensor<2>,
}

impl WatchedNorms {
    /// Those of a stretch of a network in floating point, with what the `folded` ones have left behind, by convolution.
    /// None where there is not one.
    pub(super) fn of(
        network: &Network,
        stretch: Range<NodeId>,
        folded: &BTreeMap<String, ChannelMoments>,
    ) -> Option<Self> {
        let (shapes, device) = (output_shapes(network), network.device().inner());
        let watched = |id: NodeId| {
            let (node, [channels, height, width]) = (network.node(id), shapes[id]);
            if height * width < 2 {
                return None;
            }
            match &node.layer {
                Layer::BatchNorm2d(norm) => Some(WatchedNorm::in_place(id, norm, &device)),
                Layer::Conv2d(_) => WatchedNorm::folded(id, folded.get(&node.name)?, channels, &device),
                _ => None,
            }
        };
        let norms: Vec<WatchedNorm> = stretch.clone().filter_map(watched).collect();
        let end = norms.last()?.node + 1;
        Some(Self { stretch: stretch.start..end, norms })
    }

    /// The distance of each image, from what the stretch reads in the network; gradients flow to that.
    ///
    /// # Shapes
    /// - known: `[image, ...]`; result: `[image, 1]`
    pub(super) fn distance(&self, network: &Network, known: Vec<(NodeId, Tensor<4>)>) -> Tensor<2> {
        let mut tap = DistanceTap { norms: &self.norms, distance: None };
        network.run_stretch(self.stretch.clone(), known, &mut tap);
        tap.distance.expect("the stretch ends with a node that is watched")
    }
}

impl WatchedNorm {
    fn in_place(node: NodeId, norm: &BatchNorm2d, device: &Device) -> Self {
        let host = |values: Tensor<1>| values.inner().into_data().iter::<f32>().collect::<Vec<f32>>();
        let mean = host(norm.running_mean.val());
        let scale = vec![1.0; mean.len()];
        Self::new(node, false, [mean, scale, host((norm.running_var.val() + norm.epsilon).sqrt())], device)
    }

    /// None where the moments are not those of as many channels, or of no batch norm.
    fn folded(node: NodeId, moments: &ChannelMoments, channels: usize, device: &Device) -> Option<Self> {
        let ChannelMoments { mean, deviation, divisor } = moments;
        if [mean, deviation, divisor].iter().any(|values| values.len() != channels) {
            return None;
        }
        let largest = deviation.iter().copied().fold(0.0f32, f32::max);
        let (scale, remembered) = (0..channels)
            .map(|channel| match deviation[channel] > SMALLEST_SCALE * largest.max(mean[channel].abs()) {
                true => (divisor[channel] / deviation[channel], divisor[channel]),
                // What is left of such a channel's distance is 0.
                false => (0.0, EPSILON.sqrt() as f32),
            })
            .unzip();
        Some(Self::new(node, true, [mean.clone(), scale, remembered], device))
    }

    fn new(node: NodeId, folded: bool, constants: [Vec<f32>; 3], device: &Device) -> Self {
        let [centre, scale, deviation] = constants.map(|values| {
            let shape = [1, values.len()];
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        });
        Self { node, folded, centre, square: scale.clone() * scale.clone(), scale, deviation }
    }

    /// `[image, 1]` of what is seen.
    fn distance(&self, seen: Tensor<4>) -> Tensor<2> {
        let moments = channel_moments(seen, true);
        let mean = (moments.mean - self.centre.clone()) * self.scale.clone();
        let deviation = (moments.var * self.square.clone() + EPSILON).sqrt() - self.deviation.clone();
        (mean.clone() * mean + deviation.clone() * deviation).sum_dim(1)
    }
}

struct DistanceTap<'a> {
    norms: &'a [WatchedNorm],
    distance: Option<Tensor<2>>,
}

impl DistanceTap<'_> {
    fn see(&mut self, node: NodeId, folded: bool, values: &Tensor<4>) {
        let Some(norm) = self.norms.iter().find(|norm| (norm.node, norm.folded) == (node, folded)) else { return };
        let own = norm.distance(values.clone());
        self.distance = Some(match self.distance.take() {
            Some(sum) => sum + own,
            None => own,
        });
    }
}

impl Tap for DistanceTap<'_> {
    fn input(&mut self, site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        self.see(site.id, false, &input);
        input
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        self.see(site.id, true, &output);
        output
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{NetworkBuilder, NoTap};

    use super::super::flow::Flow;
    use super::super::units::{Stretch, units};
    use super::*;
    use crate::pass::{CrossLayerEqualization, Pass, Rewritten};
    use crate::testing::{images, small};

    fn host(distance: Tensor<2>) -> Vec<f64> {
        distance.inner().into_data().iter::<f64>().collect()
    }

    fn close(found: &[f64], expected: &[f64], share: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= share * expected.abs(), "{found} is not {expected}");
        }
    }

    /// The distances of four images at each block of a network, in its own values.
    fn distances(Rewritten { network, moments, .. }: &Rewritten) -> Vec<Vec<f64>> {
        let mut flow = Flow::new(network, &images(network, 4, 3), &mut NoTap);
        let blocks = units(network, Stretch::Block).into_iter().map(|unit| {
            let known = flow.at(&network.reads_of(unit.nodes.clone()));
            flow.advance(network, &unit, &mut NoTap);
            WatchedNorms::of(network, unit.nodes, moments).map(|norms| host(norms.distance(network, known)))
        });
        blocks.flatten().collect()
    }

    #[test]
    fn the_distance_is_its_formula_image_by_image() {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        graph.batch_norm("bn1", 0, 2);
        let network = graph.finish("norm", [2, 1, 4], 8);
        let statistics = |name: &str| if name.ends_with("mean") { vec![1.0f32, 4.0] } else { vec![4.0f32, 0.25] };
        let change = |(name, data): (String, TensorData)| match name.contains("running") {
            true => (name.clone(), TensorData::new(statistics(&name), [2])),
            false => (name, data),
        };
        let state = network.state().into_iter().map(change).collect();
        let network = network.with_state(state).unwrap();
        let values = vec![1.0f32, 2.0, 3.0, 6.0, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 2.0, 2.0, 4.0, 4.5, 3.5, 4.0];
        let known = vec![(0, Tensor::from_data(TensorData::new(values, [2, 2, 1, 4]), &device))];
        let norms = WatchedNorms::of(&network, 1..2, &BTreeMap::new()).unwrap();
        let term =
            |gap: f64, var: f64, running: f64| gap.powi(2) + ((var + 1e-5).sqrt() - (running + 1e-5).sqrt()).powi(2);
        let first = term(2.0, 14.0 / 3.0, 4.0) + term(1.0, 0.0, 0.25);
        let second = term(0.0, 4.0 / 3.0, 4.0) + term(0.0, 0.5 / 3.0, 0.25);
        close(&host(norms.distance(&network, known)), &[first, second], 1e-5);
    }

    #[test]
    fn folding_and_scaling_channels_change_no_distance() {
        let plain = Rewritten::new(small(7));
        let apart = distances(&plain);
        assert_eq!(apart.len(), 3, "the first layer and both blocks have batch norms, the last layer has none");
        assert!(apart.iter().flatten().all(|distance| *distance > 0.1), "{apart:?}");
        let folded = plain.clone().folded();
        let equalized = CrossLayerEqualization::new(Default::default()).unwrap().apply(plain).unwrap();
        assert_ne!(folded.moments["layer1.0.conv1"].mean, equalized.moments["layer1.0.conv1"].mean);
        for together in [distances(&folded), distances(&equalized)] {
            for (together, apart) in together.iter().zip(&apart) {
                close(together, apart, 1e-3);
            }
        }
    }

    #[test]
    fn a_folded_channel_without_a_scale_is_left_out() {
        let Rewritten { network, moments, .. } = Rewritten::new(small(7)).folded();
        let id = network.find("conv1").unwrap();
        let images = images(&network, 4, 3);
        let without = |left_out: &dyn Fn(usize) -> bool| {
            let mut own = moments["conv1"].clone();
            for (channel, deviation) in own.deviation.iter_mut().enumerate() {
                *deviation = if left_out(channel) { 0.0 } else { *deviation };
            }
            let moments = BTreeMap::from([("conv1".to_owned(), own)]);
            let norms = WatchedNorms::of(&network, 1..id + 1, &moments).unwrap();
            host(norms.distance(&network, vec![(0, images.clone())]))
        };
        let (all, most, rest) = (without(&|_| false), without(&|channel| channel < 2), without(&|channel| channel > 1));
        let sum: Vec<f64> = most.iter().zip(&rest).map(|(most, rest)| most + rest).collect();
        assert!(rest.iter().all(|distance| *distance > 1e-3), "{rest:?}");
        close(&sum, &all, 1e-5);
    }

    #[test]
    fn a_stretch_without_batch_norms_or_with_single_positions_has_none() {
        let network = small(7);
        let last = units(&network, Stretch::Block).pop().unwrap();
        assert!(WatchedNorms::of(&network, last.nodes, &BTreeMap::new()).is_none());
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        graph.batch_norm("bn1", 0, 2);
        let network = graph.finish("norm", [2, 1, 1], 2);
        assert!(WatchedNorms::of(&network, 1..2, &BTreeMap::new()).is_none());
    }
}
