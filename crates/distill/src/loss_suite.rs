//! What must hold for every loss of the registry.
//!
//! What looks at logits and features alone is tested here. The members that look at images draw by place in the batch and run whole
//! networks: their values and gradients are tested beside them ([`crate::image_reference`]), the rest here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blindfold_zoo::{Entry, Layer, Network, stream};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use crate::loss::{BUILTIN, FeaturePair, Features, Loss, Signals, losses};
use crate::network_pair::{NetworkPair, signals_of};
use crate::reference::{LossCase, Reference, floats};
use crate::testing;

/// The losses that are not 0 between a network and itself, and why.
const NO_DISTANCES: [(&str, &str); 11] = [
    ("cross-entropy", "it is at least the entropy of its target"),
    ("masked-cross-entropy", "it is at least the entropy of its target"),
    ("focal", "it is at least the weighted entropy of its target"),
    ("entropy", "it looks at how sure answers are, not at how far apart"),
    ("entropy-difference", "it is a negative entropy, and least between a network and itself"),
    ("mutual-information", "it looks at the student alone"),
    ("logit-range", "it looks at the student alone"),
    ("info-nce", "it is 0 where an image is like no other"),
    ("rotation", "it is 0 where an image is unlike itself turned"),
    ("contrastive", "it is 0 where an image is like no other"),
    ("masked-patch", "the two networks read different images"),
];

/// The student's logits and features are leaves, so that every loss has a gradient with respect to them.
fn signals(reference: &Reference, device: &Device) -> Signals<'static> {
    let (student, teacher) = reference.logits(device);
    let features = reference.features(device).into_iter().enumerate().map(|(index, (student, teacher))| FeaturePair {
        node: format!("node{index}"),
        student: leaf(student),
        teacher,
    });
    Signals {
        labels: Some(labels(&reference.labels, device)),
        soft_labels: Some(reference.soft_labels(device)),
        features: features.collect(),
        ..Signals::of_logits(leaf(student), teacher)
    }
}

fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.autodiff().require_grad()
}

fn labels(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}

fn build(entry: &Entry<dyn Loss>) -> Box<dyn Loss> {
    (entry.build)((entry.defaults)()).unwrap()
}

fn of_case(case: &LossCase) -> (Box<dyn Loss>, String) {
    let loss = losses().unwrap().build(&case.name, case.options.clone()).unwrap();
    (loss, format!("{} {}", case.name, case.options))
}

fn is_distance(name: &str) -> bool {
    NO_DISTANCES.iter().all(|(other, _)| *other != name)
}

fn check(case: &LossCase, signals: &Signals<'_>, gradient: impl Fn(&Gradients) -> Vec<f32>) {
    let (loss, what) = of_case(case);
    let value = loss.value(signals);
    let gradient = gradient(&value.clone().backward());
    let value = f64::from(floats(value.inner())[0]);
    assert!((value - case.value).abs() <= 2e-5 * case.value.abs().max(1.0), "{what}: {value} is not {}", case.value);
    assert_eq!(gradient.len(), case.gradient.len(), "{what}");
    let scale = case.gradient.iter().fold(0f64, |largest, entry| largest.max(entry.abs()));
    for (index, (ours, theirs)) in gradient.iter().zip(&case.gradient).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() <= 2e-5 * scale, "{what}: gradient {index} is {ours}, not {theirs}");
    }
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let reference = Reference::load();
    let device = Device::default();
    for case in &reference.logit_case {
        let signals = signals(&reference, &device);
        check(case, &signals, |gradients| floats(signals.student.grad(gradients).unwrap()));
    }
    for case in &reference.feature_case {
        let signals = signals(&reference, &device);
        check(case, &signals, |gradients| {
            signals.features.iter().flat_map(|pair| floats(pair.student.grad(gradients).unwrap())).collect()
        });
    }
}

#[test]
fn every_loss_has_reference_values() {
    let names: BTreeSet<String> = BUILTIN.iter().map(|entry| entry.name.to_owned()).collect();
    assert_eq!(Reference::load().covered(), names);
}

