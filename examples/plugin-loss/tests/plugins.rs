//! That Blindfold takes plugins from outside: it lists, describes and runs them, and its trainer learns by their loss.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use blindfold::burn::tensor::{Device, Tensor};
use blindfold::distill::{Signals, StudentConfig, StudentTrainer, TeacherConfig, TeacherTrainer};
use blindfold::quant::{Plan, QuantConfig, QuantizedNetwork, Quantizer, Range};
use blindfold::rand::RngExt;
use blindfold::synth::{ImageSet, NoProgress, Progress, RealImages, Request, Statistics, StatisticsLoss, Step, Target};
use blindfold::zoo::{Network, NetworkBuilder, Normalization, Op, stream};
use plugin_loss::{bhattacharyya, jeffreys, registry, shift};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugin-loss"));
    let output = command.args(arguments).current_dir(root()).env_remove("BLINDFOLD_ROOT").output().unwrap();
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), read(&output.stdout), read(&output.stderr))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

#[test]
fn the_program_lists_and_describes_them_and_knows_their_keys() {
    for (list, kind, name, key) in [
        ("losses", "loss", "jeffreys", "temperature = 4.0"),
        ("sources", "source", "pink", "octaves = 6"),
        ("statistics", "statistics", "bhattacharyya", "epsilon = "),
        ("quantizers", "quantizer", "shift", "least_exponent = -30"),
    ] {
        let (code, stdout, stderr) = program(&["list", list]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.lines().any(|line| line.starts_with(&format!("{name} "))), "{stdout}");
        let (code, stdout, stderr) = program(&["describe", kind, name]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(key) && stdout.contains("source: "), "{stdout}");
    }
    let (code, _, stderr) = program(&["describe", "loss", "jefreys"]);
    assert_eq!((code, stderr.contains("did you mean `jeffreys`?")), (Some(2), true), "{stderr}");
    let (_, stdout, _) = program(&["config", "--schema"]);
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let loss = &schema["$defs"]["loss"]["properties"];
    assert!(loss["kind"]["enum"].as_array().unwrap().contains(&"jeffreys".into()));
    assert!(loss["temperature"]["description"].as_str().unwrap().contains("`jeffreys` (default 4.0)"), "{loss}");
    assert_eq!(schema["$defs"]["image-source"]["properties"]["octaves"]["type"], "integer");
}

#[test]
fn a_fast_run_uses_all_of_them() {
    let results = tempfile::tempdir().unwrap();
    let experiment = "examples/plugin-loss/configs/pink-jeffreys.toml";
    let out = results.path().to_str().unwrap();
    let (code, stdout, stderr) = program(&["exp", experiment, "--fast", "--method", "pink-jeffreys", "--out", out]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("pink-jeffreys") && stdout.contains("synthetic"), "{stdout}");
    let run = results.path().join("runs/pink-jeffreys+fast/pink-jeffreys/seed-1");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"loss/jeffreys\""), "{metrics}");
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    for words in ["source = \"pink\"", "quantizer = \"shift\"", "kind = \"jeffreys\"", "kind = \"bhattacharyya\""] {
        assert!(config.contains(words), "{words}: {config}");
    }
    let wrong = ["exp", experiment, "--method", "pink-jeffreys", "--set", "images.octaves=17", "--out", out];
    let (code, _, stderr) = program(&wrong);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("octaves`: 17 is not valid: write 1 to 16"), "{stderr}");
    let wrong = "images={ source = \"zeroq\", loss = { kind = \"bhattacharya\" } }";
    let (code, _, stderr) = program(&["exp", experiment, "--method", "pink-jeffreys", "--set", wrong, "--out", out]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("did you mean `bhattacharyya`?") && stderr.contains("norm, gaussian-kl"), "{stderr}");
}

const SHAPE: [usize; 3] = [3, 8, 8];
const CLASSES: usize = 4;

