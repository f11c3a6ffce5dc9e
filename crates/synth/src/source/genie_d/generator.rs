//! The generator that draws one batch, and is thrown away with it.

use blindfold_zoo::{BatchStatistics, Layer, Network, Op, Stream};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};

use super::GenieDConfig;
use crate::generator::layers::Draft;

/// The batch norm that gives the images, without scale and shift of its own.
const LAST_NORM: &str = "norm2";

/// A generator with its optimizer.
///
/// ```text
/// Linear(latent, C h/4 w/4) -> [C, h/4, w/4] -> BN -> x2 -> Conv3x3(C, C/2) -> BN -> LeakyReLU
///   -> x2 -> Conv3x3(C/2, image channels) -> Tanh -> BN without scale and shift
/// ```
/// C: `channels`; x2: nearest neighbour; the batch norms take the statistics of the batch always. Weights and biases
/// start as PyTorch's do by default: uniform between `-1 / sqrt(n)` and `1 / sqrt(n)`, with `n` inputs of a neuron.
pub(super) struct Generator {
    network: Network,
    optimizer: ModuleOptimizer,
    image: [usize; 3],
}

impl Generator {
    /// A generator of such images, whose sides are divisible by 4, on the autodiff device that belongs to `device`.
    pub(super) fn new(config: &GenieDConfig, image: [usize; 3], device: &Device, random: &mut Stream) -> Self {
        let network = graph(config, image, device, random).trainable().map_layers(|node, layer| match layer {
            Layer::BatchNorm2d(mut bn) if node == LAST_NORM => {
                bn.gamma = bn.gamma.set_require_grad(false);
                bn.beta = bn.beta.set_require_grad(false);
                Layer::BatchNorm2d(bn)
            }
            layer => layer,
        });
        Self { network, optimizer: config.generator_optimizer.init(), image }
    }

    /// Images `[batch, channel, height, width]` of codes `[batch, latent, 1, 1]`, with gradients to both.
    pub(super) fn images(&self, codes: Tensor<4>) -> Tensor<4> {
        let ([batch, ..], [channels, height, width]) = (codes.dims(), self.image);
        let values = self.network.run(codes, &mut BatchStatistics::default());
        values.reshape([batch, channels, height, width])
    }

    /// One step of its optimizer.
    pub(super) fn step(mut self, lr: f64, gradients: Gradients) -> Self {
        let gradients = GradientsParams::from_grads(gradients, &self.network);
        self.network = self.optimizer.step(lr, self.network, gradients);
        self
    }
}

fn graph(config: &GenieDConfig, image: [usize; 3], device: &Device, random: &mut Stream) -> Network {
    let [colours, height, width] = image;
    let (rows, columns) = (height / 4, width / 4);
    let (wide, narrow) = (config.channels, config.channels / 2);
    let epsilon = config.norm_epsilon;
    let mut draft = Draft::new(device, random);
    draft.linear("linear", wide * rows * columns, config.latent);
    draft.op("unflatten", Op::Unflatten { channels: wide, height: rows, width: columns });
    draft.norm("norm0", wide, epsilon);
    draft.op("up1", Op::Upsample { factor: 2 });
    draft.convolution("conv1", narrow, wide);
    draft.norm("norm1", narrow, epsilon);
    draft.op("act1", Op::LeakyRelu { slope: config.slope });
    draft.op("up2", Op::Upsample { factor: 2 });
    draft.convolution("conv2", colours, narrow);
    draft.op("tanh", Op::Tanh);
    draft.norm(LAST_NORM, colours, epsilon);
    draft.graph.finish("genie-generator", [config.latent, 1, 1], colours * height * width)
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;
    use crate::sample::values;

    fn generator() -> (Generator, Tensor<4>) {
        let config = GenieDConfig { latent: 5, channels: 8, ..GenieDConfig::default() };
        let device = Device::flex();
        let codes = Tensor::from_data(values(&[6, 5, 1, 1], (-2.0, 2.0), 1), &device);
        (Generator::new(&config, [3, 8, 12], &device, &mut stream(1, "test generator")), codes)
    }

    #[test]
    fn each_colour_of_a_batch_is_standardised() {
        let (generator, codes) = generator();
        let images = generator.images(codes).inner();
        assert_eq!(images.dims(), [6, 3, 8, 12]);
        let pixels: Vec<f64> = images.swap_dims(0, 1).into_data().iter::<f64>().collect();
        for colour in pixels.chunks(6 * 96) {
            let mean = colour.iter().sum::<f64>() / 576.0;
            let var = colour.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 576.0;
            assert!(mean.abs() < 1e-4 && (var - 1.0).abs() < 1e-2, "{mean} {var}");
        }
    }

    #[test]
    fn a_step_moves_everything_but_the_last_scale_and_shift() {
        let (generator, codes) = generator();
        let before = generator.network.state();
        let target = Tensor::<4>::from_data(values(&[6, 3, 8, 12], (-1.0, 1.0), 2), &Device::flex());
        let gradients = (generator.images(codes) - target).abs().mean().backward();
        let after = generator.step(0.01, gradients).network.state();
        let fixed = ["norm2.weight", "norm2.bias"];
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            // The batch norm behind it takes away what it adds.
            if name == "conv1.bias" {
                continue;
            }
            let still = name.contains("running") || fixed.contains(&name.as_str());
            assert_eq!(before == after, still, "{name}");
        }
    }
}
