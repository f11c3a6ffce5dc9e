//! Outliers halved by doubling the channels that they read.

use blindfold_zoo::{ChannelSelect, ConfigError, Entry, Layer, Network, defaults_of, insert_before, parse};
use serde::{Deserialize, Serialize};

use super::{Pass, Rewritten};
use crate::error::QuantError;
use crate::host_layer::HostLayer;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::shapes::output_shapes;

/// Table of [`OutlierChannelSplitting`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierChannelSplittingConfig {
    /// Channels that are added, as a share of those that are there; rounded up.
    pub ratio: f64,
    /// How a weight is divided between the two copies.
    pub split: Split,
    /// Bits of the grid that `split = "grid-aware"` is aware of; absent: those that the layer's weights will have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Weights of a split channel up to this part of the layer's largest one stay whole in the first copy.
    pub threshold: f64,
    /// Whether the layer that reads the images is split as well.
    pub first: bool,
}

impl Default for OutlierChannelSplittingConfig {
    fn default() -> Self {
        Self { ratio: 0.05, split: Split::GridAware, bits: None, threshold: 0.5, first: false }
    }
}

/// How a weight is divided between the two copies of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// In two halves.
    Naive,
    /// In two halves a quarter of a step to both sides, which together round as the whole does.
    GridAware,
}

/// Splits the input channels with the largest weights in two, so that the outliers become half as large and the step of
/// the layer's grid smaller.
///
/// In each convolution and linear layer of `C` input channels, `ceil(ratio * C)` times: the channel with the largest
/// `|w|` of the layer, `m`, is replaced by two that read the same values, by a node `<layer>.split` that repeats them.
///
/// ```text
/// |w| >  threshold * m    naive       (w / 2, w / 2)
///                         grid-aware  (w / 2 - step / 4, w / 2 + step / 4)
/// |w| <= threshold * m                (w, 0)
/// step = max |w| of the split layer / (2^(bits - 1) - 1)
/// ```
/// Both halves sum to the weight, so that the function stays the same, to rounding. On a symmetric grid of that step
/// the grid-aware halves round to two values whose sum is the rounded weight: `Q(w / 2 - step / 4) + Q(w / 2 + step /
/// 4) = Q(w)`.
///
/// Layers with groups stay as they are, and linear layers that read values with more than one position.
///
/// # Source
/// Zhao, Hu, Dotzel, De Sa, Zhang: Improving Neural Network Quantization without Retraining using Outlier Channel
/// Splitting, ICML 2019, section 3.
///
/// # Differences from the source
/// The step is that of the layer's largest magnitude after splitting (found by repeating the splitting with the step it
/// leads to), where the source takes it from a clipping threshold; clip beforehand with `weight-clipping` for the same.
#[derive(Debug, Clone)]
pub struct OutlierChannelSplitting {
    config: OutlierChannelSplittingConfig,
}

/// An input channel of the split layer: which one it was, and its weights to each output.
#[derive(Clone)]
struct Column {
    source: usize,
    weights: Vec<f64>,
}

impl Column {
    fn largest(&self) -> f64 {
        self.weights.iter().fold(0.0f64, |largest, weight| largest.max(weight.abs()))
    }
}

