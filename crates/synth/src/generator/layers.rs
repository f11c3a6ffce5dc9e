//! The graph of a generator, layer by layer.

use blindfold_zoo::{BatchNorm2d, Conv2d, Layer, Linear, Network, NetworkBuilder, Op, Stream};
use burn::tensor::{Device, TensorData};
use rand::RngExt;

use super::settings::GeneratorSettings;

/// The batch norms that a class may scale and shift: after the first layer and after the two convolutions that follow.
pub(super) const INNER_NORMS: [&str; 3] = ["norm0", "norm1", "norm2"];
/// The batch norm that gives the images, without scale and shift of its own.
pub(super) const LAST_NORM: &str = "norm3";
/// PyTorch's default, which the sources leave as it is in the first and in the last batch norm.
const OUTER_EPSILON: f64 = 1e-5;

/// Channels of [`INNER_NORMS`].
pub(super) fn inner_channels(settings: &GeneratorSettings) -> [usize; 3] {
    [settings.channels, settings.channels, settings.channels / 2]
}

/// The graph from codes `[batch, latent, 1, 1]` to images of that shape, their values side by side.
///
/// ```text
/// Linear(latent, C h/4 w/4) -> [C, h/4, w/4] -> BN -> x2 -> Conv3x3(C, C) -> BN -> LeakyReLU
///   -> x2 -> Conv3x3(C, C/2) -> BN -> LeakyReLU -> Conv3x3(C/2, image channels) -> Tanh -> BN without scale and shift
/// ```
/// C: `channels`; x2: nearest neighbour. Weights and biases start as PyTorch's do by default: uniform between
/// `-1 / sqrt(n)` and `1 / sqrt(n)`, with `n` inputs of a neuron.
///
/// # Source
/// Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, the generator for CIFAR, as in the authors' code.
pub(super) fn graph(
    settings: &GeneratorSettings,
    latent: usize,
    image: [usize; 3],
    device: &Device,
    random: &mut Stream,
) -> Network {
    let [colours, height, width] = image;
    let (rows, columns) = (height / 4, width / 4);
    let [wide, _, narrow] = inner_channels(settings);
    let mut draft = Draft::new(device, random);
    draft.linear("linear", wide * rows * columns, latent);
    draft.op("unflatten", Op::Unflatten { channels: wide, height: rows, width: columns });
    draft.norm(INNER_NORMS[0], wide, OUTER_EPSILON);
    for (index, channels) in [(1, wide), (2, narrow)] {
        draft.op(&format!("up{index}"), Op::Upsample { factor: 2 });
        draft.convolution(&format!("conv{index}"), channels, wide);
        draft.norm(INNER_NORMS[index], channels, settings.norm_epsilon);
        draft.op(&format!("act{index}"), Op::LeakyRelu { slope: settings.slope });
    }
    draft.convolution("conv3", colours, narrow);
    draft.op("tanh", Op::Tanh);
    draft.norm(LAST_NORM, colours, OUTER_EPSILON);
    draft.graph.finish("generator", [latent, 1, 1], colours * height * width)
}

/// A chain of layers under construction. Weights and biases start as PyTorch's do by default.
pub(crate) struct Draft<'a> {
    pub(crate) graph: NetworkBuilder<'a>,
    device: &'a Device,
    random: &'a mut Stream,
}

impl<'a> Draft<'a> {
    /// The input alone.
    pub(crate) fn new(device: &'a Device, random: &'a mut Stream) -> Self {
        Self { graph: NetworkBuilder::new(device, 0), device, random }
    }

    fn push(&mut self, name: &str, layer: Layer) {
        let last = self.graph.last();
        self.graph.push(name, &[last], layer);
    }

    pub(crate) fn op(&mut self, name: &str, op: Op) {
        self.push(name, Layer::stateless(op));
    }

    pub(crate) fn linear(&mut self, name: &str, out: usize, features: usize) {
        let weight = self.uniform(vec![out, features], features);
        let bias = self.uniform(vec![out], features);
        self.push(name, Layer::Linear(Linear::new(name, weight, Some(bias), self.device)));
    }

    pub(crate) fn convolution(&mut self, name: &str, out: usize, channels: usize) {
        let weight = self.uniform(vec![out, channels, 3, 3], 9 * channels);
        let bias = self.uniform(vec![out], 9 * channels);
        self.push(name, Layer::Conv2d(Conv2d::new(name, weight, Some(bias), [1; 2], [1; 2], 1, self.device)));
    }

    pub(crate) fn norm(&mut self, name: &str, channels: usize, epsilon: f64) {
        let state = [1.0, 0.0, 0.0, 1.0].map(|value: f32| TensorData::new(vec![value; channels], [channels]));
        self.push(name, Layer::BatchNorm2d(BatchNorm2d::new(name, state, epsilon, self.device)));
    }

    fn uniform(&mut self, shape: Vec<usize>, inputs: usize) -> TensorData {
        let reach = 1.0 / (inputs as f32).sqrt();
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.random.random_range(-reach..reach)).collect();
        TensorData::new(values, shape)
    }
}