/// `(L(x + h d) - L(x - h d)) / 2h = <grad L, d>` with `d` the gradient's own sign pattern.
#[test]
fn gradients_are_finite_differences() {
    let reference = Reference::load();
    let device = Device::default();
    let step = 5e-3;
    // Where a part of the loss counts as a constant, its gradient is not its slope.
    let detached = |case: &LossCase| case.options.get("detach").and_then(toml::Value::as_bool) == Some(true);
    for case in reference.cases().filter(|case| !detached(case)) {
        let (loss, what) = of_case(case);
        let base = signals(&reference, &device);
        let gradients = loss.value(&base).backward();
        let logit = base.student.grad(&gradients);
        let features: Vec<Option<Tensor<4>>> = base.features.iter().map(|pair| pair.student.grad(&gradients)).collect();
        let slope = logit
            .iter()
            .map(|g| floats(g.clone().abs()))
            .chain(features.iter().flatten().map(|g| floats(g.clone().abs())));
        let slope: f64 = slope.flatten().map(f64::from).sum();
        let moved = |by: f64| {
            let mut signals = signals(&reference, &device);
            if let Some(gradient) = &logit {
                signals.student = signals.student + gradient.clone().sign().mul_scalar(by);
            }
            for (pair, gradient) in signals.features.iter_mut().zip(&features) {
                if let Some(gradient) = gradient {
                    pair.student = pair.student.clone() + gradient.clone().sign().mul_scalar(by);
                }
            }
            f64::from(floats(loss.value(&signals).inner())[0])
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((difference - slope).abs() <= 1e-2 * slope, "{what}: {difference} is not {slope}");
    }
}

#[test]
fn distances_are_zero_between_a_network_and_itself() {
    let reference = Reference::load();
    for case in reference.cases().filter(|case| is_distance(&case.name)) {
        let mut signals = signals(&reference, &Device::default());
        signals.teacher = signals.student.clone();
        for pair in &mut signals.features {
            pair.teacher = pair.student.clone();
        }
        let (loss, what) = of_case(case);
        let value = floats(loss.value(&signals).inner())[0];
        assert!(value.abs() < 1e-6, "{what}: {value}");
    }
    for (name, loss) in image_losses().into_iter().filter(|(name, _)| is_distance(name)) {
        let pair = pair(&*loss, testing::network(1), testing::network(1));
        let value = floats(loss.value(&shown(&pair, 0)).inner())[0];
        assert!(value.abs() < 1e-6, "{name}: {value}");
    }
}

#[test]
fn what_is_no_distance_is_a_loss_of_the_registry() {
    let names: BTreeSet<&str> = BUILTIN.iter().map(|entry| entry.name).collect();
    for (name, reason) in NO_DISTANCES {
        assert!(names.contains(name) && !reason.is_empty(), "{name}: {reason}");
    }
}

#[test]
fn the_order_of_the_batch_does_not_matter() {
    let reference = Reference::load();
    let device = Device::default();
    let base = signals(&reference, &device);
    let order = |indices: &[i32]| Tensor::<1, Int>::from_ints(indices, &device);
    let rows = || order(&[2, 0, 3, 1]);
    let mut permuted = base.clone();
    permuted.student = base.student.clone().inner().select(0, rows());
    permuted.teacher = base.teacher.clone().select(0, rows());
    permuted.labels = base.labels.clone().map(|labels| labels.select(0, rows()));
    permuted.soft_labels = base.soft_labels.clone().map(|shares| shares.select(0, rows()));
    for pair in &mut permuted.features {
        pair.student = pair.student.clone().inner().select(0, order(&[1, 2, 0]));
        pair.teacher = pair.teacher.clone().select(0, order(&[1, 2, 0]));
    }
    for case in reference.cases() {
        let (loss, what) = of_case(case);
        let (value, other) = (floats(loss.value(&base).inner())[0], floats(loss.value(&permuted))[0]);
        assert!((value - other).abs() <= 1e-5 * value.abs().max(0.1), "{what}: {value} and {other}");
    }
}

/// The members that look at the images, with their default options.
fn image_losses() -> Vec<(&'static str, Box<dyn Loss>)> {
    let built = BUILTIN.iter().map(|entry| (entry.name, build(entry)));
    built.filter(|(_, loss)| loss.needs_images()).collect()
}

fn pair(loss: &dyn Loss, student: Network, teacher: Network) -> NetworkPair {
    let nodes = match loss.features() {
        Features::None => Vec::new(),
        _ => teacher.blocks().iter().map(|block| teacher.node(block.output).name.clone()).collect(),
    };
    loss.check(&teacher, &nodes).unwrap();
    NetworkPair { student: student.trainable(), teacher: teacher.frozen(), nodes }
}

fn shown(pair: &NetworkPair, step: u64) -> Signals<'_> {
    let device = pair.teacher.device();
    let mut random = stream(7, "loss suite/images");
    let pixels: Vec<f32> = (0..4 * 3 * 8 * 8).map(|_| StandardNormal.sample(&mut random)).collect();
    let images = Tensor::from_data(TensorData::new(pixels, [4, 3, 8, 8]), &device);
    Signals { labels: Some(labels(&[3, 0, 2, 1], &device)), step, seed: 5, ..signals_of(pair, images) }
}

