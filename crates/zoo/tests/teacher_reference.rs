//! Logits and input gradients of the real teachers against PyTorch in double precision (scripts/reference/teacher_reference.py).
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

use std::path::{Path, PathBuf};

use blindfold_zoo::{Family, architecture, catalogue, fold_batch_norms, load_weights};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

fn data_folder() -> Option<PathBuf> {
    let named = std::env::var_os("BLINDFOLD_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    [named, Some(beside)].into_iter().flatten().find(|folder| folder.join("teachers").is_dir())
}

fn weights(name: &str, file: Option<&str>) -> Option<PathBuf> {
    let path = match file {
        Some(file) => data_folder()?.join(file),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(format!("{name}.safetensors")),
    };
    path.is_file().then_some(path)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

/// `x[i] = ((i * 2654435761) mod 2^32) / 2^32 * 4 - 2`, 64 images.
fn images(device: &Device) -> Tensor<4> {
    let value = |i: u64| ((i * 2_654_435_761) % (1 << 32)) as f64 / 4_294_967_296.0 * 4.0 - 2.0;
    let values: Vec<f32> = (0..64 * 3072).map(|i| value(i) as f32).collect();
    Tensor::from_data(TensorData::new(values, [64, 3, 32, 32]), device)
}

fn relative(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let difference: f64 = ours.iter().zip(theirs).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / theirs.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

fn check(name: &str, reference: &str) {
    let card = catalogue().remove(name).unwrap();
    let Some(path) = weights(name, card.file.as_deref()) else {
        eprintln!("{name}: skipped: no data");
        return;
    };
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(reference)).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let device = Device::flex();
    let built = Family::new("architecture", architecture::BUILTIN)
        .unwrap()
        .build(&card.architecture.kind, card.architecture.table.clone())
        .unwrap();
    let network = load_weights(built.build(&device, 0), built.as_ref(), &path).unwrap();
    for (form, network) in [("plain", network.clone()), ("folded", fold_batch_norms(network))] {
        let input = images(&device.clone().autodiff()).require_grad();
        let logits = network.forward(input.clone());
        let values: Vec<f64> = logits.clone().into_data().iter::<f64>().collect();
        let difference = relative(&values, &numbers(&reference["logits"]));
        assert!(difference < 1e-4, "{name} {form}: logits differ by {difference:e}");

        let [count, classes] = logits.dims();
        let cotangent: Vec<f32> = (0..count * classes)
            .map(|i| (0.37 * (i / classes) as f64 + 0.11 * (i % classes) as f64).cos() as f32)
            .collect();
        let cotangent = Tensor::from_data(TensorData::new(cotangent, [count, classes]), &device).autodiff();
        let gradients = (logits * cotangent).sum().backward();
        let gradient: Vec<f64> = input.grad(&gradients).unwrap().into_data().iter::<f64>().collect();
        let first = relative(&gradient[..3072], &numbers(&reference["gradient_image0"]));
        assert!(first < 1e-4, "{name} {form}: the gradient of image 0 differs by {first:e}");
        // A pre-activation within rounding of zero opens its ReLU in one precision and shuts it in the other, in PyTorch's own
        // single precision as well: the norms of most images agree to 1e-4, those of the others to a percent.
        let mut norms: Vec<f64> = gradient
            .chunks_exact(3072)
            .zip(numbers(&reference["gradient_l2"]))
            .map(|(image, norm)| (image.iter().map(|g| g * g).sum::<f64>().sqrt() / norm - 1.0).abs())
            .collect();
        norms.sort_by(f64::total_cmp);
        assert!(
            norms[48] < 1e-4 && norms[63] < 2e-2,
            "{name} {form}: gradient norms differ by {:e} and {:e}",
            norms[48],
            norms[63]
        );
        println!(
            "{name} {form}: logits {difference:.1e}, gradient of image 0 {first:.1e}, norms {:.1e} / {:.1e}",
            norms[48], norms[63]
        );
    }
}

#[test]
fn resnet20_cifar10() {
    check("resnet20-cifar10", "teacher-resnet20-12fca82f.json");
}

#[test]
fn resnet56_cifar10() {
    check("resnet56-cifar10", "teacher-resnet56-4bfd9763.json");
}

#[test]
fn resnet56_cifar100() {
    check("resnet56-cifar100", "teacher-resnet56-cifar100.json");
}

#[test]
fn resnet20_cifar100() {
    check("resnet20-cifar100", "teacher-resnet20-cifar100.json");
}

#[test]
fn densenet100_cifar100() {
    check("densenet100-cifar100", "teacher-densenet100-cifar100.json");
}
