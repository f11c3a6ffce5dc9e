//! The network against `tests/data/generator_network.json`, which PyTorch computed in double precision
//! (`scripts/reference/generator_network.py`), and what it promises of its images.

use blindfold_zoo::Stream;
use burn::optim::GradientsParams;
use serde_json::Value;

use super::*;

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/generator_network.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn settings(channels: usize) -> GeneratorSettings {
    GeneratorSettings { channels, ..GeneratorSettings::default() }
}

fn blueprint(settings: &GeneratorSettings, image: [usize; 3]) -> Blueprint<'_> {
    Blueprint { settings, latent: 5, image, classes: 3, embedding: EmbeddingValues::Random }
}

fn generator(settings: &GeneratorSettings, image: [usize; 3], seed: u64) -> Generator {
    Generator::new(&blueprint(settings, image), &Device::flex(), seed).unwrap()
}

fn draw(generator: &Generator, count: usize, random: &mut Stream) -> Tensor<4> {
    let latents = Latents::labelled(3, count, random);
    let noise = latents.noise(5, random);
    generator.forward(&latents, noise)
}

/// The gradient of a parameter, whatever its rank.
fn gradient(gradients: &GradientsParams, name: &str) -> Option<Vec<f32>> {
    let id = parameter_id(name);
    match name {
        _ if name.starts_with("conv") && name.ends_with("weight") => gradients.get::<4>(id).map(host),
        "linear.weight" | EMBEDDING => gradients.get::<2>(id).map(host),
        _ if name.contains(".classes.") => gradients.get::<2>(id).map(host),
        _ => gradients.get::<1>(id).map(host),
    }
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1f32, |largest, value| largest.max(value.abs()));
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() < 2e-4 * scale, "{what} {index}: {ours} is not {theirs}");
    }
}

#[test]
fn images_and_gradients_are_pytorchs() {
    let reference = reference();
    let [colours, height, width] = [0, 1, 2].map(|index: usize| size(&reference["image"][index]));
    for case in reference["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let by_class = case["by_class"].as_bool().unwrap();
        let conditioning = if by_class { Conditioning::BatchNorm } else { Conditioning::Embedding };
        let settings = GeneratorSettings { conditioning, ..settings(size(&reference["channels"])) };
        let embedded = case["embedded"].as_bool().unwrap();
        let plan = Blueprint {
            settings: &settings,
            latent: size(&reference["latent"]),
            image: [colours, height, width],
            classes: size(&reference["classes"]),
            embedding: if embedded { EmbeddingValues::Random } else { EmbeddingValues::None },
        };
        let generator = Generator::new(&plan, &Device::flex(), 1).unwrap();
        let fixed = |node: &str| node == LAST_NORM || (by_class && INNER_NORMS.contains(&node));
        let state = generator.state().into_iter().map(|(name, old)| {
            let (node, _) = name.split_once('.').unwrap();
            let known = reference["parameters"].get(&name).filter(|_| !fixed(node) || name.contains(".classes."));
            let data = known.map_or(old.clone(), |values| TensorData::new(numbers(values), old.shape().to_vec()));
            (name, data)
        });
        let generator = generator.clone().with_state(state.collect()).unwrap();

        let labels: Vec<u32> = numbers(&case["labels"]).into_iter().map(|label| label as u32).collect();
        let latents = match size(&case["parts"]) {
            1 => Latents::Labelled { labels },
            parts => {
                let shares = numbers(&case["shares"]);
                Latents::Superposed { labels, shares, parts, epsilon: 1e-5, average_norms: true }
            }
        };
        let images = generator.forward(&latents, numbers(&case["noise"]));
        assert_eq!(images.dims(), [size(&reference["batch"]), colours, height, width]);
        assert_close(name, &host(images.clone().inner()), &numbers(&case["images"]));
        let weights = TensorData::new(numbers(&case["weights"]), images.dims());
        let weights = Tensor::<4>::from_data(weights, &Device::flex());
        let gradients = GradientsParams::from_grads((images * weights).sum().backward(), &generator);
        let expected = case["gradients"].as_object().unwrap();
        assert_eq!(gradients.len(), expected.len(), "{name}: exactly these parameters are trained");
        for (parameter, values) in expected {
            let ours = gradient(&gradients, parameter).unwrap_or_else(|| panic!("{name}: {parameter} has no gradient"));
            assert_close(&format!("{name}: {parameter}"), &ours, &numbers(values));
        }
    }
}

