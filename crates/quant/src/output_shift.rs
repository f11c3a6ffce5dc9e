//! A constant added to what a layer gives.

use std::collections::BTreeSet;

use blindfold_zoo::{Layer, Network, NodeId, parameter_id};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// The same network with `shift` added to the output channels of a convolution or linear layer, by its bias.
///
/// A layer without bias whose only reader is a batch norm has it taken from that one's running mean, as
/// `BN(y + c)` with mean `m` is `BN(y)` with mean `m - c`; another layer without bias gets one.
pub(crate) fn shift_output(network: Network, id: NodeId, shift: &[f32]) -> Network {
    let Some(norm) = absorbing_norm(&network, id) else { return shift_bias(network, id, shift) };
    replace(network, norm, |_, layer| match layer {
        Layer::BatchNorm2d(mut norm) => {
            norm.running_mean = norm.running_mean.map(|mean| {
                let shift = constant(shift, &mean.device());
                mean - shift
            });
            Layer::BatchNorm2d(norm)
        }
        other => other,
    })
}

/// The batch norm that takes a constant in the place of a convolution's bias: the only reader of one without bias.
pub(crate) fn absorbing_norm(network: &Network, id: NodeId) -> Option<NodeId> {
    let [reader] = network.consumers(id)[..] else { return None };
    let absorbs = matches!(network.node(reader).layer, Layer::BatchNorm2d(_)) && lacks_bias(&network.node(id).layer);
    absorbs.then_some(reader)
}

/// The same network with a bias of zeros at every layer without one whose bias is among the named parameters: what a
/// network needs before it takes the state of one that [`shift_output`] has changed.
pub(crate) fn with_biases_of(mut network: Network, parameters: &[(String, TensorData)]) -> Network {
    let named: BTreeSet<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    for id in 0..network.nodes().len() {
        let node = network.node(id);
        let wanted = lacks_bias(&node.layer) && named.contains(format!("{}.bias", node.name).as_str());
        if let Some(weight) = node.layer.weight().filter(|_| wanted) {
            let zeros = vec![0.0; weight.dims()[0]];
            network = shift_bias(network, id, &zeros);
        }
    }
    network
}

fn lacks_bias(layer: &Layer) -> bool {
    match layer {
        Layer::Conv2d(conv) => conv.bias.is_none(),
        Layer::Linear(linear) => linear.bias.is_none(),
        _ => false,
    }
}

fn shift_bias(network: Network, id: NodeId, shift: &[f32]) -> Network {
    replace(network, id, |name, layer| match layer {
        Layer::Conv2d(mut conv) => {
            let device = conv.weight.val().device();
            conv.bias = Some(shifted(name, conv.bias, constant(shift, &device)));
            Layer::Conv2d(conv)
        }
        Layer::Linear(mut linear) => {
            let device = linear.weight.val().device();
            linear.bias = Some(shifted(name, linear.bias, constant(shift, &device)));
            Layer::Linear(linear)
        }
        other => other,
    })
}

/// The bias of the layer `name` with a constant added; the constant where there was none.
fn shifted(name: &str, bias: Option<Param<Tensor<1>>>, shift: Tensor<1>) -> Param<Tensor<1>> {
    match bias {
        Some(bias) => bias.map(|bias| bias + shift),
        None => Param::initialized(parameter_id(&format!("{name}.bias")), shift).set_require_grad(false),
    }
}

fn constant(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// The same network with one layer replaced.
fn replace(network: Network, id: NodeId, by: impl FnOnce(&str, Layer) -> Layer) -> Network {
    let (mut place, mut by) = (0..network.nodes().len(), Some(by));
    network.map_layers(|name, layer| match by.take_if(|_| place.next() == Some(id)) {
        Some(by) => by(name, layer),
        None => layer,
    })
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Site, Tap, fold_batch_norms};

    use super::*;
    use crate::architectures::{all, build};
    use crate::testing::images;

    /// Adds a constant to each channel of what one node gives.
    struct Adding {
        id: NodeId,
        shift: Vec<f32>,
    }

    impl Tap for Adding {
        fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
            if site.id != self.id {
                return output;
            }
            let shift = constant(&self.shift, &output.device()).reshape([1, self.shift.len(), 1, 1]);
            output + shift
        }
    }

    fn values(logits: Tensor<2>) -> Vec<f32> {
        logits.into_data().iter::<f32>().collect()
    }

    #[test]
    fn it_is_a_constant_at_the_layers_output_on_every_kind_of_graph() {
        let networks = all(21).into_iter().filter(|network| network.name() != "resnet20");
        for network in networks.flat_map(|network| [fold_batch_norms(network.clone()), network]) {
            let x = images(&network, 2, 4);
            for id in (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight()) {
                let outputs = network.node(id).layer.weight().unwrap().dims()[0];
                let shift: Vec<f32> = (0..outputs).map(|channel| (channel as f32 * 0.9).cos()).collect();
                let expected = values(network.run(x.clone(), &mut Adding { id, shift: shift.clone() }));
                let found = values(shift_output(network.clone(), id, &shift).forward(x.clone()));
                let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                let worst = expected.iter().zip(&found).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
                assert!(worst < 1e-5 * largest, "{} {}: {worst}", network.name(), network.node(id).name);
            }
        }
    }

    #[test]
    fn a_state_with_new_biases_is_taken_up() {
        let network = build("densenet-bc", "depth = 10", 22);
        let id = network.find("block1.layer.0.conv2").unwrap();
        assert_eq!(absorbing_norm(&network, id), None, "a concatenation reads it");
        let outputs = network.node(id).layer.weight().unwrap().dims()[0];
        let shifted = shift_output(network.clone(), id, &vec![0.5; outputs]);
        let state = shifted.state();
        assert!(network.clone().with_state(state.clone()).is_err());
        let restored = with_biases_of(network.clone(), &state).with_state(state).unwrap();
        let x = images(&network, 1, 5);
        assert_eq!(values(restored.forward(x.clone())), values(shifted.forward(x)));
    }
}
