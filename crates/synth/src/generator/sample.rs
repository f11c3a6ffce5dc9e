//! A teacher for the tests whose classes can be seen.

use blindfold_zoo::{Conv2d, Layer, Linear, Network, NetworkBuilder, Op};
use burn::tensor::{Device, TensorData};

/// For images `[3, 8, 8]`: the class is the colour whose mean is largest, and the logits are eight times the means.
///
/// Its one batch norm reads the images themselves, with mean 0 and variance 1.
pub(crate) fn colour_network() -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, 1);
    let diagonal = |value: f32| (0..9).map(|place| if place % 4 == 0 { value } else { 0.0 }).collect::<Vec<f32>>();
    let weight = TensorData::new(diagonal(1.0), [3, 3, 1, 1]);
    graph.push("conv", &[0], Layer::Conv2d(Conv2d::new("conv", weight, None, [1; 2], [0; 2], 1, &device)));
    graph.batch_norm("bn", graph.last(), 3);
    graph.op("pool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    let weight = TensorData::new(diagonal(8.0), [3, 3]);
    graph.push("linear", &[graph.last()], Layer::Linear(Linear::new("linear", weight, None, &device)));
    graph.finish("colour", [3, 8, 8], 3)
}
