//! The student's trainer as a whole.

mod augmentations;
mod augmented_losses;
mod learned;
mod losses;
mod zero_shot;

use std::sync::OnceLock;

use blindfold_quant::{Families, Plan, QuantConfig, QuantizedNetwork};
use blindfold_synth::ImageSet;
use blindfold_zoo::Network;
use burn::tensor::{Device, TensorData};

use super::{Phase, StepRecord, StudentConfig, StudentTrainer};
use crate::error::DistillError;
use crate::plugins::Plugins;
use crate::reference::floats;
use crate::teacher::{TeacherConfig, TeacherTrainer};
use crate::testing::{control, network, noise, normalization, quadrants};

/// A teacher that knows [`quadrants`].
fn teacher() -> Network {
    static TEACHER: OnceLock<Network> = OnceLock::new();
    TEACHER
        .get_or_init(|| {
            let config = TeacherConfig {
                epochs: 5,
                batch: 16,
                lr: 0.05,
                augment: Default::default(),
                ..TeacherConfig::default()
            };
            let mut trainer = TeacherTrainer::new(network(3), quadrants(160, 1), normalization(), config, 5).unwrap();
            while !trainer.is_done() {
                trainer.step().unwrap();
            }
            trainer.network()
        })
        .clone()
}

fn student(quant: &str, images: &ImageSet) -> QuantizedNetwork {
    let config: QuantConfig = toml::from_str(quant).unwrap();
    let plan = Plan::new(&config, &teacher(), &Families::builtin()).unwrap();
    QuantizedNetwork::calibrate(teacher(), plan, images.batches(64, &Device::flex())).unwrap()
}

const W4A4: &str = "weight_bits = 4\nactivation_bits = 4\nactivation.range = 'moving-average'";
const BRECQ: &str = "protocol = 'brecq'\nweight_bits = 4\nactivation_bits = 4";

fn trainer(quant: &str, images: ImageSet, config: &str, seed: u64) -> Result<StudentTrainer, DistillError> {
    let config: StudentConfig = toml::from_str(config).unwrap();
    let plugins = Plugins::builtin().unwrap();
    StudentTrainer::new(teacher(), student(quant, &images), images, config, &plugins, seed)
}

fn run(trainer: &mut StudentTrainer, steps: usize) -> Vec<StepRecord> {
    (0..steps).map(|_| trainer.step().unwrap()).collect()
}

fn assert_same_bits(ours: &[(String, TensorData)], theirs: &[(String, TensorData)]) {
    assert_eq!(ours.len(), theirs.len());
    for ((name, left), (other, right)) in ours.iter().zip(theirs) {
        assert_eq!(name, other);
        assert_eq!(left.as_bytes(), right.as_bytes(), "{name}");
    }
}

const ALL_LOSSES: &str = "
    epochs = 2
    iterations_per_epoch = 5
    batch = 16
    lr = 0.01
    schedule = { kind = 'cosine' }
    augment = { crop_pad = 1, flip = true }
    loss = [
        { kind = 'kl', weight = 0.5, temperature = 4.0 },
        { kind = 'cross-entropy' },
        { kind = 'logit-mse', weight = 0.1 },
        { kind = 'feature-mse', nodes = ['*relu*'], relative = true },
        { kind = 'attention', weight = 10, map = 'channel' },
        { kind = 'attention', weight = 0.0 },
    ]
";

/// A training cut at these places is, from there on, the training that was never cut.
fn assert_resumes(quant: &str, images: &ImageSet, config: &str, cuts: &[usize]) {
    let make = || trainer(quant, images.clone(), config, 9).unwrap();
    let mut whole = make();
    let steps = whole.total_steps();
    let records = run(&mut whole, steps);
    for &cut in cuts {
        let mut first = make();
        run(&mut first, cut);
        let bytes = first.to_bytes().unwrap();
        let mut second = make();
        second.restore(&bytes).unwrap();
        assert_eq!((second.position(), second.passes()), (cut, first.passes()));
        assert_eq!(run(&mut second, steps - cut), records[cut..], "cut at {cut}");
        assert_eq!(second.passes(), whole.passes());
        let (ours, theirs) = (second.student.state(), whole.student.state());
        assert_same_bits(&ours.parameters, &theirs.parameters);
        assert_eq!((ours.weights, ours.activations), (theirs.weights, theirs.activations));
        assert_eq!((ours.learned, ours.statistics), (theirs.learned, theirs.statistics));
    }
}