/// Convolution and one residual block on 8x8 images.
fn network() -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, 3);
    graph.conv("conv1", 0, [8, 3, 3], 1, 1, false);
    graph.batch_norm("bn1", graph.last(), 8);
    let input = graph.op("relu1", &[graph.last()], Op::Relu);
    let first = graph.conv("layer1.0.conv1", input, [8, 8, 3], 1, 1, false);
    let body = graph.batch_norm("layer1.0.bn1", graph.last(), 8);
    graph.op("layer1.0.add", &[body, input], Op::Add);
    graph.op("layer1.0.relu1", &[graph.last()], Op::Relu);
    graph.block("layer1.0", first, input);
    graph.op("pool", &[graph.last()], Op::AvgPool { kernel: 4, stride: 4, padding: 0 });
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), CLASSES, 32);
    graph.finish("small", SHAPE, CLASSES)
}

fn normalization() -> Normalization {
    Normalization { mean: vec![0.4; 3], std: vec![0.2; 3] }
}

/// A network that has learned which quadrant of a noisy image is brighter.
fn teacher() -> Network {
    let (mut random, mut pixels) = (stream(1, "quadrants"), Vec::new());
    let labels: Vec<u16> = (0..160).map(|index| index % CLASSES as u16).collect();
    for &label in &labels {
        for place in 0..SHAPE.iter().product::<usize>() {
            let (row, column) = (place / 8 % 8, place % 8);
            let inside = (row / 4, column / 4) == (usize::from(label / 2), usize::from(label % 2));
            pixels.push(random.random_range(0..180u8) + if inside { 50 } else { 0 });
        }
    }
    let images = RealImages::new("quadrants", SHAPE, pixels, labels, CLASSES).unwrap();
    let config = TeacherConfig { epochs: 5, batch: 16, lr: 0.05, augment: Default::default(), ..Default::default() };
    let mut trainer = TeacherTrainer::new(network(), images, normalization(), config, 5).unwrap();
    while !trainer.is_done() {
        trainer.step().unwrap();
    }
    trainer.network()
}

fn images(teacher: &Network, options: &str, seed: u64) -> ImageSet {
    let source = registry().unwrap().sources.build("pink", options.parse().unwrap()).unwrap();
    let (normalization, progress) = (normalization(), &mut NoProgress);
    source.synthesize(Request { teacher, normalization: &normalization, seed, real: None, progress }).unwrap()
}

/// Share of the images that both give one class, and mean squared difference of the logits.
fn compare(student: &QuantizedNetwork, teacher: &Network, images: &ImageSet) -> (f64, f64) {
    let images = images.tensor(0..images.len(), &Device::flex());
    let (ours, theirs) = (student.forward(images.clone()), teacher.forward(images));
    let agreement = ours.clone().argmax(1).equal(theirs.clone().argmax(1)).float().mean();
    (f64::from(floats(agreement)[0]), f64::from(floats((ours - theirs).square().mean())[0]))
}

#[test]
fn a_student_learns_by_the_loss_on_the_images_and_the_grid() {
    let (registry, teacher) = (registry().unwrap(), teacher());
    let (training, unseen) = (images(&teacher, "count = 512", 1), images(&teacher, "count = 2000", 2));
    let quant: QuantConfig =
        blindfold::toml::from_str("weight_bits = 3\nactivation_bits = 3\nweight.quantizer = 'shift'").unwrap();
    let plan = Plan::new(&quant, &teacher, &registry.quant).unwrap();
    let device = Device::flex();
    let student = QuantizedNetwork::calibrate(teacher.clone(), plan, training.batches(64, &device)).unwrap();
    let config: StudentConfig = blindfold::toml::from_str(
        "epochs = 12\nbatch = 32\nlr = 0.005\nschedule = { kind = 'cosine' }\n[[loss]]\nkind = 'jeffreys'\ntemperature = 2.0",
    )
    .unwrap();
    let plugins = registry.plugins();
    let mut trainer = StudentTrainer::new(teacher.clone(), student, training, config, &plugins, 9).unwrap();
    let (agreement, error) = compare(&trainer.student().unwrap(), &teacher, &unseen);
    while !trainer.is_done() {
        let step = trainer.step().unwrap();
        assert_eq!(step.losses[0].name, "jeffreys");
    }
    let (trained, trained_error) = compare(&trainer.student().unwrap(), &teacher, &unseen);
    assert!(1.0 - trained < 0.85 * (1.0 - agreement), "agreement {agreement} -> {trained}");
    assert!(trained_error < 0.8 * error, "logit error {error} -> {trained_error}");
}

