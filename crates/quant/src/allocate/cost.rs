//! What a layer's bits cost.

use std::collections::BTreeMap;

use blindfold_zoo::{Layer, Network, NodeId, Op, Site, Tap};
use burn::tensor::Tensor;

use super::candidates::LayerCandidates;
use crate::plan::Plan;

/// Bits of one value of an image: pixels are bytes.
const IMAGE_BITS: u8 = 8;
/// Bits of one value in floating point.
const FLOAT_BITS: u8 = 32;

/// What the costs of a layer depend on, besides its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerCost {
    /// Number of weights.
    pub weights: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Bits of a value that the layer reads.
    pub input_bits: u8,
}

impl LayerCost {
    /// The costs of the layers of a network that the plan has prepared. Runs the network on one image of zeros.
    pub(super) fn of_layers(network: &Network, plan: &Plan, layers: &[LayerCandidates]) -> Vec<Self> {
        let macs = multiply_accumulates(network);
        let cost = |layer: &LayerCandidates| Self {
            weights: layer.values.len() as u64,
            macs: macs.get(&layer.name).copied().unwrap_or(0),
            input_bits: input_bits(network, plan, layer.node),
        };
        layers.iter().map(cost).collect()
    }

    /// Bit operations for one image with weights of so many bits.
    ///
    /// ```text
    /// BOPs = MACs * weight bits * activation bits
    /// ```
    ///
    /// # Source
    /// Yao et al., HAWQ-V3, ICML 2021, section 3.3; van Baalen et al., Bayesian Bits, NeurIPS 2020.
    ///
    /// # Differences from the source
    /// A layer that reads floating point counts 32 bits, one that reads the images 8.
    pub fn bit_operations(&self, bits: u8) -> u64 {
        self.macs * u64::from(bits) * u64::from(self.input_bits)
    }
}

/// Multiply-accumulates for one image, of every convolution and linear layer by its name.
///
/// ```text
/// MACs = out * (in / groups) * kernel height * kernel width * output height * output width
/// ```
pub fn multiply_accumulates(network: &Network) -> BTreeMap<String, u64> {
    let [channels, height, width] = network.input_shape();
    let image = Tensor::<4>::zeros([1, channels, height, width], &network.device().inner());
    let mut counter = MacCounter(BTreeMap::new());
    network.clone().frozen().run(image, &mut counter);
    counter.0
}

struct MacCounter(BTreeMap<String, u64>);

impl Tap for MacCounter {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if let Some(weight) = site.node.layer.weight() {
            let [_, _, height, width] = output.dims();
            let weights: usize = weight.dims().iter().product();
            self.0.insert(site.node.name.clone(), (weights * height * width) as u64);
        }
        output
    }
}

/// Bits of the values that a node reads: those of the site that they come from, through operations that only select values.
fn input_bits(network: &Network, plan: &Plan, id: NodeId) -> u8 {
    network.node(id).inputs.iter().map(|&input| output_bits(network, plan, input)).max().unwrap_or(FLOAT_BITS)
}

fn output_bits(network: &Network, plan: &Plan, id: NodeId) -> u8 {
    let node = network.node(id);
    if let Some(bits) = plan.activation(&node.name).and_then(|target| target.precision.bits()) {
        return bits;
    }
    let selects = matches!(node.layer, Layer::ChannelSelect(_));
    match node.layer.op() {
        Some(Op::Input) => IMAGE_BITS,
        Some(Op::MaxPool { .. } | Op::Flatten | Op::PadShortcut { .. } | Op::Concat) => input_bits(network, plan, id),
        None if selects => input_bits(network, plan, id),
        _ => FLOAT_BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidates::all_candidates;
    use super::*;
    use crate::families::Families;
    use crate::plan::{Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{plain, small};

    #[test]
    fn multiply_accumulates_are_counted_by_hand() {
        let found: Vec<(String, u64)> = multiply_accumulates(&small(1)).into_iter().collect();
        let expected = [
            ("conv1", 8 * 3 * 9 * 144),
            ("layer1.0.conv1", 8 * 8 * 9 * 144),
            ("layer1.0.conv2", 8 * 8 * 9 * 144),
            ("layer2.0.conv1", 16 * 8 * 9 * 36),
            ("layer2.0.conv2", 16 * 16 * 9 * 36),
            ("linear", 10 * 16),
        ];
        assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(multiply_accumulates(&plain(1))["first"], 4 * 3 * 9 * 144);
    }

    #[test]
    fn inputs_have_the_bits_of_the_site_that_they_come_from() {
        let bits_of = |protocol: Protocol| {
            let quant = QuantConfig { protocol, activation_bits: Precision::Int(4), ..QuantConfig::default() };
            let (network, layers) = all_candidates(&small(1), &quant, &[4]);
            let plan = Plan::new(&quant, &small(1), &Families::builtin()).unwrap();
            let costs = LayerCost::of_layers(&network, &plan, &layers);
            costs.iter().map(|cost| cost.input_bits).collect::<Vec<_>>()
        };
        // The mean of quantized values is in floating point where the protocol does not quantize it again.
        assert_eq!(bits_of(Protocol::Gdfq), [8, 4, 4, 4, 4, 32]);
        // The first layer's output has 8 bits, and what is averaged into the last one's input as well.
        assert_eq!(bits_of(Protocol::Brecq), [8, 8, 4, 4, 4, 32]);
        let cost = LayerCost { weights: 1, macs: 10, input_bits: 4 };
        assert_eq!(cost.bit_operations(3), 120);
    }
}
