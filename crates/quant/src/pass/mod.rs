//! Plugin family: rewrites of the network in floating point, before anything is quantized.

mod bias_absorption;
mod cross_layer_equalization;
mod outlier_channel_splitting;
mod weight_clipping;

use std::collections::BTreeMap;
use std::fmt::Debug;

use blindfold_zoo::{Entry, Layer, Network, fold_batch_norms};

pub use bias_absorption::{BiasAbsorption, BiasAbsorptionConfig};
pub use cross_layer_equalization::{
    CrossLayerEqualization, CrossLayerEqualizationConfig, EqualizedRange, Relu6Treatment,
};
pub use outlier_channel_splitting::{OutlierChannelSplitting, OutlierChannelSplittingConfig, Split};
pub use weight_clipping::{ClippingRule, WeightClipping, WeightClippingConfig};

use crate::error::QuantError;

/// A network in, a network out. All but those that say otherwise leave the function of the network unchanged.
pub trait Pass: Debug + Send + Sync {
    /// The rewritten network.
    ///
    /// # Errors
    /// A pass's own, with the layer's name.
    fn apply(&self, network: Rewritten) -> Result<Rewritten, QuantError>;
}

/// A network on its way through the passes.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// The network, in floating point and without gradients.
    pub network: Network,
    /// What the batch norms that were folded say of the outputs of the convolutions that they were folded into, by the
    /// convolution's name.
    pub moments: BTreeMap<String, ChannelMoments>,
    /// Bits that its weights will be quantized to, where that is known.
    pub weight_bits: Option<u8>,
    /// Those of single layers, by their names.
    pub layer_bits: BTreeMap<String, u8>,
}

/// Mean and standard deviation of each channel of a layer's output over the data that the network was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoments {
    /// The batch norm's beta.
    pub mean: Vec<f32>,
    /// The batch norm's |gamma|.
    pub deviation: Vec<f32>,
    /// The deviation that a folded batch norm divides what it reads by, `sqrt(running_var + epsilon)`: with
    /// `divisor / deviation` its input follows from its output, however passes scale that. Empty where none was folded.
    pub divisor: Vec<f32>,
}

impl Rewritten {
    /// A network that no pass has seen yet.
    pub fn new(network: Network) -> Self {
        Self { network: network.frozen(), moments: BTreeMap::new(), weight_bits: None, layer_bits: BTreeMap::new() }
    }

    /// With every batch norm that directly follows a convolution (its only reader) folded into it, its moments kept.
    pub fn folded(mut self) -> Self {
        for (id, node) in self.network.nodes().iter().enumerate() {
            let Layer::BatchNorm2d(bn) = &node.layer else { continue };
            let before = node.inputs[0];
            let conv = self.network.node(before);
            if matches!(conv.layer, Layer::Conv2d(_)) && self.network.consumers(before) == [id] {
                let host = |values: burn::tensor::Tensor<1>| -> Vec<f32> { values.into_data().iter::<f32>().collect() };
                let moments = ChannelMoments {
                    mean: host(bn.beta.val()),
                    deviation: host(bn.gamma.val().abs()),
                    divisor: host((bn.running_var.val() + bn.epsilon).sqrt()),
                };
                self.moments.insert(conv.name.clone(), moments);
            }
        }
        Self { network: fold_batch_norms(self.network), ..self }
    }
}

/// All passes of this crate.
pub const BUILTIN: &[Entry<dyn Pass>] = &[
    cross_layer_equalization::ENTRY,
    bias_absorption::ENTRY,
    weight_clipping::ENTRY,
    outlier_channel_splitting::ENTRY,
];