#[test]
fn a_resumed_training_is_the_same_training_to_the_bit() {
    let warm = format!("range_warmup = {{ iterations = 4 }}\noptimizer = {{ kind = 'adam' }}\n{ALL_LOSSES}");
    for (quant, config) in [(W4A4, ALL_LOSSES), (BRECQ, ALL_LOSSES), (W4A4, warm.as_str())] {
        assert_resumes(quant, &control(80, 4), config, &[2, 5]);
    }
}

/// Agreement with the teacher and mean squared logit error, on images that no training here sees.
fn measure(student: &QuantizedNetwork) -> (f64, f64) {
    let images = noise(2000, 2).tensor(0..2000, &Device::flex());
    let (ours, theirs) = (student.forward(images.clone()), teacher().forward(images));
    let agreement = ours.clone().argmax(1).equal(theirs.clone().argmax(1)).float().mean();
    (f64::from(floats(agreement)[0]), f64::from(floats((ours - theirs).square().mean())[0]))
}

#[test]
fn a_student_comes_closer_to_its_teacher_also_on_images_it_has_not_seen() {
    let config =
        "epochs = 12\nbatch = 32\nlr = 0.005\nschedule = { kind = 'cosine' }\n[[loss]]\nkind = 'kl'\ntemperature = 2.0";
    let w3a3 = "weight_bits = 3\nactivation_bits = 3";
    for (quant, share) in [(W4A4, 0.25), (w3a3, 0.4)] {
        let mut trainer = trainer(quant, noise(512, 1), config, 9).unwrap();
        let (agreement, error) = measure(&trainer.student().unwrap());
        while !trainer.is_done() {
            trainer.step().unwrap();
        }
        let (trained, trained_error) = measure(&trainer.student().unwrap());
        assert!(1.0 - trained < (1.0 - share) * (1.0 - agreement), "{quant}: {agreement} -> {trained}");
        assert!(trained_error < (1.0 - share) * error, "{quant}: {error} -> {trained_error}");
    }
}

#[test]
fn running_statistics_stay_and_everything_else_moves() {
    let mut trainer = trainer(W4A4, control(80, 4), ALL_LOSSES, 9).unwrap();
    let before = trainer.student().unwrap().state();
    run(&mut trainer, 3);
    let after = trainer.student().unwrap().state();
    assert_eq!(before.activations, after.activations);
    for ((name, old), (_, new)) in before.parameters.iter().zip(&after.parameters) {
        assert_eq!(name.contains("running_"), old.as_bytes() == new.as_bytes(), "{name}");
    }
}

#[test]
fn the_range_warmup_collects_ranges_and_updates_nothing() {
    let config = "epochs = 1\nbatch = 16\nlr = 0.01\nrange_warmup = { iterations = 6 }\n[[loss]]\nkind = 'kl'";
    let mut trainer = trainer(W4A4, control(80, 4), config, 9).unwrap();
    let before = trainer.student().unwrap().state();
    let records = run(&mut trainer, 6);
    assert!(
        records
            .iter()
            .all(|record| record.phase == Phase::RangeWarmup && record.losses.is_empty() && record.agreement.is_none())
    );
    let warmed = trainer.student().unwrap().state();
    assert_same_bits(&before.parameters, &warmed.parameters);
    assert!(
        before.activations.iter().all(|(site, grid)| warmed.activations[site] != *grid),
        "every range was taken anew"
    );
    let record = trainer.step().unwrap();
    assert_eq!((record.phase, record.step, record.epoch), (Phase::Training, 6, 0));
    assert_eq!(trainer.student().unwrap().state().activations, warmed.activations);
}

