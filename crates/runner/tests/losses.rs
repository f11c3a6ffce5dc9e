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

/// Losses of several forms, and those that need gentler steps than the others: name, learning rate, own keys.
// Spatial maps say nothing of channels: alone at the outputs of all blocks they let the deep ones drift. With half of the
// patches masked, the default, a student of 3 bits gains too little in 50 steps to tell it from luck.
const FORMS: [(&str, f64, &str); 7] = [
    ("attention", 5e-5, "map = 'channel'"),
    ("attention", 5e-5, "map = 'channel'\nreduction = 'batchmean'"),
    ("attention", 5e-5, "map = 'channel'\npower = 1.0"),
    ("attention", 2e-4, "map = 'spatial'\nnodes = ['layer1.*relu*']"),
    ("activation-kl", 5e-5, ""),
    ("masked-patch", 5e-5, "target = 'logits'\nshare = 0.1"),
    ("masked-patch", 1e-4, "target = 'features'\nshare = 0.1"),
];

/// Learning rates and own keys with which a loss is tried.
fn forms(loss: &str) -> Vec<(f64, &'static str)> {
    let own: Vec<(f64, &str)> =
        FORMS.into_iter().filter(|(name, ..)| *name == loss).map(|(_, lr, keys)| (lr, keys)).collect();
    if own.is_empty() { vec![(2e-4, "")] } else { own }
}

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
    let names = registry.losses.entries().iter().map(|entry| entry.name);
    let tried = names.filter(|name| !ALONE_TO_NO_END.iter().any(|(alone, _)| alone == name));
    for (name, (lr, keys)) in tried.flat_map(|name| forms(name).into_iter().map(move |form| (name, form))) {
        let text = format!(
            "epochs = 1\niterations_per_epoch = {STEPS}\nbatch = 8\nlr = {lr:e}\nlog_every = 0\n\
             optimizer = {{ kind = 'adam' }}\n[[loss]]\nkind = '{name}'\n{keys}"
        );
        let fit: StudentConfig = toml::from_str(&text).unwrap();
        let plugins = registry.plugins();
        let mut trainer =
            StudentTrainer::new(teacher.clone(), student.clone(), trained.clone(), fit, &plugins, 1).unwrap();
        while !trainer.is_done() {
            trainer.step().unwrap();
        }
        let after = distance(&teacher, &trainer.student().unwrap(), &measured);
        let form = format!("{name} {}", keys.replace('\n', ", "));
        println!("{form:50} agreement {:5.1} -> {:5.1} %", before.0, after.0);
        if after.0 <= before.0 + 1.0 {
            failures.push(format!("{form}: {before:?} became {after:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    let exceptions = ALONE_TO_NO_END.into_iter().map(|(name, _)| name);
    for name in exceptions.chain(FORMS.into_iter().map(|(name, ..)| name)) {
        assert!(registry.losses.get(name).is_ok(), "the exception {name} is no loss any more");
    }
}