#[test]
fn images_have_the_teachers_shape_and_are_normalised_over_the_batch() {
    for image in [[3, 8, 8], [3, 32, 32], [1, 12, 4]] {
        let generator = generator(&settings(8), image, 1);
        let images = draw(&generator, 16, &mut stream(2, "latents")).inner();
        let [channels, height, width] = image;
        assert_eq!(images.dims(), [16, channels, height, width]);
        let values = host(images.swap_dims(0, 1));
        for channel in values.chunks(16 * height * width) {
            let count = channel.len() as f32;
            let mean = channel.iter().sum::<f32>() / count;
            let var = channel.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
            // The batch norm adds 1e-5 to the variance of a hyperbolic tangent, which is at most 1.
            assert!(mean.abs() < 1e-3 && var > 0.9 && var < 1.001, "{image:?}: mean {mean}, variance {var}");
        }
    }
}

#[test]
fn images_are_the_same_with_and_without_gradients() {
    let generator = generator(&settings(8), [3, 8, 8], 1);
    let with = draw(&generator, 8, &mut stream(2, "latents"));
    let without = draw(&generator.valid(), 8, &mut stream(2, "latents"));
    assert!(with.is_tracked() && !without.is_autodiff());
    assert_close("plain", &host(without), &host(with.inner()));
}

#[test]
fn the_state_gives_back_the_same_bits() {
    for conditioning in [Conditioning::Embedding, Conditioning::BatchNorm] {
        let settings = GeneratorSettings { conditioning, ..settings(8) };
        let (first, second) = (generator(&settings, [3, 8, 8], 1), generator(&settings, [3, 8, 8], 2));
        let restored = second.clone().with_state(first.state()).unwrap();
        let bits = |generator: &Generator| -> Vec<u32> {
            host(draw(generator, 4, &mut stream(2, "latents")).inner()).into_iter().map(f32::to_bits).collect()
        };
        assert_ne!(bits(&second), bits(&first));
        assert_eq!(bits(&restored), bits(&first));
    }
}

#[test]
fn the_state_of_another_generator_is_refused() {
    let (narrow, wide) = (settings(8), settings(16));
    let other = generator(&wide, [3, 8, 8], 1).state();
    let error = generator(&narrow, [3, 8, 8], 1).with_state(other).unwrap_err().to_string();
    assert!(error.starts_with("the parameters of a generator: "), "{error}");
    let mut state = generator(&narrow, [3, 8, 8], 1).state();
    state.retain(|(name, _)| name != EMBEDDING);
    let error = generator(&narrow, [3, 8, 8], 1).with_state(state).unwrap_err().to_string();
    assert!(error.contains("`embedding.weight` is not [3, 5]"), "{error}");
}

#[test]
fn sides_that_cannot_be_halved_twice_are_refused() {
    for (image, sides) in [([3, 6, 8], "6x8"), ([3, 8, 10], "8x10"), ([3, 0, 8], "0x8")] {
        let settings = settings(8);
        let error = Generator::new(&blueprint(&settings, image), &Device::flex(), 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`teacher`: images of {sides} pixels")), "{error}");
    }
}

#[test]
fn an_embedding_can_be_given() {
    let settings = settings(8);
    let values: Vec<f32> = (0..15).map(|value| value as f32).collect();
    let plan = Blueprint { embedding: EmbeddingValues::Given(values.clone()), ..blueprint(&settings, [3, 8, 8]) };
    let state = Generator::new(&plan, &Device::flex(), 1).unwrap().state();
    let (_, embedding) = state.iter().find(|(name, _)| name == EMBEDDING).unwrap();
    assert_eq!((embedding.iter::<f32>().collect::<Vec<f32>>(), embedding.shape().to_vec()), (values, vec![3, 5]));
}