impl OutlierChannelSplitting {
    /// The pass of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a ratio or threshold outside `[0, 1]` and bits that no uniform grid has.
    pub fn new(config: OutlierChannelSplittingConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("ratio", config.ratio), ("threshold", config.threshold)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(ConfigError::invalid(key, value, "write a share from 0 to 1"));
            }
        }
        if let Some(bits) = config.bits.filter(|bits| !(MIN_BITS..=MAX_BITS).contains(bits)) {
            return Err(ConfigError::invalid("bits", bits, format!("write {MIN_BITS} to {MAX_BITS}")));
        }
        Ok(Self { config })
    }

    /// The columns after `count` splits on a grid of that step (0 for plain halves), and the largest magnitude then.
    fn split(&self, mut columns: Vec<Column>, count: usize, step: f64) -> (Vec<Column>, f64) {
        let mut magnitudes: Vec<f64> = columns.iter().map(Column::largest).collect();
        for _ in 0..count {
            let Some(worst) =
                (0..columns.len()).max_by(|&a, &b| magnitudes[a].total_cmp(&magnitudes[b]).then(b.cmp(&a)))
            else {
                break;
            };
            let threshold = self.config.threshold * magnitudes[worst];
            let mut copy = columns[worst].clone();
            for (first, second) in columns[worst].weights.iter_mut().zip(&mut copy.weights) {
                if first.abs() > threshold {
                    (*first, *second) = (*first / 2.0 - step / 4.0, *first / 2.0 + step / 4.0);
                } else {
                    *second = 0.0;
                }
            }
            magnitudes[worst] = columns[worst].largest();
            magnitudes.push(copy.largest());
            columns.push(copy);
        }
        (columns, magnitudes.into_iter().fold(0.0, f64::max))
    }

    /// As [`Self::split`] with the config's way of splitting.
    fn split_layer(&self, columns: Vec<Column>, count: usize, bits: u8) -> Vec<Column> {
        const ROUNDS: usize = 20;
        let (mut split, mut largest) = self.split(columns.clone(), count, 0.0);
        if self.config.split == Split::GridAware {
            let codes = f64::from((1u32 << (bits - 1)) - 1);
            for _ in 0..ROUNDS {
                let before = largest;
                (split, largest) = self.split(columns.clone(), count, before / codes);
                if (largest - before).abs() <= 1e-6 * before {
                    break;
                }
            }
        }
        split
    }

    /// The layer with some input channels twice, and which channel of the old ones each of the new ones reads.
    fn widened(&self, layer: HostLayer, bits: u8) -> (HostLayer, Vec<usize>) {
        let (inputs, outputs, area) = (layer.inputs(), layer.outputs(), layer.area());
        let count = (self.config.ratio * inputs as f64).ceil() as usize;
        let columns = (0..inputs)
            .map(|source| {
                let weights = layer.readers(source).flat_map(|(_, weights)| layer.weight[weights].to_vec()).collect();
                Column { source, weights }
            })
            .collect();
        let columns = self.split_layer(columns, count, bits);
        let mut weight = Vec::with_capacity(columns.len() * outputs * area);
        for output in 0..outputs {
            for column in &columns {
                weight.extend_from_slice(&column.weights[output * area..(output + 1) * area]);
            }
        }
        let indices = columns.iter().map(|column| column.source).collect();
        (layer.with_inputs(columns.len(), weight), indices)
    }
}

impl Pass for OutlierChannelSplitting {
    fn apply(&self, network: Rewritten) -> Result<Rewritten, QuantError> {
        let Rewritten { mut network, moments, weight_bits, layer_bits } = network;
        let bits_of = |name: &str| {
            let known = self.config.bits.or(layer_bits.get(name).copied()).or(weight_bits);
            known.unwrap_or(MAX_BITS).clamp(MIN_BITS, MAX_BITS)
        };
        let shapes = output_shapes(&network);
        let splittable = |id: usize| {
            let node = network.node(id);
            let [channels, height, width] = shapes[*node.inputs.first()?];
            let layer = HostLayer::of(node).filter(|layer| layer.groups() == 1)?;
            let flat = matches!(node.layer, Layer::Conv2d(_)) || height * width == 1;
            (flat && layer.inputs() == channels).then_some(id)
        };
        let weighted = (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight());
        let skipped = usize::from(!self.config.first);
        let chosen: Vec<usize> = weighted.skip(skipped).filter_map(splittable).collect();
        for id in chosen.into_iter().rev() {
            let Some(layer) = HostLayer::of(network.node(id)) else { continue };
            let (layer, indices) = self.widened(layer, bits_of(&network.node(id).name));
            if indices.len() == shapes[network.node(id).inputs[0]][0] {
                continue;
            }
            let name = free_name(&network, &format!("{}.split", network.node(id).name));
            let (mut place, mut layer) = (0..network.nodes().len(), Some(layer));
            network =
                network.map_layers(|_, old| match place.next().filter(|&at| at == id).and_then(|_| layer.take()) {
                    Some(layer) => layer.write(old),
                    None => old,
                });
            network = insert_before(network, id, 0, &name, Layer::ChannelSelect(ChannelSelect { indices }));
        }
        Ok(Rewritten { network, moments, weight_bits, layer_bits })
    }
}