#[test]
fn records_tell_raw_from_weighted_and_hold_what_was_minimised() {
    let mut trainer = trainer(W4A4, control(80, 4), ALL_LOSSES, 9).unwrap();
    assert_eq!((trainer.steps_per_epoch(), trainer.total_steps()), (5, 10));
    let records = run(&mut trainer, 10);
    let names: Vec<&str> = records[0].losses.iter().map(|loss| loss.name.as_str()).collect();
    assert_eq!(names, ["kl", "cross-entropy", "logit-mse", "feature-mse", "attention", "attention-2"]);
    for (step, record) in records.iter().enumerate() {
        for (loss, weight) in record.losses.iter().zip([0.5, 1.0, 0.1, 1.0, 10.0, 0.0]) {
            assert_eq!(loss.weighted, loss.raw * weight);
        }
        assert_eq!(record.total, record.losses.iter().map(|loss| loss.weighted).sum::<f64>());
        assert_eq!((record.step, record.epoch), (step, step / 5));
        assert!((0.0..=1.0).contains(&record.agreement.unwrap()));
        assert!((0.0..=1.0).contains(&record.changed_weights.unwrap()));
    }
    assert!(records.iter().any(|record| record.changed_weights.unwrap() > 0.0));
    assert!(records[0].losses[5].raw > 0.0, "a loss of weight 0 is still measured");
    assert!(matches!(trainer.step(), Err(DistillError::Done { total: 10 })));
}

#[test]
fn changed_weights_are_measured_as_often_as_told_and_without_effect_on_the_training() {
    let often = trainer(W4A4, control(80, 4), ALL_LOSSES, 9).map(|mut trainer| run(&mut trainer, 6)).unwrap();
    let seldom = format!("log_every = 3\n{ALL_LOSSES}");
    let seldom = trainer(W4A4, control(80, 4), &seldom, 9).map(|mut trainer| run(&mut trainer, 6)).unwrap();
    for (step, (often, seldom)) in often.into_iter().zip(seldom).enumerate() {
        assert_eq!(seldom.changed_weights, if step % 3 == 0 { often.changed_weights } else { None });
        assert_eq!((seldom.losses, seldom.total), (often.losses, often.total));
    }
}

#[test]
fn an_unquantized_student_is_its_teacher() {
    let config = "epochs = 1\nbatch = 16\nlr = 0.1\n[[loss]]\nkind = 'kl'\n[[loss]]\nkind = 'feature-mse'";
    let mut trainer = trainer("weight_bits = 'fp32'\nactivation_bits = 'fp32'", control(80, 4), config, 9).unwrap();
    let record = trainer.step().unwrap();
    assert_eq!((record.agreement, record.changed_weights), (Some(1.0), None));
    assert!(record.losses.iter().all(|loss| loss.raw.abs() < 1e-5), "{record:?}");
}

#[test]
fn a_training_that_diverges_stops_with_step_and_cause() {
    let config = "epochs = 4\nbatch = 16\nlr = 1e30\n[[loss]]\nkind = 'logit-mse'";
    let mut trainer = trainer(W4A4, control(80, 4), config, 9).unwrap();
    let error = loop {
        if let Err(error) = trainer.step() {
            break error;
        }
    };
    assert!(!matches!(error, DistillError::Done { .. }) && error.to_string().starts_with("step "), "{error}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let refuse = |images, config: &str| match trainer(W4A4, images, config, 9) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    let labelled = "batch = 16\n[[loss]]\nkind = 'cross-entropy'\ntarget = 'label'";
    assert!(
        refuse(noise(80, 1), labelled).contains("`loss.cross-entropy.target`"),
        "{}",
        refuse(noise(80, 1), labelled)
    );
    let mut wrong = control(80, 4);
    wrong.labels = wrong.labels.map(|labels| labels.iter().map(|label| label + 1).collect());
    assert!(refuse(wrong, labelled).contains("the label 4"));
    assert!(refuse(noise(8, 1), "batch = 16").contains("`batch`: 16"));
    let (one, other) =
        (trainer(W4A4, control(80, 4), ALL_LOSSES, 9).unwrap(), trainer(W4A4, control(80, 4), ALL_LOSSES, 8));
    let error = other.unwrap().restore(&one.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("`seed`"), "{error}");
}