#[test]
fn the_loss_is_the_mean_of_both_divergences_and_its_gradient_is_its_slope() {
    let device = Device::flex();
    let loss = (jeffreys::ENTRY.build)("temperature = 2.0".parse().unwrap()).unwrap();
    let teacher = || Tensor::<2>::from_floats([[1.5, -0.5, 0.25], [0.0, 2.0, -1.0]], &device);
    let student = [[0.5f32, 0.75, -1.0], [-0.5, 1.0, 0.5]];
    let value = |student: Tensor<2>| floats(loss.value(&Signals::of_logits(student, teacher())))[0];
    let kl = |p: Tensor<2>, q: Tensor<2>| {
        let softened = |logits: Tensor<2>| blindfold::burn::tensor::activation::log_softmax(logits.div_scalar(2.0), 1);
        let (p, q) = (softened(p), softened(q));
        floats((p.clone().exp() * (p - q)).sum())[0] / 2.0
    };
    let ours = || Tensor::<2>::from_floats(student, &device);
    let expected = 4.0 * (kl(teacher(), ours()) + kl(ours(), teacher())) / 2.0;
    assert!((value(ours()) - expected).abs() < 1e-5 * expected, "{} is not {expected}", value(ours()));
    assert_eq!(value(teacher()), 0.0);

    let leaf = ours().autodiff().require_grad();
    let gradients = loss.value(&Signals::of_logits(leaf.clone(), teacher())).backward();
    let gradient = leaf.grad(&gradients).unwrap();
    let slope: f32 = floats(gradient.clone().abs()).iter().sum();
    let moved = |by: f32| value(ours() + gradient.clone().sign().mul_scalar(by));
    let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
    assert!((difference - slope).abs() < 1e-2 * slope, "{difference} is not {slope}");
}

/// Pixels in one square share its octave: their correlation is the share of the octaves in which they do.
#[test]
fn pink_noise_is_as_much_alike_as_its_octaves_say() {
    let network = network();
    let set = images(&network, "count = 4000\nstd = 2.0\noctaves = 4", 3);
    assert_eq!((set.len(), set.shape, set.labels.is_none()), (4000, SHAPE, true));
    assert_eq!(set, images(&network, "count = 4000\nstd = 2.0\noctaves = 4", 3));
    let planes: Vec<&[f32]> = set.pixels.chunks_exact(64).collect();
    let mean = |first: usize, second: usize| {
        planes.iter().map(|plane| f64::from(plane[first]) * f64::from(plane[second])).sum::<f64>() / planes.len() as f64
    };
    assert!((mean(9, 9) - 4.0).abs() < 0.25, "variance {}", mean(9, 9));
    // Pixels 0 and 1: squares of 2, 4 and 8; 0 and 2: of 4 and 8; 0 and 7, 0 and 63: of 8 alone.
    for (other, shared) in [(1, 3.0), (8, 3.0), (2, 2.0), (18, 2.0), (7, 1.0), (63, 1.0)] {
        let found = mean(0, other);
        assert!((found - 4.0 * shared / 4.0).abs() < 0.25, "pixel {other}: {found} for {shared} shared octaves");
    }
    let white = images(&network, "count = 4000\nstd = 2.0\noctaves = 1", 3);
    let alike: f64 = white.pixels.chunks_exact(64).map(|plane| f64::from(plane[0] * plane[1])).sum::<f64>() / 12_000.0;
    assert!(alike.abs() < 0.25, "{alike}");
}

