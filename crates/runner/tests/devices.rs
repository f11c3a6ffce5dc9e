//! Every device that was built in against flex: logits, gradients, statistics, quantization, training steps, and a whole run.
//!
//! On wgpu a software adapter is taken where there is no other (`BLINDFOLD_TEST_DEVICE` names one). Without a second
//! device there is nothing to compare.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use blindfold::{Registry, device};
use blindfold_distill::{StudentConfig, StudentTrainer, TeacherConfig, TeacherTrainer};
use blindfold_quant::{Plan, Precision, QuantConfig, QuantizedNetwork};
use blindfold_synth::{ImageSet, NoProgress, Origin, RealImages, Request};
use blindfold_zoo::ops::{channel_affine, channel_moments, conv2d};
use blindfold_zoo::{Network, Normalization, fold_batch_norms};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use common::{Bench, text};
use rand::RngExt;

fn others() -> Vec<(String, Device)> {
    let names: Vec<String> = match std::env::var("BLINDFOLD_TEST_DEVICE") {
        Ok(name) => vec![name],
        Err(_) => device::built_in().into_iter().filter(|name| *name != "flex").map(str::to_owned).collect(),
    };
    let found: Vec<(String, Device)> = names
        .into_iter()
        .map(|name| match device::select(Some(&name)) {
            Ok(found) => (name, found.device),
            Err(_) if name == "wgpu" => {
                ("wgpu:software".to_owned(), device::select(Some("wgpu:software")).unwrap().device)
            }
            Err(error) => panic!("{error}"),
        })
        .collect();
    if found.is_empty() {
        eprintln!("skipped: flex is the only device of this build");
    }
    found
}

fn random(count: usize, purpose: &str) -> Vec<f32> {
    let mut random = blindfold_zoo::stream(5, purpose);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn tensor<const D: usize>(shape: [usize; D], purpose: &str, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(random(shape.iter().product(), purpose), shape.to_vec()), device)
}

fn network(device: &Device) -> Network {
    let table: toml::Table = "depth = 8\nwidths = [4, 6, 8]\nshortcut = 'b'".parse().unwrap();
    Registry::builtin().unwrap().architectures.build("resnet", table).unwrap().build(device, 3)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn close(ours: &[f32], flex: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), flex.len(), "{what}");
    let size = flex.iter().fold(1e-6f32, |size, value| size.max(value.abs()));
    let difference = ours.iter().zip(flex).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(difference <= tolerance * size, "{what}: {difference} of {size}");
}

