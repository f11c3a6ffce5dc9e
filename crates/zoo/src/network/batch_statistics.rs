//! Batch norms in training mode.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use burn::tensor::module::batch_norm_train;

use super::Network;
use super::layer::{BatchNorm2d, Layer};
use super::tap::{Site, Tap};

/// Normalises by the statistics of the batch, and keeps them for the running ones.
///
/// ```text
/// y = gamma * (x - m) / sqrt(v + epsilon) + beta      m, v: mean and biased variance of the batch, per channel
/// running_mean <- (1 - a) * running_mean + a * m
/// running_var  <- (1 - a) * running_var  + a * v * n / (n - 1)        n: values a channel has in the batch
/// ```
///
/// # Source
/// Ioffe and Szegedy, Batch normalization, ICML 2015, algorithm 1; the running statistics as `torch.nn.BatchNorm2d` keeps them.
#[derive(Debug, Default)]
pub struct BatchStatistics {
    observed: BTreeMap<String, Observed>,
}

#[derive(Debug)]
struct Observed {
    mean: Tensor<1>,
    unbiased: Tensor<1>,
}

impl Tap for BatchStatistics {
    fn batch_norm(&mut self, site: Site<'_>, layer: &BatchNorm2d, input: &Tensor<4>) -> Option<Tensor<4>> {
        let [batch, _, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let result = batch_norm_train(input.clone(), layer.gamma.val(), layer.beta.val(), layer.epsilon);
        let unbiased = result.variance.mul_scalar(count / (count - 1.0).max(1.0));
        self.observed.insert(site.node.name.clone(), Observed { mean: result.mean, unbiased });
        Some(result.output)
    }
}

impl BatchStatistics {
    /// The network with its running statistics moved towards those of the batch by the share `momentum`.
    pub fn update(self, network: Network, momentum: f64) -> Network {
        let mut observed = self.observed;
        network.map_layers(|node, layer| match (layer, observed.remove(node)) {
            (Layer::BatchNorm2d(mut norm), Some(batch)) => {
                let blend = |old: Tensor<1>, new: Tensor<1>| {
                    old.detach().mul_scalar(1.0 - momentum) + new.detach().mul_scalar(momentum)
                };
                norm.running_mean = norm.running_mean.map(|old| blend(old, batch.mean));
                norm.running_var = norm.running_var.map(|old| blend(old, batch.unbiased));
                Layer::BatchNorm2d(norm)
            }
            (layer, _) => layer,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::NetworkBuilder;

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn network() -> Network {
        let device = Device::flex();
        let mut builder = NetworkBuilder::new(&device, 1);
        builder.batch_norm("bn1", 0, 2);
        builder.finish("norm", [2, 1, 2], 4)
    }

    /// Channel 0 holds 1, 2, 3, 6 (mean 3, biased variance 3.5), channel 1 the constant 5.
    fn images(device: &Device) -> Tensor<4> {
        Tensor::from_floats([[[[1.0, 2.0]], [[5.0, 5.0]]], [[[3.0, 6.0]], [[5.0, 5.0]]]], device)
    }

    #[test]
    fn outputs_and_running_statistics_have_their_closed_form() {
        let network = network();
        let mut tap = BatchStatistics::default();
        let output = floats(network.run(images(&network.device()), &mut tap));
        let deviation = (3.5f32 + 1e-5).sqrt();
        for (value, expected) in output.iter().zip([-2.0, -1.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]) {
            assert!((value - expected / deviation).abs() < 1e-5, "{output:?}");
        }
        let state = tap.update(network, 0.1).state();
        let value = |name: &str| {
            let (_, data) = state.iter().find(|(other, _)| other == name).unwrap();
            data.as_slice::<f32>().unwrap().to_vec()
        };
        for (ours, expected) in value("bn1.running_mean").iter().zip([0.3, 0.5]) {
            assert!((ours - expected).abs() < 1e-6);
        }
        for (ours, expected) in value("bn1.running_var").iter().zip([0.9 + 0.1 * 14.0 / 3.0, 0.9]) {
            assert!((ours - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn gradients_run_through_the_statistics() {
        let network = network().trainable();
        let images = images(&network.device()).require_grad();
        let weights = Tensor::<2>::from_floats([[1.0, -2.0, 0.5, 0.0], [0.3, 1.0, 0.0, 2.0]], &network.device());
        let loss = |images: Tensor<4>| (network.run(images, &mut BatchStatistics::default()) * weights.clone()).sum();
        let gradient = floats(images.grad(&loss(images.clone()).backward()).unwrap());
        for place in [0, 1, 4, 5] {
            let moved = |by: f32| {
                let mut values = floats(images.clone().inner());
                values[place] += by;
                let data = TensorData::new(values, [2, 2, 1, 2]);
                floats(loss(Tensor::from_data(data, &network.device())).inner())[0]
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((difference - gradient[place]).abs() < 1e-3, "{place}: {difference} is not {}", gradient[place]);
        }
    }
}
