//! What a ReLU hardly ever cuts off becomes a constant of the next layer.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Pass, Rewritten};
use crate::error::QuantError;
use crate::host_layer::HostLayers;
use crate::link::links;

/// Table of [`BiasAbsorption`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BiasAbsorptionConfig {
    /// How many deviations below its mean a channel is taken to stay.
    pub n_sigma: f64,
    /// Whether a constant may also pass into a layer with zero padding, as in the source; its border pixels change
    /// then.
    pub padded: bool,
}

impl Default for BiasAbsorptionConfig {
    fn default() -> Self {
        Self { n_sigma: 3.0, padded: true }
    }
}

/// Takes from a channel what is below nearly all of its values, and gives it to the bias of the next layer, so that the
/// activations between them need a smaller range.
///
/// For layers `W1 -> ReLU -> W2`, the second of which alone reads the first, and the mean `beta` and deviation `gamma`
/// of the first one's output:
///
/// ```text
/// c_i  = max(0, beta_i - n_sigma * gamma_i)
/// b1  -= c;   beta -= c;   b2[o] += sum_i (sum_uv W2[o, i, u, v]) c_i
/// ```
/// as `ReLU(x - c) = ReLU(x) - c` for `x >= c`. Pooling and flattening between them let a constant pass.
///
/// Batch norms that follow convolutions are folded first. Moments are known of folded layers alone: other layers, and
/// those with a ReLU6 or no rectifier after them, stay as they are.
///
/// **This changes the function** for values below `c`, and with `padded = true` at the border of layers with zero
/// padding: there the zeros that are padded do not have the constant, and the result is off by its share.
///
/// # Source
/// Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1
/// (absorbing high biases).
///
/// # Differences from the source
/// None with `padded = true`; the source does not speak of padding.
#[derive(Debug, Clone)]
pub struct BiasAbsorption {
    config: BiasAbsorptionConfig,
}

impl BiasAbsorption {
    /// The pass of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an `n_sigma` that is negative or not finite.
    pub fn new(config: BiasAbsorptionConfig) -> Result<Self, ConfigError> {
        if !(config.n_sigma >= 0.0 && config.n_sigma.is_finite()) {
            return Err(ConfigError::invalid("n_sigma", config.n_sigma, "write a number from 0 on, such as 3"));
        }
        Ok(Self { config })
    }
}