#[test]
fn operations_and_gradients() {
    for (name, device) in others() {
        let compute = |device: &Device| {
            let device = device.clone().autodiff();
            let x = tensor([3, 4, 9, 9], "x", &device).require_grad();
            let weight = tensor([6, 4, 3, 3], "weight", &device).require_grad();
            let bias = tensor([6], "bias", &device).require_grad();
            let y = conv2d(x.clone(), weight.clone(), Some(bias.clone()), [2; 2], [1; 2], 1);
            let y = channel_affine(y, tensor([6], "scale", &device), tensor([6], "shift", &device));
            let moments = channel_moments(y.clone(), true);
            let loss = (moments.mean.powi_scalar(2) + moments.var).sum() + y.clone().sum();
            let gradients = loss.backward();
            [
                values(y.inner()),
                values(x.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        };
        for (part, (ours, flex)) in compute(&device).iter().zip(&compute(&Device::flex())).enumerate() {
            close(ours, flex, 1e-4, &format!("{name}, part {part}"));
        }
    }
}

#[test]
fn networks_folded_and_not_give_the_same_logits_and_input_gradients() {
    for (name, device) in others() {
        let compute = |device: &Device, fold: bool| {
            let network = network(device);
            let network = if fold { fold_batch_norms(network) } else { network };
            let input = tensor([4, 3, 32, 32], "images", &device.clone().autodiff()).require_grad();
            let logits = network.forward(input.clone());
            let gradients = logits.clone().powi_scalar(2).sum().backward();
            [values(logits.inner()), values(input.grad(&gradients).unwrap())]
        };
        for fold in [false, true] {
            for (ours, flex) in compute(&device, fold).iter().zip(&compute(&Device::flex(), fold)) {
                close(ours, flex, 1e-3, &format!("{name}, folded: {fold}"));
            }
        }
    }
}

#[test]
fn zeroq_images_start_out_the_same() {
    for (name, device) in others() {
        let compute = |device: &Device| {
            let table = "count = 4\nbatch = 4\niterations = 2".parse().unwrap();
            let source = Registry::builtin().unwrap().sources.build("zeroq", table).unwrap();
            let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
            let teacher = network(device);
            let request = Request {
                teacher: &teacher,
                normalization: &normalization,
                seed: 1,
                real: None,
                progress: &mut NoProgress,
            };
            source.synthesize(request).unwrap().pixels
        };
        let (ours, flex) = (compute(&device), compute(&Device::flex()));
        // Adam's first steps move every pixel by the learning rate in the direction of its gradient's sign: a gradient within
        // rounding of zero goes either way, so all but a few pixels agree.
        let apart = ours.iter().zip(&flex).filter(|(a, b)| (**a - **b).abs() > 1e-2).count();
        assert!(apart * 100 < flex.len(), "{name}: {apart} of {} pixels differ", flex.len());
    }
}

#[test]
fn a_quantized_student_and_its_training() {
    for (name, device) in others() {
        let compute = |device: &Device| {
            let registry = Registry::builtin().unwrap();
            let teacher = network(device);
            let images = ImageSet::new([3, 32, 32], random(8 * 3072, "images"), None, Origin::Synthetic).unwrap();
            let student = |activation_bits: Precision| {
                let config = QuantConfig { weight_bits: Precision::Int(4), activation_bits, ..QuantConfig::default() };
                let plan = Plan::new(&config, &teacher, &registry.quant).unwrap();
                QuantizedNetwork::calibrate(teacher.clone(), plan, images.batches(8, device)).unwrap()
            };
            let logits = values(student(Precision::Int(8)).forward(images.tensor(0..8, device)));
            // Weights are the same on all devices, and so are their codes; activations may fall on either side of an edge. The
            // divergence of two nearly equal answers at temperature 20 would measure the last bits of their logarithms.
            let student = student(Precision::Float);
            let fit: StudentConfig = toml::from_str(
                "epochs = 1\niterations_per_epoch = 2\nbatch = 4\nlr = 1e-3\n[[loss]]\nkind = 'logit-mse'",
            )
            .unwrap();
            let plugins = registry.plugins();
            let mut trainer = StudentTrainer::new(teacher, student, images.clone(), fit, &plugins, 1).unwrap();
            let losses: Vec<f32> = (0..2).map(|_| trainer.step().unwrap().total as f32).collect();
            (logits, losses)
        };
        let (ours, flex) = (compute(&device), compute(&Device::flex()));
        // A value on the edge of two levels may fall on either side.
        close(&ours.0, &flex.0, 5e-2, &format!("{name}, logits"));
        close(&ours.1, &flex.1, 1e-2, &format!("{name}, losses"));
    }
}

#[test]
fn a_teacher_s_training() {
    for (name, device) in others() {
        let compute = |device: &Device| {
            let mut random = blindfold_zoo::stream(2, "pixels");
            let pixels: Vec<u8> = (0..16 * 3072).map(|_| random.random_range(0..=255)).collect();
            let labels: Vec<u16> = (0..16).map(|i| i % 10).collect();
            let images = RealImages::new("random", [3, 32, 32], pixels, labels, 10).unwrap();
            let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
            let config = TeacherConfig { epochs: 1, batch: 8, lr: 0.01, ..TeacherConfig::default() };
            let mut trainer = TeacherTrainer::new(network(device), images, normalization, config, 1).unwrap();
            let losses: Vec<f32> = (0..2).map(|_| trainer.step().unwrap().loss as f32).collect();
            let state = trainer.network().to_device(device).state();
            let statistics = state.into_iter().find(|(name, _)| name == "bn1.running_var").unwrap().1;
            (losses, statistics.iter::<f32>().collect::<Vec<f32>>())
        };
        let (ours, flex) = (compute(&device), compute(&Device::flex()));
        close(&ours.0, &flex.0, 1e-3, &format!("{name}, losses"));
        close(&ours.1, &flex.1, 1e-3, &format!("{name}, running variance"));
    }
}

#[test]
fn a_whole_run() {
    for (name, _) in others() {
        let bench = Bench::new();
        let output = bench.run(&["exp", "small", "--device", &name, "--out", "a"]);
        let (code, stdout, stderr) = text(&output);
        assert_eq!(code, Some(0), "{name}: {stdout}{stderr}");
        for method in ["zeroq", "zeroq-kd", "real"] {
            assert!(bench.folder_of("a", method).join("summary.json").is_file());
        }
    }
}

#[test]
fn logarithms_of_probabilities() {
    for (name, device) in others() {
        let compute = |device: &Device| {
            let logits = tensor([64, 10], "logits", device) * 0.1;
            values(burn::tensor::activation::log_softmax(logits, 1))
        };
        let (ours, flex) = (compute(&device), compute(&Device::flex()));
        close(&ours, &flex, 1e-6, &format!("{name}, log-softmax"));
    }
}
