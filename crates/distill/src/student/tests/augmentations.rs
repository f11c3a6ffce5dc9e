//! Trainings whose images are augmented by plugins.

use super::*;

const GDFQ: &str = "{ kind = 'gdfq', generator = { latent = 8, channels = 8 } }";
const ALL: &str = "augmentation = [{ kind = 'shift', pad = 1 }, { kind = 'flip' }, { kind = 'resized-crop' }, \
    { kind = 'mixup', probability = 0.5 }, { kind = 'cutmix' }, { kind = 'low-pass', cutoff = 2.0 }]";
const LOSSES: &str = "loss = [{ kind = 'kl' }, { kind = 'cross-entropy', target = 'soft-label' }, \
    { kind = 'cross-entropy', target = 'label' }, { kind = 'kl', perturb = 0.01 }]";

#[test]
fn augmented_trainings_resume_to_the_bit() {
    let stored = format!("epochs = 2\nbatch = 8\nlr = 0.01\nrange_warmup = {{ iterations = 3 }}\n{ALL}\n{LOSSES}");
    let generated = format!("{stored}\niterations_per_epoch = 4\ngenerator = {GDFQ}");
    for config in [stored, generated] {
        assert_resumes(W4A4, &control(32, 4), &config, &[2, 5]);
    }
}

#[test]
fn members_that_change_nothing_leave_the_training_as_it_is() {
    let plain = format!("epochs = 1\nbatch = 16\nlr = 0.01\naugment = {{ flip = true }}\n{LOSSES}");
    let still = format!("{plain}\naugmentation = [{{ kind = 'mixup', probability = 0.0 }}]");
    let mixed = format!("{plain}\naugmentation = [{{ kind = 'mixup', alpha = 1.0 }}]");
    let records = |config: &str| run(&mut trainer(W4A4, control(48, 4), config, 9).unwrap(), 3);
    assert_eq!(records(&still), records(&plain));
    let raw = |records: &[StepRecord], loss: usize| records[0].losses[loss].raw;
    let (plain, mixed) = (records(&plain), records(&mixed));
    assert_eq!(raw(&plain, 1), raw(&plain, 2), "hard labels are both");
    assert!((0..3).all(|loss| raw(&mixed, loss) != raw(&plain, loss)));
    assert_ne!(raw(&mixed, 1), raw(&mixed, 2), "shares differ from the label of the largest");
}

#[test]
fn a_warm_up_s_own_generator_is_not_augmented_and_shared_images_are() {
    let ranges = |config: String| {
        let mut trainer = trainer(W4A4, control(48, 4), &config, 9).unwrap();
        run(&mut trainer, 3);
        trainer.student().unwrap().state().activations
    };
    let filter = "augmentation = [{ kind = 'low-pass', cutoff = 1.0 }]";
    let shared = "epochs = 1\nbatch = 16\nrange_warmup = { iterations = 3 }".to_owned();
    assert_ne!(ranges(format!("{shared}\n{filter}")), ranges(shared));
    let own = format!("epochs = 1\nbatch = 16\nrange_warmup = {{ iterations = 3, generator = {GDFQ} }}");
    assert_eq!(ranges(format!("{own}\n{filter}")), ranges(own));
}

#[test]
fn what_does_not_fit_is_an_error_that_names_its_key() {
    let refuse = |augmentation: &str| match trainer(W4A4, control(48, 4), &format!("batch = 16\n{augmentation}"), 9) {
        Ok(_) => panic!("accepted: {augmentation}"),
        Err(error) => error.to_string(),
    };
    let error = refuse("augmentation = [{ kind = 'mixpu' }]");
    assert!(error.contains("did you mean `mixup`?"), "{error}");
    let error = refuse("augmentation = [{ kind = 'shift', pad = 8 }]");
    assert!(error.starts_with("`augmentation.shift.pad`: 8"), "{error}");
}