/// Two channels: one as it should be, one of mean 2 and variance 9 where 1 and 4 are remembered.
#[test]
fn the_distance_is_that_of_the_formula_and_the_same_both_ways() {
    let device = Device::flex();
    let row = |values: [f32; 2]| Tensor::<2>::from_floats([values], &device);
    let [own, remembered] = [([0.5, 2.0], [1.0, 9.0]), ([0.5, 1.0], [1.0, 4.0])];
    let distance = |(mean, var): ([f32; 2], [f32; 2]), (target, spread): ([f32; 2], [f32; 2])| {
        let loss = bhattacharyya::Bhattacharyya::new(&bhattacharyya::BhattacharyyaConfig { epsilon: 1e-9 }).unwrap();
        let target = Target { mean: row(target), var: row(spread), layers: vec![0..1, 1..2], exact: false };
        floats(loss.evaluate(&Statistics { mean: row(mean), var: row(var), target }, 8))[0]
    };
    let expected = 1.0 / (4.0 * 13.0) + (13.0f32 / 12.0).ln() / 2.0;
    assert!((distance(own, remembered) - expected).abs() < 1e-6, "{}", distance(own, remembered));
    assert!((distance(remembered, own) - expected).abs() < 1e-6);
    assert!(distance(own, own).abs() < 1e-6);
    assert!(bhattacharyya::Bhattacharyya::new(&bhattacharyya::BhattacharyyaConfig { epsilon: 0.0 }).is_err());
}

struct Losses(Vec<f64>);

impl Progress for Losses {
    fn step(&mut self, step: Step<'_>) {
        assert_eq!(step.scalars[0].0, "loss");
        self.0.push(step.scalars[0].1);
    }
}

#[test]
fn a_source_of_blindfold_makes_its_images_by_the_batch_norm_loss() {
    let (registry, teacher, normalization) = (registry().unwrap(), network(), normalization());
    let table =
        "count = 16\niterations = 60\ninput_weight = 0.0\noptimizer = { lr = 0.1 }\nloss = { kind = 'bhattacharyya' }";
    let source = registry.source("zeroq", table.parse().unwrap()).unwrap();
    let mut losses = Losses(Vec::new());
    let progress = &mut losses;
    let request = Request { teacher: &teacher, normalization: &normalization, seed: 1, real: None, progress };
    assert_eq!(source.synthesize(request).unwrap().len(), 16);
    let (first, last) = (losses.0[0], losses.0[59]);
    assert!(first > 0.0 && last < 0.5 * first, "{first} to {last}");
    let error = registry.source("zeroq", "loss = { kind = 'overlap' }".parse().unwrap()).err().unwrap().to_string();
    assert!(error.ends_with("norm, gaussian-kl, bhattacharyya"), "{error}");
}

#[test]
fn steps_are_the_least_powers_of_two_that_reach_the_range() {
    for (signed, min, max, bits, step) in [
        (true, -3.5, 1.0, 4, 0.5),
        (true, -3.6, 1.0, 4, 1.0),
        (true, 0.0, 1.0, 2, 1.0),
        (false, 0.0, 7.5, 4, 0.5),
        (false, -9.0, 7.6, 4, 1.0),
        (true, 0.0, 0.0, 8, 2f32.powi(-30)),
    ] {
        let quantizer = shift::Shift::new(&shift::ShiftConfig { signed, ..Default::default() }).unwrap();
        let range = Range::new(min, max).unwrap();
        let map = quantizer.map(range, bits).unwrap();
        assert_eq!(map.step(), step, "[{min}, {max}] in {bits} bits");
        let (low, high) = map.representable();
        assert!(high >= max && (low <= min || !signed), "[{low}, {high}] does not hold [{min}, {max}]");
        for index in 0..=100 {
            let x = low + (high - low) * index as f32 / 100.0;
            assert!((map.value(map.code(x)) - x).abs() <= step * 0.5001, "{x}");
        }
    }
    let error = shift::Shift::new(&shift::ShiftConfig { least_exponent: 1, ..Default::default() }).unwrap_err();
    assert!(error.to_string().contains("`least_exponent`: 1"), "{error}");
    assert!(shift::Shift::new(&Default::default()).unwrap().map(Range::new(0.0, 1.0).unwrap(), 9).is_err());
}