impl Pass for BiasAbsorption {
    fn apply(&self, network: Rewritten) -> Result<Rewritten, QuantError> {
        let Rewritten { network, mut moments, weight_bits, layer_bits } = network.folded();
        let mut links = links(&network);
        links.retain(|link| link.rectified && link.capped.is_empty() && (self.config.padded || !link.padded));
        let mut layers = HostLayers::of(&network, links.iter().flat_map(|link| [link.first, link.second]));
        for link in links {
            let Some(moments) = moments.get_mut(&network.node(link.first).name) else { continue };
            let limits = moments.mean.iter().zip(&moments.deviation);
            let constants: Vec<f64> = limits
                .map(|(mean, deviation)| (f64::from(*mean) - self.config.n_sigma * f64::from(*deviation)).max(0.0))
                .collect();
            if constants.len() != layers.get(link.first).outputs() || constants.iter().all(|constant| *constant == 0.0)
            {
                continue;
            }
            for (channel, constant) in constants.iter().enumerate() {
                layers.edit(link.first).bias_mut()[channel] -= constant;
                moments.mean[channel] -= *constant as f32;
            }
            let second = layers.edit(link.second);
            let mut gained = vec![0.0f64; second.outputs()];
            for (channel, constant) in constants.iter().enumerate().filter(|(_, constant)| **constant > 0.0) {
                for input in channel * link.repeat..(channel + 1) * link.repeat {
                    for (output, weights) in second.readers(input) {
                        gained[output] += constant * second.weight[weights].iter().sum::<f64>();
                    }
                }
            }
            second.bias_mut().iter_mut().zip(gained).for_each(|(bias, gained)| *bias += gained);
        }
        Ok(Rewritten { network: layers.write(network), moments, weight_bits, layer_bits })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Pass> = Entry {
    name: "bias-absorption",
    summary: "what lies below nearly all values of a channel moves into the bias of the next layer (changes the function a little)",
    source: "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1",
    defaults: defaults_of::<BiasAbsorptionConfig>,
    build: |table| Ok(Box::new(BiasAbsorption::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::{BatchNorm2d, Layer, Network, NetworkBuilder, Op};
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::architectures::{all, difference};
    use crate::host_layer::HostLayer;

    /// Two convolutions with a batch norm after the first, whose channels have mean 20 and 1 and deviation 2 and 1.
    fn network(padding: usize, op: Op) -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 8);
        graph.conv("conv1", 0, [2, 3, 1], 1, 0, false);
        let constant = |values: [f32; 2]| TensorData::new(values.to_vec(), [2]);
        let state = [constant([2.0, 1.0]), constant([20.0, 1.0]), constant([0.0, 0.0]), constant([400.0, 4.0])];
        graph.push("bn", &[1], Layer::BatchNorm2d(BatchNorm2d::new("bn", state, 1e-5, &device)));
        graph.op("act", &[2], op);
        graph.conv("conv2", 3, [4, 2, 3], 1, padding, false);
        graph.op("flatten", &[4], Op::Flatten);
        graph.linear("classifier", 5, 3, 4 * (2 + 2 * padding) * (2 + 2 * padding));
        graph.finish("two", [3, 4, 4], 3)
    }

    fn absorbed(network: &Network, config: BiasAbsorptionConfig) -> Rewritten {
        BiasAbsorption::new(config).unwrap().apply(Rewritten::new(network.clone())).unwrap()
    }

    #[test]
    fn without_padding_the_function_stays_the_same_and_the_biases_are_those_of_the_formula() {
        let network = network(0, Op::Relu);
        let after = absorbed(&network, BiasAbsorptionConfig::default());
        assert!(difference(&network, &after.network) < 1e-5);
        let before = Rewritten::new(network).folded().network;
        let layer = |network: &Network, name: &str| HostLayer::of(network.node(network.find(name).unwrap())).unwrap();
        assert_eq!(after.moments["conv1"].mean, [6.0, 1.0]);
        assert_eq!(after.moments["conv1"].deviation, [2.0, 1.0]);
        let (old, new) = (layer(&before, "conv1").bias.unwrap(), layer(&after.network, "conv1").bias.unwrap());
        assert!((old[0] - new[0] - 14.0).abs() < 1e-5 && old[1] == new[1], "14 = 20 - 3 * 2, none from 1 - 3");
        let second = layer(&after.network, "conv2");
        for (output, bias) in second.bias.unwrap().into_iter().enumerate() {
            let expected = 14.0 * second.weight[output * 18..output * 18 + 9].iter().sum::<f64>();
            assert!((bias - expected).abs() < 1e-5, "{output}: {bias} {expected}");
        }
    }

    #[test]
    fn padded_layers_are_left_alone_on_request() {
        let network = network(1, Op::Relu);
        let untouched = absorbed(&network, BiasAbsorptionConfig { padded: false, ..Default::default() });
        assert_eq!(untouched.moments, Rewritten::new(network.clone()).folded().moments);
        assert!(difference(&network, &untouched.network) < 1e-5);
        let changed = absorbed(&network, BiasAbsorptionConfig::default());
        assert!(difference(&network, &changed.network) > 1e-3, "the border pixels differ");
    }

    #[test]
    fn a_relu6_stops_a_constant() {
        let network = network(0, Op::Relu6);
        let after = absorbed(&network, BiasAbsorptionConfig::default());
        assert_eq!(after.moments, Rewritten::new(network.clone()).folded().moments);
    }

    #[test]
    fn where_no_channel_stays_above_zero_nothing_changes() {
        for network in all(9) {
            let after = absorbed(&network, BiasAbsorptionConfig { n_sigma: 100.0, padded: true });
            assert!(difference(&network, &after.network) < 1e-5, "{}", network.name());
        }
    }

    #[test]
    fn a_negative_distance_is_refused() {
        assert!(BiasAbsorption::new(BiasAbsorptionConfig { n_sigma: -1.0, ..Default::default() }).is_err());
    }
}
