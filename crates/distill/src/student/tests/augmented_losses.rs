//! Losses that look at images augmented for them alone.

use blindfold_zoo::NoTap;

use super::losses::{SMOOTH, first_batch};
use super::*;

fn raw(record: &StepRecord) -> Vec<f64> {
    record.losses.iter().map(|loss| loss.raw).collect()
}

#[test]
fn augmentations_that_change_nothing_leave_the_losses_as_they_are() {
    let plain = "epochs = 1\nbatch = 16\nlr = 0.01\nloss = [{ kind = 'kl' }, { kind = 'logit-mse', perturb = 0.01 }]";
    let still = plain.replace(" }", ", augment = [{ kind = 'flip', probability = 0.0 }] }");
    let trained = |config: &str| {
        let mut trainer = trainer(W4A4, noise(48, 1), config, 9).unwrap();
        (run(&mut trainer, 3), trainer.passes())
    };
    let ((plain, passes), (still, more)) = (trained(plain), trained(&still));
    assert_eq!(still, plain);
    // The batch itself goes through both networks once more, in each of three steps.
    assert_eq!(more - passes, 3 * 2 * 16);
}

#[test]
fn a_loss_is_that_of_its_augmented_images_and_a_perturbation_begins_there() {
    let config = "epochs = 1\nbatch = 16\nlr = 1e-3\nloss = [{ kind = 'logit-mse' }, \
        { kind = 'logit-mse', augment = [{ kind = 'flip', probability = 1.0 }] }, \
        { kind = 'logit-mse', augment = [{ kind = 'flip', probability = 1.0 }], perturb = 1e-3 }]";
    let images = noise(64, 1);
    let mut trainer = trainer(SMOOTH, images.clone(), config, 9).unwrap();
    let losses = raw(&trainer.step().unwrap());

    let student = student(SMOOTH, &images);
    let x = first_batch(images, 16, 9).flip([3]).autodiff().require_grad();
    let distance = student.forward(x.clone()) - teacher().run(x.clone(), &mut NoTap);
    let loss = distance.square().mean();
    let gradient = x.grad(&loss.backward()).unwrap();
    let slope: f64 = floats(gradient).iter().map(|value| f64::from(value.abs())).sum();
    assert!((f64::from(floats(loss.inner())[0]) / losses[1] - 1.0).abs() < 1e-4);
    assert!((losses[0] / losses[1] - 1.0).abs() > 1e-3, "{losses:?}");
    let (rise, expected) = (losses[2] - losses[1], 1e-3 * slope);
    assert!((rise / expected - 1.0).abs() < 0.1, "{rise} is not {expected}");
}

#[test]
fn mixed_images_bring_their_labels_to_the_losses_that_mix_them() {
    let config = "epochs = 1\nbatch = 16\nlr = 0.01\nloss = [{ kind = 'cross-entropy', target = 'label' }, \
        { kind = 'cross-entropy', target = 'soft-label' }, \
        { kind = 'cross-entropy', target = 'label', augment = [{ kind = 'mixup', alpha = 1.0 }] }, \
        { kind = 'cross-entropy', target = 'soft-label', augment = [{ kind = 'mixup', alpha = 1.0 }] }]";
    let losses = raw(&trainer(W4A4, control(48, 4), config, 9).unwrap().step().unwrap());
    assert_eq!(losses[0], losses[1], "an image of the batch itself has one class");
    assert_ne!(losses[2], losses[0]);
    assert_ne!(losses[2], losses[3], "shares differ from the label of the largest");
}

#[test]
fn losses_with_the_same_augmentations_share_their_passes() {
    let passes = |losses: &[&str]| {
        let losses: Vec<String> = losses.iter().map(|keys| format!("{{ kind = 'logit-mse'{keys} }}")).collect();
        let config =
            format!("epochs = 1\nbatch = 16\nlr = 1e-3\ngradient_norms_every = 0\nloss = [{}]", losses.join(", "));
        let mut trainer = trainer(W4A4, noise(64, 1), &config, 9).unwrap();
        trainer.step().unwrap();
        trainer.passes() / 16
    };
    let (flip, shift) = (", augment = [{ kind = 'flip' }]", ", augment = [{ kind = 'shift', pad = 1 }]");
    let (near, far) = (format!("{flip}, perturb = 0.01"), format!("{flip}, perturb = 0.02"));
    assert_eq!(passes(&["", ""]), 2);
    assert_eq!(passes(&["", flip, flip]), 4);
    assert_eq!(passes(&["", flip, shift]), 6);
    assert_eq!(passes(&["", flip, &near, &near]), 6);
    assert_eq!(passes(&["", flip, &near, &far]), 8);
}

#[test]
fn augmented_losses_resume_to_the_bit() {
    let config = "epochs = 2\nbatch = 8\nlr = 0.01\nactivation_drop = 0.25\ngradient_norms_every = 3\n\
        range_warmup = { iterations = 3 }\naugmentation = [{ kind = 'flip' }]\n\
        loss = [{ kind = 'kl' }, { kind = 'kl', augment = [{ kind = 'shift', pad = 1 }, { kind = 'flip' }] }, \
        { kind = 'cross-entropy', target = 'soft-label', augment = [{ kind = 'mixup', alpha = 1.0 }] }, \
        { kind = 'kl', augment = [{ kind = 'mixup', alpha = 1.0 }], perturb = 0.01, from_epoch = 1 }]";
    assert_resumes(W4A4, &control(32, 4), config, &[2, 5, 8]);
}
