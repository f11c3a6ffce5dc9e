//! Equal ranges on both sides of a rectifier.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use blindfold_zoo::{ConfigError, Entry, Layer, Network, NodeId, Op, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Pass, Rewritten};
use crate::error::QuantError;
use crate::host_layer::{HostLayer, HostLayers};
use crate::link::{Link, links};

/// Table of [`CrossLayerEqualization`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossLayerEqualizationConfig {
    /// What the range of a channel is.
    pub range: EqualizedRange,
    /// What is done where a ReLU6 lies between two layers.
    pub relu6: Relu6Treatment,
    /// Ends when no factor of a sweep over all layers differs from 1 by more than about this.
    pub tolerance: f64,
    /// Ends after so many sweeps at the latest.
    pub max_sweeps: usize,
}

impl Default for CrossLayerEqualizationConfig {
    fn default() -> Self {
        Self { range: EqualizedRange::Symmetric, relu6: Relu6Treatment::Skip, tolerance: 1e-4, max_sweeps: 1000 }
    }
}

/// The range of a channel's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EqualizedRange {
    /// `max |w|`.
    Symmetric,
    /// `max w - min w`; a channel of a single weight has none and stays as it is.
    Asymmetric,
}

/// What is done where a ReLU6 lies between two layers: its bound does not move with a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relu6Treatment {
    /// The layers on its two sides are left alone.
    Skip,
    /// It becomes a ReLU, as in the source. This changes the function of the network where values reach 6.
    Replace,
}

/// Moves a factor for each channel from a layer to the next, so that the channel has the same range in both.
///
/// Layers `W1 .. Wn` of a set follow one another through ReLU, pooling and flattening, or directly, each read by the
/// next alone: `n = 3` where the middle one is depthwise, else `n = 2`. With the ranges `r_k` of channel `i` in each
/// (of output channel `i` of all but the last, of input channel `i` of the last):
///
/// ```text
/// t   = (r_1 r_2 .. r_n)^(1/n)
/// s_k = t^k / (r_1 .. r_k)                                    n = 2: s_1 = sqrt(r_1 r_2) / r_1
/// W_k[i] *= s_k;   b_k[i] *= s_k;   W_{k+1}[:, i] /= s_k      k = 1 .. n - 1
/// ```
/// so that all `n` ranges become `t`. Sweeps over all sets are repeated until nothing moves, as sets share layers.
/// Channels with a range of 0 stay as they are; factors are kept within `[1e-8, 1e8]`.
///
/// Batch norms that follow convolutions are folded first; the moments they leave are scaled as well. The function of
/// the network stays the same, to rounding, unless `relu6 = "replace"` replaces one.
///
/// # Source
/// Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1; sets
/// of three as in AIMET.
///
/// # Differences from the source
/// Ends when the factors of a sweep are all near 1, where the source looks at how little the weights change. Only ReLU6
/// that lie within a set are replaced, not all of the network.
#[derive(Debug, Clone)]
pub struct CrossLayerEqualization {
    config: CrossLayerEqualizationConfig,
}

/// Layers that share the channels between them; `repeat` inputs of the last belong to a channel.
struct Set {
    layers: Vec<NodeId>,
    repeat: usize,
}

impl CrossLayerEqualization {
    /// The pass of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a tolerance that is not positive and for no sweeps.
    pub fn new(config: CrossLayerEqualizationConfig) -> Result<Self, ConfigError> {
        if !(config.tolerance > 0.0 && config.tolerance.is_finite()) {
            return Err(ConfigError::invalid("tolerance", config.tolerance, "write a positive number such as 1e-4"));
        }
        if config.max_sweeps == 0 {
            return Err(ConfigError::invalid("max_sweeps", 0, "write at least 1"));
        }
        Ok(Self { config })
    }

    /// The sets of a network, and the ReLU6 within them.
    fn sets(&self, network: &Network) -> (Vec<Set>, BTreeSet<NodeId>) {
        let usable = |link: &Link| link.capped.is_empty() || self.config.relu6 == Relu6Treatment::Replace;
        let links: BTreeMap<NodeId, Link> =
            links(network).into_iter().filter(usable).map(|link| (link.first, link)).collect();
        let (mut sets, mut capped, mut middles) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for link in links.values().filter(|link| link.repeat > 0) {
            if middles.contains(&link.first) {
                continue;
            }
            let depthwise = HostLayer::of(network.node(link.second)).is_some_and(|layer| layer.is_depthwise());
            let onward = links.get(&link.second).filter(|_| depthwise && link.repeat == 1);
            capped.extend(&link.capped);
            match onward {
                Some(next) => {
                    middles.insert(link.second);
                    capped.extend(&next.capped);
                    sets.push(Set { layers: vec![link.first, link.second, next.second], repeat: next.repeat });
                }
                None => sets.push(Set { layers: vec![link.first, link.second], repeat: link.repeat }),
            }
        }
        (sets, capped)
    }

