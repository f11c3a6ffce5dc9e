//! Networks and images for this crate's tests.

use blindfold_zoo::{Network, NetworkBuilder, NodeId, Op, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal, Uniform};

/// ResNet-20 for 32x32 images of 3 channels, with batch norms of random statistics.
pub(crate) fn resnet20(seed: u64) -> Network {
    residual("resnet20", &[(16, 3), (32, 3), (64, 3)], 32, seed)
}

/// One residual block of 8 and one of 16 channels on 12x12 images.
pub(crate) fn small(seed: u64) -> Network {
    residual("small", &[(8, 1), (16, 1)], 12, seed)
}

/// Convolution, pooling and a classifier: no batch norms, no blocks.
pub(crate) fn plain(seed: u64) -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, seed);
    graph.conv("first", 0, [4, 3, 3], 1, 1, true);
    graph.op("relu", &[graph.last()], Op::Relu);
    graph.op("avgpool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("classifier", graph.last(), 5, 4);
    graph.finish("plain", [3, 12, 12], 5)
}

fn residual(name: &str, stages: &[(usize, usize)], side: usize, seed: u64) -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, seed);
    let mut width = stages[0].0;
    graph.conv("conv1", 0, [width, 3, 3], 1, 1, false);
    graph.batch_norm("bn1", graph.last(), width);
    let mut last: NodeId = graph.op("relu1", &[graph.last()], Op::Relu);
    for (stage, &(out, units)) in stages.iter().enumerate() {
        for unit in 0..units {
            let name = format!("layer{}.{unit}", stage + 1);
            let stride = if width == out { 1 } else { 2 };
            let first = graph.last() + 1;
            graph.conv(&format!("{name}.conv1"), last, [out, width, 3], stride, 1, false);
            graph.batch_norm(&format!("{name}.bn1"), graph.last(), out);
            graph.op(&format!("{name}.relu1"), &[graph.last()], Op::Relu);
            graph.conv(&format!("{name}.conv2"), graph.last(), [out, out, 3], 1, 1, false);
            let body = graph.batch_norm(&format!("{name}.bn2"), graph.last(), out);
            let before = (out - width) / 2;
            let shortcut = if stride == 1 {
                last
            } else {
                graph.op(
                    &format!("{name}.shortcut"),
                    &[last],
                    Op::PadShortcut { stride, before, after: out - width - before },
                )
            };
            graph.op(&format!("{name}.add"), &[body, shortcut], Op::Add);
            let output = graph.op(&format!("{name}.relu2"), &[graph.last()], Op::Relu);
            graph.block(&name, first, last);
            (last, width) = (output, out);
        }
    }
    graph.op("avgpool", &[last], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), 10, width);
    let network = graph.finish(name, [3, side, side], 10);
    let mut random = stream(seed, "batch norms");
    let uniform = Uniform::new(0.5f32, 1.5).unwrap();
    let state = network
        .state()
        .into_iter()
        .map(|(name, data)| {
            let shape = data.shape().clone();
            let is_norm = name.contains("bn");
            let positive = name.ends_with("weight") || name.ends_with("running_var");
            let values: Vec<f32> = data
                .iter::<f32>()
                .map(|value| match (is_norm, positive) {
                    (false, _) => value,
                    (true, true) => uniform.sample(&mut random),
                    (true, false) => uniform.sample(&mut random) - 1.0,
                })
                .collect();
            (name, TensorData::new(values, shape))
        })
        .collect();
    network.with_state(state).unwrap()
}

/// Gaussian images.
pub(crate) fn images(network: &Network, count: usize, seed: u64) -> Tensor<4> {
    let [channels, height, width] = network.input_shape();
    let mut random = stream(seed, "images");
    let values: Vec<f32> = (0..count * channels * height * width).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_data(TensorData::new(values, [count, channels, height, width]), &network.device())
}
