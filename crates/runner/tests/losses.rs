//! Each loss alone brings a quantized student closer to its teacher.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

use std::path::Path;

use blindfold::Registry;
use blindfold::data::{DataHome, Split};
use blindfold_distill::{StudentConfig, StudentTrainer};
use blindfold_quant::{Plan, Precision, QuantConfig, QuantizedNetwork};
use blindfold_synth::{ImageSet, Origin};
use blindfold_zoo::{Network, find_teacher, load_weights};
use burn::tensor::Device;

const STEPS: usize = 50;
const TRAINED: usize = 64;
const MEASURED: usize = 192;

/// Losses that look at no teacher, or at one of two things that make a student: alone they do not bring it closer.
const ALONE_TO_NO_END: [(&str, &str); 3] = [
    ("entropy", "makes the student sure (or unsure) of itself, whatever the teacher says"),
    ("mutual-information", "spreads the student's answers over the classes, whatever the teacher says"),
    ("logit-range", "moves the spread of the student's logits, whatever the teacher says"),
];

/// Losses that need gentler steps than the others: name, learning rate, own keys.
// The default forms of `attention` and `masked-patch` are held to PyTorch's values and gradients in crates/distill.
const GENTLE: [(&str, f64, &str); 3] = [
    ("attention", 5e-5, "map = 'channel'\n"),
    ("activation-kl", 5e-5, ""),
    ("masked-patch", 5e-5, "target = 'logits'\nshare = 0.1\n"),
];

/// The shipped teacher of shapes10, and test images of the set in its normalised space.
fn teacher_and_images(registry: &Registry) -> (Network, ImageSet) {
    let card = find_teacher("resnet20-shapes10").unwrap();
    let architecture = registry.architectures.build(&card.architecture.kind, card.architecture.table.clone()).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/resnet20-shapes10.safetensors");
    let teacher = load_weights(architecture.build(&Device::flex(), 0), architecture.as_ref(), &model).unwrap();
    let set = registry.data_sets.build("shapes10", toml::Table::new()).unwrap();
    let real = set.load(Split::Test, &DataHome::new(std::env::temp_dir())).unwrap();
    let count = TRAINED + MEASURED;
    let pixels = (0..count).flat_map(|index| real.normalized(index, &card.normalization)).collect();
    let labels = real.labels[..count].iter().map(|&label| u32::from(label)).collect();
    (teacher, ImageSet::new(real.shape, pixels, Some(labels), Origin::Real).unwrap())
}

fn part(images: &ImageSet, from: usize, to: usize) -> ImageSet {
    let size: usize = images.shape.iter().product();
    let labels = images.labels.as_ref().map(|labels| labels[from..to].to_vec());
    ImageSet::new(images.shape, images.pixels[from * size..to * size].to_vec(), labels, images.origin).unwrap()
}

/// Share of images to which both give one class, in percent, and the mean squared difference of their logits.
fn distance(teacher: &Network, student: &QuantizedNetwork, images: &ImageSet) -> (f64, f64) {
    let student = student.for_evaluation().unwrap();
    let (mut same, mut squares) = (0.0, 0.0);
    for batch in images.batches(32, &Device::flex()) {
        let (t, s) = (teacher.forward(batch.clone()), student.forward(batch));
        same += t.clone().argmax(1).equal(s.clone().argmax(1)).float().sum().into_scalar::<f64>();
        squares += (t - s).square().sum().into_scalar::<f64>();
    }
    (100.0 * same / images.len() as f64, squares / (images.len() * teacher.classes()) as f64)
}

#[test]
fn each_loss_alone_raises_the_agreement_of_a_3_bit_student_in_50_steps() {
    let registry = Registry::builtin().unwrap();
    let (teacher, images) = teacher_and_images(&registry);
    let (trained, measured) = (part(&images, 0, TRAINED), part(&images, TRAINED, TRAINED + MEASURED));
    let config =
        QuantConfig { weight_bits: Precision::Int(3), activation_bits: Precision::Int(3), ..QuantConfig::default() };
    let plan = Plan::new(&config, &teacher, &registry.quant).unwrap();
    let student = QuantizedNetwork::calibrate(teacher.clone(), plan, trained.batches(64, &Device::flex())).unwrap();
    let before = distance(&teacher, &student, &measured);
    assert!(before.0 < 90.0, "3 bits should hurt: {before:?}");
    let mut failures = Vec::new();
    for entry in registry.losses.entries() {
        if ALONE_TO_NO_END.iter().any(|(name, _)| *name == entry.name) {
            continue;
        }
        let gentle = GENTLE.iter().find(|(name, ..)| *name == entry.name);
        let (lr, own) = gentle.map_or((2e-4, ""), |&(_, lr, own)| (lr, own));
        let text = format!(
            "epochs = 1\niterations_per_epoch = {STEPS}\nbatch = 8\nlr = {lr:e}\nlog_every = 0\n\
             optimizer = {{ kind = 'adam' }}\n[[loss]]\nkind = '{}'\n{own}",
            entry.name
        );
        let fit: StudentConfig = toml::from_str(&text).unwrap();
        let plugins = registry.plugins();
        let mut trainer =
            StudentTrainer::new(teacher.clone(), student.clone(), trained.clone(), fit, &plugins, 1).unwrap();
        while !trainer.is_done() {
            trainer.step().unwrap();
        }
        let after = distance(&teacher, &trainer.student().unwrap(), &measured);
        println!("{:20} agreement {:5.1} -> {:5.1} %", entry.name, before.0, after.0);
        if after.0 <= before.0 + 1.0 {
            failures.push(format!("{}: {before:?} became {after:?}", entry.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    for (name, _) in ALONE_TO_NO_END {
        assert!(registry.losses.get(name).is_ok(), "the exception {name} is no loss any more");
    }
}