    /// Equalizes all channels of a set, notes by how much outputs were scaled, and returns the largest `|ln s|`.
    fn equalize(&self, set: &Set, layers: &mut HostLayers, scaled: &mut BTreeMap<NodeId, Vec<f64>>) -> f64 {
        let (channels, last) = (layers.get(set.layers[0]).outputs(), set.layers.len() - 1);
        let mut largest = 0.0f64;
        for channel in 0..channels {
            let inputs = channel * set.repeat..(channel + 1) * set.repeat;
            let ranges: Vec<f64> = set
                .layers
                .iter()
                .enumerate()
                .map(|(place, &id)| match place == last {
                    true => self.input_range(layers.get(id), inputs.clone()),
                    false => self.output_range(layers.get(id), channel),
                })
                .collect();
            if !ranges.iter().all(|range| *range > 0.0 && range.is_finite()) {
                continue;
            }
            let mean = ranges.iter().map(|range| range.ln()).sum::<f64>() / ranges.len() as f64;
            let mut sum = 0.0;
            for (place, range) in ranges[..last].iter().enumerate() {
                sum += mean - range.ln();
                let factor = sum.exp().clamp(1e-8, 1e8);
                let (id, next) = (set.layers[place], set.layers[place + 1]);
                layers.edit(id).scale_output(channel, factor);
                let readers = if place + 1 == last { inputs.clone() } else { channel..channel + 1 };
                for input in readers {
                    layers.edit(next).scale_input(input, 1.0 / factor);
                }
                scaled.entry(id).or_insert_with(|| vec![1.0; channels])[channel] *= factor;
                largest = largest.max(factor.ln().abs());
            }
        }
        largest
    }

    fn output_range(&self, layer: &HostLayer, output: usize) -> f64 {
        self.range_of(layer.weight[layer.output_weights(output)].iter())
    }

    fn input_range(&self, layer: &HostLayer, inputs: Range<usize>) -> f64 {
        let weights = inputs.flat_map(|input| layer.readers(input)).flat_map(|(_, weights)| &layer.weight[weights]);
        self.range_of(weights)
    }

    fn range_of<'a>(&self, weights: impl Iterator<Item = &'a f64>) -> f64 {
        match self.config.range {
            EqualizedRange::Symmetric => weights.fold(0.0f64, |largest, weight| largest.max(weight.abs())),
            EqualizedRange::Asymmetric => {
                let (low, high) = weights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &weight| {
                    (low.min(weight), high.max(weight))
                });
                high - low
            }
        }
    }
}

