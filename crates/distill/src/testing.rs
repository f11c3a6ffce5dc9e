//! Networks and images for this crate's tests.

use blindfold_synth::{ImageSet, Origin, RealImages};
use blindfold_zoo::{Network, NetworkBuilder, Normalization, Op, stream};
use burn::tensor::Device;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

const SHAPE: [usize; 3] = [3, 8, 8];
const CLASSES: usize = 4;

/// Convolution and one residual block on 8x8 images of 3 channels, with batch norms, 4 classes.
pub(crate) fn network(seed: u64) -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, seed);
    graph.conv("conv1", 0, [8, 3, 3], 1, 1, false);
    graph.batch_norm("bn1", graph.last(), 8);
    let input = graph.op("relu1", &[graph.last()], Op::Relu);
    let first = graph.conv("layer1.0.conv1", input, [8, 8, 3], 1, 1, false);
    graph.batch_norm("layer1.0.bn1", graph.last(), 8);
    graph.op("layer1.0.relu1", &[graph.last()], Op::Relu);
    graph.conv("layer1.0.conv2", graph.last(), [8, 8, 3], 1, 1, false);
    let body = graph.batch_norm("layer1.0.bn2", graph.last(), 8);
    graph.op("layer1.0.add", &[body, input], Op::Add);
    graph.op("layer1.0.relu2", &[graph.last()], Op::Relu);
    graph.block("layer1.0", first, input);
    graph.op("pool", &[graph.last()], Op::AvgPool { kernel: 4, stride: 4, padding: 0 });
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), CLASSES, 32);
    graph.finish("small", SHAPE, CLASSES)
}

/// Noise with one quadrant brighter: its number is the class.
pub(crate) fn quadrants(count: usize, seed: u64) -> RealImages {
    let [channels, height, width] = SHAPE;
    let mut random = stream(seed, "quadrants");
    let labels: Vec<u16> = (0..count).map(|index| (index % CLASSES) as u16).collect();
    let mut pixels = Vec::with_capacity(count * channels * height * width);
    for label in &labels {
        let (top, left) = (usize::from(label / 2) * height / 2, usize::from(label % 2) * width / 2);
        for place in 0..channels * height * width {
            let (row, column) = (place / width % height, place % width);
            let inside = (top..top + height / 2).contains(&row) && (left..left + width / 2).contains(&column);
            pixels.push(random.random_range(0..180u8) + if inside { 50 } else { 0 });
        }
    }
    RealImages::new("quadrants", SHAPE, pixels, labels, CLASSES).unwrap()
}

/// The normalisation of [`quadrants`].
pub(crate) fn normalization() -> Normalization {
    Normalization { mean: vec![0.4; 3], std: vec![0.2; 3] }
}

/// [`quadrants`] as a control set.
pub(crate) fn control(count: usize, seed: u64) -> ImageSet {
    let real = quadrants(count, seed);
    let pixels = (0..count).flat_map(|index| real.normalized(index, &normalization())).collect();
    let labels = real.labels.iter().map(|&label| u32::from(label)).collect();
    ImageSet::new(SHAPE, pixels, Some(labels), Origin::Real).unwrap()
}

/// Gaussian noise without labels.
pub(crate) fn noise(count: usize, seed: u64) -> ImageSet {
    let mut random = stream(seed, "noise");
    let pixels = (0..count * SHAPE.iter().product::<usize>()).map(|_| StandardNormal.sample(&mut random)).collect();
    ImageSet::new(SHAPE, pixels, None, Origin::Synthetic).unwrap()
}