#[test]
fn what_looks_at_images_follows_from_seed_and_step_and_moves_the_student() {
    let losses = image_losses();
    assert!(!losses.is_empty());
    for (name, loss) in losses {
        let pair = pair(&*loss, testing::network(1), testing::network(2));
        let value = loss.value(&shown(&pair, 3));
        let gradients = value.backward();
        let value = floats(value.inner())[0];
        assert!(value.is_finite(), "{name}: {value}");
        assert_eq!(value.to_bits(), floats(loss.value(&shown(&pair, 3)).inner())[0].to_bits(), "{name}");
        let first = pair.student.find("conv1").unwrap();
        let Layer::Conv2d(conv) = &pair.student.node(first).layer else { panic!("conv1 is a convolution") };
        let gradient = conv.weight.val().grad(&gradients).map(floats).unwrap_or_default();
        assert!(gradient.iter().any(|slope| *slope != 0.0), "{name}: {gradient:?}");
        assert!(gradient.iter().all(|slope| slope.is_finite()), "{name}: {gradient:?}");
    }
}

#[test]
fn every_entry_is_documented_and_its_defaults_survive_a_round_trip() {
    for entry in BUILTIN {
        assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{}", entry.name);
        let defaults = (entry.defaults)();
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(defaults, text.parse().unwrap(), "{}", entry.name);
        (entry.build)(defaults).unwrap();
        (entry.build)(toml::Table::new()).unwrap();
        let error = (entry.build)(toml::toml! { no_such_option = 1 }).unwrap_err();
        assert!(error.to_string().contains("no_such_option"), "{error}");
    }
}

/// The files of the members, one each; what stands in folders belongs to one of them, or to several.
fn member_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/loss");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let shared = ["mod.rs", "signals.rs"];
    files.filter(|path| path.is_file() && !shared.iter().any(|name| path.ends_with(name))).collect()
}

fn member(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().replace('_', "-")
}

#[test]
fn the_table_holds_every_file_of_the_folder() {
    let files: BTreeSet<String> = member_files().iter().map(|path| member(path)).collect();
    assert_eq!(files, BUILTIN.iter().map(|entry| entry.name.to_owned()).collect());
}

#[test]
fn every_file_says_its_formula_shapes_range_source_and_what_differs_from_it() {
    for path in member_files() {
        let (name, text) = (member(&path), std::fs::read_to_string(&path).unwrap());
        let says = |section: &str| {
            let mut pairs = text.lines().zip(text.lines().skip(1));
            pairs.any(|(line, next)| line.trim_end() == section && !next.trim_start_matches('/').trim().is_empty())
        };
        for section in ["/// ```text", "/// # Shapes", "/// # Range", "/// # Source"] {
            assert!(says(section), "{name}: there is no line `{section}` with text below it");
        }
        let entry = BUILTIN.iter().find(|entry| entry.name == name).unwrap();
        let own = entry.source.contains("this project");
        assert!(own || says("/// # Differences from the source"), "{name}: how does it differ from its source?");
    }
}