/// `name`, or it with the first number behind it that makes it new.
fn free_name(network: &Network, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name}{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| network.find(name).is_none())
        .unwrap_or_else(|| name.to_owned())
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Pass> = Entry {
    name: "outlier-channel-splitting",
    summary: "outlier channel splitting: input channels with outliers are doubled and their weights halved",
    source: "Zhao et al., Improving Neural Network Quantization without Retraining using Outlier Channel Splitting, ICML 2019",
    defaults: defaults_of::<OutlierChannelSplittingConfig>,
    build: |table| Ok(Box::new(OutlierChannelSplitting::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::{all, difference};
    use crate::testing::{plain, small};

    fn splitting(ratio: f64, split: Split, bits: u8, first: bool) -> OutlierChannelSplitting {
        let config = OutlierChannelSplittingConfig { ratio, split, bits: Some(bits), first, ..Default::default() };
        OutlierChannelSplitting::new(config).unwrap()
    }

    fn apply(pass: &OutlierChannelSplitting, network: &Network) -> Network {
        pass.apply(Rewritten::new(network.clone())).unwrap().network
    }

    fn layer(network: &Network, name: &str) -> HostLayer {
        HostLayer::of(network.node(network.find(name).unwrap())).unwrap()
    }

    #[test]
    fn the_function_stays_the_same_on_every_kind_of_graph() {
        for network in all(13) {
            for (split, first) in [(Split::Naive, true), (Split::GridAware, false)] {
                let after = apply(&splitting(0.1, split, 4, first), &network);
                assert!(after.nodes().len() > network.nodes().len(), "{}", network.name());
                let difference = difference(&network, &after);
                assert!(difference < 1e-5, "{} {split:?}: {difference}", network.name());
                assert_eq!(output_shapes(&after).last(), output_shapes(&network).last());
            }
        }
    }

    #[test]
    fn a_layer_gets_the_share_of_channels_and_smaller_outliers() {
        let network = small(14);
        let after = apply(&splitting(0.3, Split::Naive, 8, false), &network);
        for (name, channels) in [("layer1.0.conv1", 8), ("layer2.0.conv2", 16), ("linear", 16)] {
            let split = after.node(after.find(&format!("{name}.split")).unwrap());
            let Layer::ChannelSelect(select) = &split.layer else { panic!("{name}") };
            let added = (0.3f64 * channels as f64).ceil() as usize;
            assert_eq!(select.indices[..channels], (0..channels).collect::<Vec<_>>());
            assert_eq!(select.indices.len(), channels + added);
            assert_eq!(after.node(after.find(name).unwrap()).inputs, [after.find(&split.name).unwrap()]);
            let largest =
                |layer: &HostLayer| layer.weight.iter().fold(0.0f64, |largest, weight| largest.max(weight.abs()));
            let (old, new) = (layer(&network, name), layer(&after, name));
            assert!(largest(&new) < largest(&old), "{name}");
            for (source, output) in
                (0..channels).flat_map(|source| (0..old.outputs()).map(move |output| (source, output)))
            {
                let sum = |layer: &HostLayer, channels: Vec<usize>| -> f64 {
                    let readers = channels.into_iter().flat_map(|channel| layer.readers(channel));
                    readers.filter(|(to, _)| *to == output).map(|(_, place)| layer.weight[place.start]).sum()
                };
                let copies = (0..select.indices.len()).filter(|&place| select.indices[place] == source).collect();
                assert!((sum(&new, copies) - sum(&old, vec![source])).abs() < 1e-6, "the copies sum to the channel");
            }
        }
        assert!(after.find("conv1.split").is_none(), "the layer that reads the images is left alone");
        for block in after.blocks() {
            assert_eq!(after.reads_of(block.nodes.clone()), [block.input], "{}", block.name);
        }
        let again = apply(&splitting(0.3, Split::Naive, 8, false), &after);
        assert!(again.find("linear.split2").is_some());
    }

    #[test]
    fn every_layer_is_split_on_the_grid_of_its_own_bits() {
        let network = small(14);
        let own =
            |name: &str, bits: u8| layer(&apply(&splitting(0.3, Split::GridAware, bits, false), &network), name).weight;
        let pass =
            OutlierChannelSplitting::new(OutlierChannelSplittingConfig { ratio: 0.3, ..Default::default() }).unwrap();
        let layer_bits = [("linear".to_owned(), 8)].into();
        let rewritten = Rewritten { weight_bits: Some(3), layer_bits, ..Rewritten::new(network.clone()) };
        let after = pass.apply(rewritten).unwrap().network;
        for (name, bits, other) in [("layer2.0.conv2", 3, 8), ("linear", 8, 3)] {
            let found = layer(&after, name).weight;
            assert!(found == own(name, bits) && found != own(name, other), "{name}");
        }
    }

    #[test]
    fn without_channels_to_add_or_with_groups_nothing_changes() {
        let network = plain(15);
        assert_eq!(apply(&splitting(0.0, Split::Naive, 8, true), &network).content_hash(), network.content_hash());
        let mobile = crate::architectures::mobile(15);
        let after = apply(&splitting(0.1, Split::Naive, 8, false), &mobile);
        assert!(after.find("depthwise1.split").is_none() && after.find("pointwise1.split").is_some());
    }

    /// Hermite's identity `floor(x) + floor(x + 1/2) = floor(2 x)`.
    #[test]
    fn grid_aware_halves_round_as_the_whole_and_naive_ones_do_not() {
        let pass = OutlierChannelSplitting::new(OutlierChannelSplittingConfig { threshold: 0.0, ..Default::default() })
            .unwrap();
        let weights: Vec<f64> = (0..4001).map(|index| (f64::from(index) - 2000.3) * 0.00731).collect();
        let step = 0.25;
        let round = |weight: f64| (weight / step + 0.5).floor() * step;
        let error = |columns: &[Column]| -> f64 {
            let halves = columns[0].weights.iter().zip(&columns[1].weights);
            let sums = halves.map(|(first, second)| round(*first) + round(*second));
            sums.zip(&weights).map(|(sum, weight)| (sum - round(*weight)).abs()).fold(0.0, f64::max)
        };
        let columns = vec![Column { source: 0, weights: weights.clone() }];
        assert!(error(&pass.split(columns.clone(), 1, step).0) < 1e-9);
        assert!(error(&pass.split(columns, 1, 0.0).0) > 0.2);
    }

    /// One outlier of 8 among weights within 1: the error of a symmetric 4-bit grid of the whole layer falls to about a
    /// quarter with each halving of the outlier.
    #[test]
    fn the_error_of_a_grid_falls() {
        let weights = |channel: usize| (0..64).map(move |index| ((channel * 64 + index) as f64 * 0.731).sin());
        let mut columns: Vec<Column> =
            (0..16).map(|source| Column { source, weights: weights(source).collect() }).collect();
        columns[5].weights[7] = 8.0;
        let exact = columns.clone();
        let error = |columns: &[Column]| -> f64 {
            let step = columns.iter().map(Column::largest).fold(0.0, f64::max) / 7.0;
            let mut sums = vec![vec![0.0f64; 64]; 16];
            for column in columns {
                for (sum, weight) in sums[column.source].iter_mut().zip(&column.weights) {
                    *sum += (weight / step).round() * step;
                }
            }
            let rows = sums.iter().zip(&exact);
            rows.flat_map(|(sums, exact)| sums.iter().zip(&exact.weights)).map(|(a, b)| (a - b).powi(2)).sum()
        };
        let pass = splitting(0.1, Split::GridAware, 4, true);
        let errors: Vec<f64> = (0..4).map(|count| error(&pass.split_layer(columns.clone(), count, 4))).collect();
        assert!(errors[1] < 0.5 * errors[0] && errors[3] < 0.5 * errors[1], "{errors:?}");
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [
            OutlierChannelSplittingConfig { ratio: 1.5, ..Default::default() },
            OutlierChannelSplittingConfig { threshold: -0.1, ..Default::default() },
            OutlierChannelSplittingConfig { bits: Some(9), ..Default::default() },
        ] {
            assert!(OutlierChannelSplitting::new(config).is_err());
        }
    }
}
