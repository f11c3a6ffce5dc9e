//! How the trainer evaluates its losses: perturbed images, epochs, the norms of their gradients.

use blindfold_zoo::NoTap;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::augment::Augmentation;
use crate::feed::{Feed, StoredImages};

/// The first batch of a training on these images.
pub(super) fn first_batch(images: ImageSet, batch: usize, seed: u64) -> Tensor<4> {
    let stored = StoredImages::new(images, batch, Augmentation::default(), seed, Device::flex());
    Feed::Stored(Box::new(stored)).at(0, None).unwrap().shown.images
}

/// Weights alone are quantized, so that the student is smooth but for its ReLUs.
pub(super) const SMOOTH: &str = "weight_bits = 3\nactivation_bits = 'fp32'";

#[test]
fn perturbed_images_raise_the_loss_to_first_order() {
    let config = "epochs = 1\nbatch = 16\nlr = 1e-3\n\
        loss = [{ kind = 'logit-mse' }, { kind = 'logit-mse', perturb = 1e-3 }, { kind = 'logit-mse', perturb = 2e-3 }]";
    let images = noise(64, 1);
    let mut trainer = trainer(SMOOTH, images.clone(), config, 9).unwrap();
    let losses: Vec<f64> = trainer.step().unwrap().losses.iter().map(|loss| loss.raw).collect();

    let student = student(SMOOTH, &images);
    let x = first_batch(images, 16, 9).autodiff().require_grad();
    let distance = student.forward(x.clone()) - teacher().run(x.clone(), &mut NoTap);
    let loss = distance.square().mean();
    let gradient = x.grad(&loss.backward()).unwrap();
    let slope: f64 = floats(gradient).iter().map(|value| f64::from(value.abs())).sum();
    assert!((f64::from(floats(loss.inner())[0]) / losses[0] - 1.0).abs() < 1e-4);
    for (loss, epsilon) in losses[1..].iter().zip([1e-3, 2e-3]) {
        let (rise, expected) = (loss - losses[0], epsilon * slope);
        assert!((rise / expected - 1.0).abs() < 0.1, "{rise} is not {expected}");
    }
}

#[test]
fn where_all_losses_are_perturbed_their_own_sum_says_which_way() {
    let config = |loss: &str| format!("epochs = 1\nbatch = 16\nlr = 1e-3\ngradient_norms_every = 0\nloss = [{loss}]");
    let first = |loss: &str| {
        let mut trainer = trainer(SMOOTH, noise(64, 1), &config(loss), 9).unwrap();
        let record = trainer.step().unwrap();
        let passes = trainer.passes();
        (record.losses.last().unwrap().raw, record.total, passes)
    };
    let (plain, _, plain_passes) = first("{ kind = 'logit-mse' }");
    let (alone, total, alone_passes) = first("{ kind = 'logit-mse', perturb = 1e-2 }");
    let (beside, _, _) = first("{ kind = 'logit-mse', weight = 3 }, { kind = 'logit-mse', perturb = 1e-2 }");
    assert!(alone > plain && alone == total && alone == beside, "{plain} {alone} {beside}");
    assert_eq!((plain_passes, alone_passes), (2 * 16, 4 * 16));
}

/// The gradient of a loss is what one step of plain gradient descent moves the parameters by.
fn norm_by_descent(quant: &str, images: &ImageSet, loss: &str) -> f64 {
    let config = format!(
        "epochs = 1\nbatch = 16\nlr = 1.0\nlog_every = 0\n\
         optimizer = {{ kind = 'sgd', momentum = 0, nesterov = false, weight_decay = 0 }}\nloss = [{loss}]"
    );
    let mut trainer = trainer(quant, images.clone(), &config, 9).unwrap();
    let before = trainer.student().unwrap().state().parameters;
    trainer.step().unwrap();
    let after = trainer.student().unwrap().state().parameters;
    let squares = before.iter().zip(&after).flat_map(|((_, old), (_, new))| {
        let moves = old.iter::<f32>().zip(new.iter::<f32>()).map(|(old, new)| f64::from(new - old).powi(2));
        moves.collect::<Vec<f64>>()
    });
    squares.sum::<f64>().sqrt()
}