impl Pass for CrossLayerEqualization {
    fn apply(&self, network: Rewritten) -> Result<Rewritten, QuantError> {
        let Rewritten { network, mut moments, weight_bits, layer_bits } = network.folded();
        let (sets, capped) = self.sets(&network);
        let mut layers = HostLayers::of(&network, sets.iter().flat_map(|set| set.layers.iter().copied()));
        let mut scaled = BTreeMap::new();
        for _ in 0..self.config.max_sweeps {
            let mut largest = 0.0f64;
            for set in &sets {
                largest = largest.max(self.equalize(set, &mut layers, &mut scaled));
            }
            if largest <= self.config.tolerance {
                break;
            }
        }
        for (id, factors) in scaled {
            if let Some(moments) = moments.get_mut(&network.node(id).name) {
                for values in [&mut moments.mean, &mut moments.deviation] {
                    values.iter_mut().zip(&factors).for_each(|(value, factor)| *value *= *factor as f32);
                }
            }
        }
        let mut place = 0..network.nodes().len();
        let network = layers.write(network).map_layers(|_, layer| match place.next() {
            Some(id) if capped.contains(&id) => Layer::stateless(Op::Relu),
            _ => layer,
        });
        Ok(Rewritten { network, moments, weight_bits, layer_bits })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Pass> = Entry {
    name: "cross-layer-equalization",
    summary: "a channel gets the same weight range in the layer that writes it and in the one that reads it",
    source: "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1",
    defaults: defaults_of::<CrossLayerEqualizationConfig>,
    build: |table| Ok(Box::new(CrossLayerEqualization::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::fold_batch_norms;

    use super::*;
    use crate::architectures::{all, build, difference, mobile};

    fn pass(range: EqualizedRange, relu6: Relu6Treatment) -> CrossLayerEqualization {
        CrossLayerEqualization::new(CrossLayerEqualizationConfig { range, relu6, ..Default::default() }).unwrap()
    }

    fn apply(pass: &CrossLayerEqualization, network: &Network) -> Rewritten {
        pass.apply(Rewritten::new(network.clone())).unwrap()
    }

    #[test]
    fn the_function_stays_the_same_on_every_kind_of_graph() {
        for network in all(3) {
            for range in [EqualizedRange::Symmetric, EqualizedRange::Asymmetric] {
                let equalized = apply(&pass(range, Relu6Treatment::Skip), &network).network;
                let difference = difference(&network, &equalized);
                assert!(difference < 1e-5, "{} {range:?}: {difference}", network.name());
            }
        }
    }

    #[test]
    fn sets_of_three_keep_the_function_of_the_network_with_relu_in_place_of_relu6() {
        let network = mobile(4);
        let plain = network.clone().map_layers(|_, layer| match layer.op() {
            Some(Op::Relu6) => Layer::stateless(Op::Relu),
            _ => layer,
        });
        let pass = pass(EqualizedRange::Symmetric, Relu6Treatment::Replace);
        let (sets, capped) = pass.sets(&fold_batch_norms(network.clone()));
        assert_eq!(sets.iter().map(|set| set.layers.len()).collect::<Vec<_>>(), [3, 3, 2]);
        assert_eq!(capped.len(), 2);
        let equalized = apply(&pass, &network).network;
        assert!(difference(&plain, &equalized) < 1e-5);
        assert!(equalized.nodes().iter().all(|node| node.layer.op() != Some(Op::Relu6)));
    }

    #[test]
    fn afterwards_a_channel_has_the_same_range_in_all_layers_of_its_set() {
        for (network, relu6) in [
            (build("lenet5", "", 5), Relu6Treatment::Skip),
            (build("densenet-bc", "depth = 10", 5), Relu6Treatment::Skip),
            (mobile(5), Relu6Treatment::Replace),
        ] {
            for range in [EqualizedRange::Symmetric, EqualizedRange::Asymmetric] {
                let pass = pass(range, relu6);
                let equalized = apply(&pass, &network).network;
                let (sets, _) = pass.sets(&equalized);
                assert!(!sets.is_empty());
                let layers = HostLayers::of(&equalized, sets.iter().flat_map(|set| set.layers.iter().copied()));
                for set in &sets {
                    let last = layers.get(set.layers[set.layers.len() - 1]);
                    for channel in 0..layers.get(set.layers[0]).outputs() {
                        let reading = pass.input_range(last, channel * set.repeat..(channel + 1) * set.repeat);
                        for &id in &set.layers[..set.layers.len() - 1] {
                            let ratio = pass.output_range(layers.get(id), channel) / reading;
                            let name = &equalized.node(id).name;
                            assert!((ratio - 1.0).abs() < 1e-3, "{name} {channel} {range:?}: {ratio}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_pair_gets_the_factors_of_the_formula() {
        let network = crate::testing::plain(6);
        let (first, classifier) = (network.find("first").unwrap(), network.find("classifier").unwrap());
        let before = HostLayers::of(&network, [first, classifier]);
        let after = apply(&pass(EqualizedRange::Symmetric, Relu6Treatment::Skip), &network).network;
        let after = HostLayers::of(&after, [first, classifier]);
        for channel in 0..4 {
            let rows = before.get(first).output_weights(channel);
            let r1 = before.get(first).weight[rows.clone()].iter().fold(0.0f64, |a, w| a.max(w.abs()));
            let r2 = (0..5).map(|out| before.get(classifier).weight[out * 4 + channel].abs()).fold(0.0, f64::max);
            let factor = (r1 * r2).sqrt() / r1;
            for place in rows {
                let expected = before.get(first).weight[place] * factor;
                assert!((after.get(first).weight[place] - expected).abs() < 1e-6);
            }
            for out in 0..5 {
                let expected = before.get(classifier).weight[out * 4 + channel] / factor;
                assert!((after.get(classifier).weight[out * 4 + channel] - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn moments_move_with_the_channels_and_dead_channels_stay() {
        let network = build("resnet", "depth = 8", 7);
        let dead = network.clone().map_layers(|name, layer| match layer.weight() {
            Some(weight) if name == "layer1.0.conv1" => {
                let mask: Vec<f32> = (0..16).map(|channel| if channel == 3 { 0.0 } else { 1.0 }).collect();
                let mask = burn::tensor::Tensor::<1>::from_floats(mask.as_slice(), &weight.device());
                layer.with_weight(weight * mask.reshape([16, 1, 1, 1]))
            }
            _ => layer,
        });
        let folded = Rewritten::new(dead.clone()).folded();
        let equalized = apply(&pass(EqualizedRange::Symmetric, Relu6Treatment::Skip), &dead);
        let id = folded.network.find("layer1.0.conv1").unwrap();
        let layer = |network: &Network| HostLayer::of(network.node(id)).unwrap();
        let (old, new) = (layer(&folded.network), layer(&equalized.network));
        let (old_moments, new_moments) = (&folded.moments["layer1.0.conv1"], &equalized.moments["layer1.0.conv1"]);
        for channel in 0..16 {
            let factor = (new.bias.as_ref().unwrap()[channel] / old.bias.as_ref().unwrap()[channel]) as f32;
            assert!(channel != 3 || factor == 1.0);
            for (old, new) in [
                (old_moments.mean[channel], new_moments.mean[channel]),
                (old_moments.deviation[channel], new_moments.deviation[channel]),
            ] {
                assert!((new - factor * old).abs() < 1e-4 * new.abs(), "{channel}: {new} {old} {factor}");
            }
        }
        assert_eq!(folded.moments["conv1"], equalized.moments["conv1"]);
        assert!(difference(&dead, &equalized.network) < 1e-5);
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [
            CrossLayerEqualizationConfig { tolerance: 0.0, ..Default::default() },
            CrossLayerEqualizationConfig { max_sweeps: 0, ..Default::default() },
        ] {
            assert!(CrossLayerEqualization::new(config).is_err());
        }
    }
}
