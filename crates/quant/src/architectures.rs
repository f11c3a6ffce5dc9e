//! One network of every kind of graph, for the tests of passes.

use blindfold_zoo::{BatchNorm2d, Conv2d, Family, Layer, Linear, Network, NetworkBuilder, Op, architecture, stream};
use burn::tensor::{Device, TensorData};
use rand_distr::{Distribution, Uniform};

use crate::testing::{images, plain, resnet20, small};

/// Architectures of the zoo, each at least once, with the tables that make them small.
const OF_THE_ZOO: &[(&str, &str)] = &[
    ("resnet", "depth = 8\nshortcut = \"a\""),
    ("resnet", "depth = 8\nshortcut = \"b\""),
    ("densenet-bc", "depth = 10"),
    ("lenet5", ""),
];

/// Residual networks with both kinds of shortcut, a dense one, one without batch norms, depthwise ones, and those of
/// [`crate::testing`]; all with random statistics and biases.
pub(crate) fn all(seed: u64) -> Vec<Network> {
    let of_the_zoo = OF_THE_ZOO.iter().map(|(name, table)| build(name, table, seed));
    [resnet20(seed), small(seed), plain(seed)].into_iter().chain(of_the_zoo).chain([mobile(seed)]).collect()
}

/// An architecture of the zoo by its name and table.
pub(crate) fn build(name: &str, table: &str, seed: u64) -> Network {
    let family = Family::new("architecture", architecture::BUILTIN).unwrap();
    let network = family.build(name, toml::from_str(table).unwrap()).unwrap().build(&Device::flex(), seed);
    with_random_statistics(network, seed)
}

/// A convolution, two depthwise separable ones (after ReLU, then after ReLU6), and a classifier: 10 channels, 8x8
/// images.
pub(crate) fn mobile(seed: u64) -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, seed);
    graph.conv("stem", 0, [10, 3, 3], 1, 1, false);
    rectified(&mut graph, "stem", Op::Relu);
    depthwise(&mut graph, "depthwise1", &device);
    rectified(&mut graph, "depthwise1", Op::Relu6);
    graph.conv("pointwise1", graph.last(), [10, 10, 1], 1, 0, false);
    rectified(&mut graph, "pointwise1", Op::Relu6);
    depthwise(&mut graph, "depthwise2", &device);
    rectified(&mut graph, "depthwise2", Op::Relu);
    graph.conv("pointwise2", graph.last(), [10, 10, 1], 1, 0, false);
    rectified(&mut graph, "pointwise2", Op::Relu);
    graph.op("avgpool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("classifier", graph.last(), 7, 10);
    with_random_statistics(graph.finish("mobile", [3, 8, 8], 7), seed)
}

fn depthwise(graph: &mut NetworkBuilder<'_>, name: &str, device: &Device) {
    let values: Vec<f32> = (0..90).map(|index| ((index * 7 + name.len()) as f32 * 0.61).sin()).collect();
    let weight = TensorData::new(values, [10, 1, 3, 3]);
    let conv = Conv2d::new(name, weight, None, [1; 2], [1; 2], 10, device);
    graph.push(name, &[graph.last()], Layer::Conv2d(conv));
}

fn rectified(graph: &mut NetworkBuilder<'_>, name: &str, op: Op) {
    graph.batch_norm(&format!("{name}.bn"), graph.last(), 10);
    graph.op(&format!("{name}.act"), &[graph.last()], op);
}

fn with_random_statistics(network: Network, seed: u64) -> Network {
    let mut random = stream(seed, "statistics");
    let uniform = Uniform::new(0.5f32, 1.5).unwrap();
    let mut draw = move |count: usize, shift: f32| {
        TensorData::new((0..count).map(|_| uniform.sample(&mut random) - shift).collect::<Vec<f32>>(), [count])
    };
    network.map_layers(|name, layer| match layer {
        Layer::BatchNorm2d(norm) => {
            let (count, device) = (norm.gamma.val().dims()[0], norm.gamma.val().device());
            let state = [draw(count, 0.0), draw(count, 1.0), draw(count, 1.0), draw(count, 0.0)];
            Layer::BatchNorm2d(BatchNorm2d::new(name, state, norm.epsilon, &device))
        }
        Layer::Conv2d(conv) if conv.bias.is_some() => {
            let (weight, bias) = (conv.weight.val(), draw(conv.weight.val().dims()[0], 1.0));
            let device = weight.device();
            let data = weight.into_data();
            Layer::Conv2d(Conv2d::new(name, data, Some(bias), conv.stride, conv.padding, conv.groups, &device))
        }
        Layer::Linear(linear) => {
            let (weight, bias) = (linear.weight.val(), draw(linear.weight.val().dims()[0], 1.0));
            let device = weight.device();
            Layer::Linear(Linear::new(name, weight.into_data(), Some(bias), &device))
        }
        other => other,
    })
}

/// Largest difference of logits, relative to the largest logit.
pub(crate) fn difference(a: &Network, b: &Network) -> f32 {
    let x = images(a, 2, 77);
    let values = |network: &Network| -> Vec<f32> { network.forward(x.clone()).into_data().iter::<f32>().collect() };
    let (a, b) = (values(a), values(b));
    let largest = a.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    a.iter().zip(&b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_of_the_zoo_is_among_them() {
        for entry in architecture::BUILTIN {
            let listed = OF_THE_ZOO.iter().any(|(name, _)| *name == entry.name);
            assert!(listed, "`{}` is new: add it to `OF_THE_ZOO`, with a table that makes it small", entry.name);
        }
    }
}