#[test]
fn gradient_norms_are_those_of_each_loss_alone() {
    let images = noise(64, 1);
    for quant in [W4A4, BRECQ] {
        let config = "epochs = 1\nbatch = 16\nlr = 1e-3\ngradient_norms_every = 2\n\
            loss = [{ kind = 'kl', weight = 0.5 }, { kind = 'logit-mse', weight = 0 }, { kind = 'feature-mse' }]";
        let mut measured = trainer(quant, images.clone(), config, 9).unwrap();
        let mut unmeasured = trainer(quant, images.clone(), &config.replace("every = 2", "every = 0"), 9).unwrap();
        let (records, others) = (run(&mut measured, 3), run(&mut unmeasured, 3));
        let alone = ["{ kind = 'kl' }", "{ kind = 'logit-mse' }", "{ kind = 'feature-mse' }"];
        for (loss, alone) in records[0].losses.iter().zip(alone) {
            let (norm, expected) = (loss.gradient_norm.unwrap(), norm_by_descent(quant, &images, alone));
            assert!(norm > 0.0 && (norm / expected - 1.0).abs() < 1e-3, "{}: {norm} is not {expected}", loss.name);
        }
        for (step, (record, other)) in records.iter().zip(&others).enumerate() {
            for (loss, other) in record.losses.iter().zip(&other.losses) {
                assert_eq!((loss.gradient_norm.is_some(), other.gradient_norm), (step != 1, None));
                assert_eq!(loss.raw, other.raw, "measuring changes nothing");
            }
        }
        // A pass through the student for each of three losses, in two of the three steps.
        assert_eq!(measured.passes() - unmeasured.passes(), 2 * 3 * 16);
    }
}

#[test]
fn gradient_norms_are_measured_in_every_fiftieth_step_unless_told_otherwise() {
    let measured = |rest: &str| {
        let config = format!("epochs = 13\nbatch = 16\nlr = 1e-4\n{rest}\nloss = [{{ kind = 'kl' }}]");
        let mut trainer = trainer(W4A4, noise(64, 1), &config, 9).unwrap();
        let steps = trainer.total_steps();
        let records = run(&mut trainer, steps).into_iter();
        let measured = records.filter(|record| record.losses[0].gradient_norm.is_some());
        (steps, measured.map(|record| record.step).collect::<Vec<usize>>())
    };
    assert_eq!(measured(""), (52, vec![0, 50]), "the last interval is one of two steps");
    assert_eq!(measured("gradient_norms_every = 0"), (52, Vec::new()));
}

#[test]
fn a_loss_is_evaluated_only_in_its_epochs() {
    let config = "epochs = 4\niterations_per_epoch = 1\nbatch = 16\nlr = 1e-3\ngradient_norms_every = 0\nloss = [\
        { kind = 'kl', until_epoch = 3 }, { kind = 'logit-mse', from_epoch = 1, perturb = 0.01 }]";
    let mut trainer = trainer(W4A4, noise(64, 1), config, 9).unwrap();
    let names = run(&mut trainer, 4).into_iter().map(|record| {
        let names = record.losses.into_iter().map(|loss| loss.name);
        names.collect::<Vec<String>>().join(" ")
    });
    assert_eq!(names.collect::<Vec<String>>(), ["kl", "kl logit-mse", "kl logit-mse", "logit-mse"]);
    // Two networks on the batch, and twice more where a loss perturbs it.
    assert_eq!(trainer.passes(), 16 * (2 + 4 + 4 + 4));
}

#[test]
fn losses_that_show_the_networks_other_images_train_the_student() {
    let config = "epochs = 1\nbatch = 16\nlr = 1e-3\nloss = [{ kind = 'contrastive' }, { kind = 'rotation' }]";
    let mut trainer = trainer(W4A4, noise(32, 1), config, 9).unwrap();
    let before = trainer.student().unwrap().state().parameters;
    let record = trainer.step().unwrap();
    assert_eq!(record.losses.len(), 2);
    assert!(trainer.passes() > 2 * 16, "{}", trainer.passes());
    let after = trainer.student().unwrap().state().parameters;
    assert!(before.iter().zip(&after).any(|((_, old), (_, new))| old.as_bytes() != new.as_bytes()));
}
