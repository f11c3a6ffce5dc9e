//! The supervised trainer as a whole.

use blindfold_zoo::Network;
use burn::tensor::{Device, TensorData};

use super::{TeacherConfig, TeacherTrainer};
use crate::augment::Augmentation;
use crate::error::DistillError;
use crate::reference::floats;
use crate::schedule::Schedule;
use crate::testing::{network, normalization, quadrants};

fn config() -> TeacherConfig {
    TeacherConfig {
        epochs: 4,
        batch: 16,
        lr: 0.05,
        label_smoothing: 0.1,
        augment: Augmentation { crop_pad: 1, flip: false },
        ..TeacherConfig::default()
    }
}

fn trainer(config: TeacherConfig) -> TeacherTrainer {
    TeacherTrainer::new(network(3), quadrants(160, 1), normalization(), config, 5).unwrap()
}

fn run(trainer: &mut TeacherTrainer, steps: usize) -> Vec<super::TeacherRecord> {
    (0..steps).map(|_| trainer.step().unwrap()).collect()
}

fn assert_same_bits(ours: &[(String, TensorData)], theirs: &[(String, TensorData)]) {
    assert_eq!(ours.len(), theirs.len());
    for ((name, left), (other, right)) in ours.iter().zip(theirs) {
        assert_eq!(name, other);
        assert_eq!(left.as_bytes(), right.as_bytes(), "{name}");
    }
}

/// Share of right answers in evaluation mode.
fn accuracy(network: &Network) -> f64 {
    let images = quadrants(400, 2);
    let logits = network.forward(images.tensor(0..400, &normalization(), &Device::flex()));
    let answers = floats(logits.argmax(1).float());
    let right = answers.iter().zip(&images.labels).filter(|(answer, label)| **answer as u16 == **label).count();
    right as f64 / 400.0
}

#[test]
fn it_learns_a_set_whose_classes_are_visible_and_keeps_it_in_evaluation_mode() {
    let mut trainer = trainer(TeacherConfig { epochs: 10, ..config() });
    let untrained = accuracy(&trainer.network());
    let records = run(&mut trainer, 100);
    assert!(trainer.is_done());
    let training = records[90..].iter().map(|record| record.accuracy).sum::<f64>() / 10.0;
    let evaluation = accuracy(&trainer.network());
    assert!(untrained < 0.6 && training > 0.9 && evaluation > 0.9, "{untrained} {training} {evaluation}");
}

#[test]
fn a_resumed_training_is_the_same_training_to_the_bit() {
    for optimizer in ["kind = 'sgd'\ndecay_norm_and_bias = false", "kind = 'adam'"] {
        let config = TeacherConfig { optimizer: toml::from_str(optimizer).unwrap(), ..config() };
        let mut whole = trainer(config.clone());
        let records = run(&mut whole, 14);
        let mut first = trainer(config.clone());
        run(&mut first, 7);
        let bytes = first.to_bytes().unwrap();
        let mut second = trainer(config);
        second.restore(&bytes).unwrap();
        assert_eq!(second.position(), 7);
        assert_eq!(run(&mut second, 7), records[7..]);
        assert_same_bits(&second.network().state(), &whole.network().state());
    }
}

#[test]
fn records_hold_epochs_and_rates() {
    let schedule = Schedule::Step { milestones: vec![1.0], factor: 0.5 };
    let mut trainer = trainer(TeacherConfig { epochs: 2, schedule, ..config() });
    assert_eq!((trainer.steps_per_epoch(), trainer.total_steps()), (10, 20));
    let records = run(&mut trainer, 20);
    for (step, record) in records.iter().enumerate() {
        assert_eq!((record.step, record.epoch), (step, step / 10));
        assert_eq!(record.lr, if step < 10 { 0.05 } else { 0.025 });
    }
    assert!(matches!(trainer.step(), Err(DistillError::Done { total: 20 })));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_before_the_update() {
    let mut trainer = trainer(TeacherConfig { lr: 1e30, ..config() });
    let mut before = trainer.network().state();
    let error = loop {
        match trainer.step() {
            Ok(_) => before = trainer.network().state(),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, DistillError::NotFinite { step, .. } if *step == trainer.position()), "{error}");
    assert_same_bits(&trainer.network().state(), &before);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let refuse = |images, config| match TeacherTrainer::new(network(3), images, normalization(), config, 5) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    let mut wrong_label = quadrants(160, 1);
    wrong_label.labels[7] = 4;
    assert!(refuse(wrong_label, config()).contains("`labels`: 4"));
    let mut unlabelled = quadrants(160, 1);
    unlabelled.labels.clear();
    assert!(refuse(unlabelled, config()).contains("0 labels for 160 images"));
    assert!(refuse(quadrants(160, 1), TeacherConfig { batch: 161, ..config() }).contains("`batch`: 161"));
    assert!(
        refuse(quadrants(160, 1), TeacherConfig { label_smoothing: 1.0, ..config() }).contains("`label_smoothing`: 1")
    );
    let bytes = trainer(config()).to_bytes().unwrap();
    let error = trainer(TeacherConfig { lr: 0.5, ..config() }).restore(&bytes).unwrap_err();
    assert!(error.to_string().contains("`lr` is 0.05 there and 0.5 here"), "{error}");
}
