//! Trainings whose images a generator makes, and what else zero-shot methods ask of the trainer.

use blindfold_synth::{Critic, Origin};
use blindfold_zoo::{FeatureTap, Taps};
use burn::tensor::{Device, Tensor};

use super::*;
use crate::student::BatchNorms;
use crate::student::critic::StudentCritic;
use crate::student::networks::Mode;

/// A small GDFQ generator.
const GDFQ: &str = "{ kind = 'gdfq', generator = { latent = 8, channels = 8, optimizer = { lr = 0.01 } } }";
/// A small generator that plays against the student, with a step on every second batch.
const ZAQ: &str = "{ kind = 'zaq', generator = { latent = 8, channels = 8, every = 2 } }";
const KL: &str = "[[loss]]\nkind = 'kl'\ntemperature = 2.0";

fn parameters(trainer: &StudentTrainer) -> Vec<(String, TensorData)> {
    trainer.student().unwrap().state().parameters
}

#[test]
fn a_generators_images_bring_the_student_closer_to_its_teacher() {
    let config = format!(
        "epochs = 8\niterations_per_epoch = 20\nbatch = 32\nlr = 0.005\nschedule = {{ kind = 'cosine' }}\n\
         generator = {GDFQ}\nrange_warmup = {{ iterations = 20 }}\n{KL}"
    );
    let mut trainer = trainer("weight_bits = 3\nactivation_bits = 3", noise(64, 1), &config, 9).unwrap();
    let mut records = run(&mut trainer, 20);
    let before = trainer.student().unwrap();
    records.extend(run(&mut trainer, 160));
    assert!(trainer.is_done());
    assert!(records.iter().all(|record| record.generator.iter().any(|(name, _)| name == "loss")));
    let after = trainer.student().unwrap();
    let images = trainer.fresh_images(512).unwrap();
    let measured = |student: &QuantizedNetwork| {
        let (ours, theirs) = (student.forward(images.clone()), teacher().forward(images.clone()));
        let agreement = ours.clone().argmax(1).equal(theirs.clone().argmax(1)).float().mean();
        (floats(agreement)[0], floats((ours - theirs).square().mean())[0])
    };
    let ((agreement, error), (trained, trained_error)) = (measured(&before), measured(&after));
    assert!(trained > agreement, "{agreement} -> {trained}");
    assert!(trained_error < 0.7 * error, "{error} -> {trained_error}");
}

#[test]
fn trainings_with_all_that_zero_shot_methods_ask_for_resume_to_the_bit() {
    let generated = format!(
        "epochs = 2\niterations_per_epoch = 4\nbatch = 8\nlr = 0.01\nactivation_drop = 0.5\ngenerator = {GDFQ}\n\
         range_warmup = {{ iterations = 3 }}\ninundation = {{ threshold = 0.02, milestones = [1] }}\n\
         gradient_norms_every = 3\nloss = [{{ kind = 'kl' }}, {{ kind = 'cross-entropy', target = 'label' }}]"
    );
    let stored = format!(
        "epochs = 2\nbatch = 8\nlr = 0.01\nreestimate_batch_norms = true\nactivation_drop = 0.25\n\
         range_warmup = {{ iterations = 3, batch = 4, generator = {GDFQ} }}\naugment = {{ flip = true }}\n\
         loss = [{{ kind = 'kl' }}, {{ kind = 'kl', perturb = 0.01 }}, {{ kind = 'contrastive', until_epoch = 1 }}]"
    );
    let adversarial = format!(
        "epochs = 2\niterations_per_epoch = 4\nbatch = 8\nlr = 0.01\nbatch_norm = 'trained-statistics'\n\
         range_warmup = {{ iterations = 3 }}\ngenerator = {ZAQ}\n\
         loss = [{{ kind = 'logit-l1', perturb = 0.01 }}]"
    );
    for config in [generated, stored, adversarial] {
        assert_resumes(W4A4, &noise(32, 1), &config, &[2, 3, 6]);
    }
}

#[test]
fn images_asked_for_midway_leave_the_training_as_it_was() {
    let config = format!(
        "epochs = 2\niterations_per_epoch = 3\nbatch = 8\nlr = 0.01\ngenerator = {GDFQ}\n\
         range_warmup = {{ iterations = 2 }}\n{KL}"
    );
    let (mut asked, mut left_alone) =
        (trainer(W4A4, noise(8, 1), &config, 9).unwrap(), trainer(W4A4, noise(8, 1), &config, 9).unwrap());
    for steps in [1, 3, 4] {
        run(&mut asked, steps);
        run(&mut left_alone, steps);
        let made = asked.generated(20).unwrap().unwrap();
        assert_eq!((made.len(), made.shape), (24, asked.student().unwrap().network.input_shape()));
        assert_eq!(made.labels.as_ref().map(Vec::len), Some(24));
        assert_eq!(asked.passes(), left_alone.passes());
    }
    assert!(asked.is_done() && left_alone.is_done());
    assert_same_bits(&parameters(&asked), &parameters(&left_alone));
    let mut stored = trainer(W4A4, noise(32, 1), &format!("batch = 8\n{KL}"), 9).unwrap();
    assert!(stored.generated(20).unwrap().is_none());
}

#[test]
fn the_range_warmup_moves_the_generator_and_the_ranges_and_nothing_else() {
    let common = "batch = 16\ngradient_norms_every = 0";
    let own = format!("{common}\nrange_warmup = {{ iterations = 4, batch = 8, generator = {GDFQ} }}\n{KL}");
    let shared =
        format!("{common}\niterations_per_epoch = 2\ngenerator = {GDFQ}\nrange_warmup = {{ iterations = 4 }}\n{KL}");
    for (config, shown, passes) in [(own, 8, 32), (shared, 16, 48)] {
        let mut trainer = trainer(W4A4, noise(32, 1), &config, 9).unwrap();
        let before = trainer.student().unwrap().state();
        let records = run(&mut trainer, 4);
        for record in records {
            assert_eq!((record.phase, record.epoch), (Phase::RangeWarmup, 0));
            assert!(record.losses.is_empty() && !record.generator.is_empty());
        }
        let warmed = trainer.student().unwrap().state();
        assert_same_bits(&before.parameters, &warmed.parameters);
        assert!(before.activations.iter().all(|(site, grid)| warmed.activations[site] != *grid));
        // The calibrated student and the generator's teacher; then student and teacher, and the generator's teacher if any.
        assert_eq!(trainer.passes(), 4 * 2 * shown);
        let record = trainer.step().unwrap();
        assert_eq!((record.phase, record.generator.is_empty()), (Phase::Training, shown == 8));
        assert_eq!(trainer.passes(), 4 * 2 * shown + passes);
    }
}

#[test]
fn a_generator_that_needs_the_student_steps_on_every_second_batch() {
    let config = format!(
        "epochs = 1\niterations_per_epoch = 4\nbatch = 8\nlr = 0.01\ngradient_norms_every = 0\n\
         generator = {ZAQ}\n{KL}"
    );
    let mut trainer = trainer(W4A4, noise(8, 1), &config, 9).unwrap();
    let records = run(&mut trainer, 4);
    let stepped: Vec<bool> = records.iter().map(|record| !record.generator.is_empty()).collect();
    assert_eq!(stepped, [false, true, false, true]);
    // Each batch goes through student and teacher, each of the generator's two steps through both as well.
    assert_eq!(trainer.passes(), 8 * (4 * 2 + 2 * 2));
}

#[test]
fn the_gradient_of_what_a_generator_sees_reaches_the_images_through_the_quantizers() {
    let student = student(W4A4, &noise(32, 1)).frozen();
    for batch_norm in [BatchNorms::Fixed, BatchNorms::TrainedStatistics] {
        let mode = Mode { batch_norm, drop: 0.5, seed: 1, step: 0 };
        let teacher = teacher();
        let critic = StudentCritic::new(&teacher, &student, mode);
        let images = noise(8, 2).tensor(0..8, &Device::flex()).autodiff().require_grad();
        let view = critic.look(images.clone(), true).unwrap();
        assert_eq!(view.features.len(), 1, "the network has one block");
        assert_eq!((view.features[0].dims(), view.logits.dims()), ([8, 8, 8, 8], [8, 4]));
        assert_eq!(critic.passes(), 8);
        let distance = view.logits.clone().inner() - student.forward(images.clone().inner());
        let distance = floats(distance.abs().mean())[0];
        assert_eq!(distance < 1e-2, batch_norm == BatchNorms::Fixed, "nothing is dropped: {distance}");
        let gradients = (view.logits.square().sum() + view.features[0].clone().sum()).backward();
        let gradient = floats(images.grad(&gradients).unwrap());
        assert!(gradient.iter().all(|value| value.is_finite()) && gradient.iter().any(|value| *value != 0.0));
    }
}

#[test]
fn inundation_changes_the_share_of_codes_that_it_is_told() {
    let config = |rest: &str| format!("epochs = 1\nbatch = 16\nlr = 1e-4\n{rest}\n{KL}");
    let mut plain = trainer(W4A4, noise(64, 1), &config(""), 9).unwrap();
    let record = plain.step().unwrap();
    assert!(record.changed_weights.unwrap() < 0.03 && record.inundation.is_none(), "{record:?}");
    let inundation = config("inundation = { threshold = 0.03, cap = 1e6, search = 8 }");
    let mut inundated = trainer(W4A4, noise(64, 1), &inundation, 9).unwrap();
    for record in run(&mut inundated, 3) {
        assert!(record.changed_weights.unwrap() >= 0.03 && record.inundation.unwrap() > 1.0, "{record:?}");
    }
    let capped = config("inundation = { threshold = 0.03, cap = 1.0 }");
    let mut capped = trainer(W4A4, noise(64, 1), &capped, 9).unwrap();
    assert_eq!(capped.step().unwrap().inundation, Some(1.0));
    assert_same_bits(&parameters(&capped), &parameters(&plain));
}

#[test]
fn dropping_changes_the_training_and_not_the_student_that_comes_out() {
    let config = |drop: f64| format!("epochs = 1\nbatch = 16\nlr = 0.01\nactivation_drop = {drop:?}\n{KL}");
    let first = |drop: f64| {
        let mut trainer = trainer(W4A4, noise(64, 1), &config(drop), 9).unwrap();
        let record = trainer.step().unwrap();
        (record.losses[0].raw, trainer.student().unwrap())
    };
    let ((all, _), (half, student)) = (first(0.0), first(0.5));
    assert!(half < all, "with half of the activations in floating point the student is nearer: {half} {all}");
    let images = noise(16, 3).tensor(0..16, &Device::flex());
    assert_eq!(floats(student.forward(images.clone())), floats(student.forward(images)));
}

fn running(trainer: &StudentTrainer) -> Vec<(String, TensorData)> {
    parameters(trainer).into_iter().filter(|(name, _)| name.contains("running_")).collect()
}

#[test]
fn running_statistics_move_where_they_are_trained_or_measured_anew() {
    let moved = |before: &[(String, TensorData)], after: &[(String, TensorData)]| {
        before.iter().zip(after).filter(|((_, old), (_, new))| old.as_bytes() != new.as_bytes()).count()
    };
    let config = |rest: &str| format!("epochs = 1\nbatch = 16\nlr = 0.01\ngradient_norms_every = 0\n{rest}\n{KL}");
    let trained = config("batch_norm = 'trained-statistics'\nbatch_norm_momentum = 0.5");
    let mut trained = trainer(W4A4, noise(48, 1), &trained, 9).unwrap();
    let before = running(&trained);
    trained.step().unwrap();
    assert_eq!((before.len(), moved(&before, &running(&trained))), (6, 6));

    let mut measured = trainer(W4A4, noise(48, 1), &config("reestimate_batch_norms = true"), 9).unwrap();
    let before = running(&measured);
    run(&mut measured, 2);
    assert_eq!((moved(&before, &running(&measured)), measured.passes()), (0, 2 * 32));
    measured.step().unwrap();
    assert_eq!((moved(&before, &running(&measured)), measured.passes()), (6, 3 * 32 + 48));
    assert!(measured.is_done());
    // The first batch norm's input has, on the images looked at, the mean that it now remembers.
    let student = measured.student().unwrap();
    let mut tap = FeatureTap::new(["conv1".to_owned()]);
    let images = noise(48, 1).tensor(0..48, &Device::flex());
    student.network.run(images, &mut Taps(vec![&mut student.tap(), &mut tap]));
    let channels: Tensor<2> = tap.features.remove("conv1").unwrap().swap_dims(0, 1).reshape([8, 48 * 64]);
    let (_, mean) = running(&measured).into_iter().find(|(name, _)| name == "bn1.running_mean").unwrap();
    for (ours, theirs) in mean.iter::<f32>().zip(floats(channels.mean_dim(1))) {
        assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
    }

    let fresh = format!(
        "epochs = 1\niterations_per_epoch = 1\nbatch = 128\nlr = 0.01\nreestimate_batch_norms = true\n\
         gradient_norms_every = 0\ngenerator = {GDFQ}\n{KL}"
    );
    let mut measured = trainer(W4A4, noise(48, 1), &fresh, 9).unwrap();
    let before = running(&measured);
    measured.step().unwrap();
    assert_eq!(moved(&before, &running(&measured)), 6);
    // A step of training, then eight batches of the generator, of which the student reads 1,024 images.
    assert_eq!(measured.passes(), 3 * 128 + 8 * 128 + 1024);
}

#[test]
fn statistics_are_measured_on_as_many_images_as_asked_for_and_blended_as_asked() {
    let common = "epochs = 1\nlr = 0.01\ngradient_norms_every = 0\nreestimate_batch_norms = true";
    let stored = |table: &str| {
        let config = format!("{common}\nbatch = 16\nbatch_norm_reestimation = {table}\n{KL}");
        let mut trainer = trainer(W4A4, noise(48, 1), &config, 9).unwrap();
        let (_, before) = running(&trainer).into_iter().find(|(name, _)| name == "bn1.running_mean").unwrap();
        run(&mut trainer, 3);
        let (_, after) = running(&trainer).into_iter().find(|(name, _)| name == "bn1.running_mean").unwrap();
        (trainer.passes(), before, after, trainer.student().unwrap())
    };
    let (passes, before, whole, student) = stored("{ max_images = 20, batch = 8 }");
    assert_eq!(passes, 3 * 32 + 20);
    let mut tap = FeatureTap::new(["conv1".to_owned()]);
    let images = noise(48, 1).tensor(0..20, &Device::flex());
    student.network.run(images, &mut Taps(vec![&mut student.tap(), &mut tap]));
    let channels: Tensor<2> = tap.features.remove("conv1").unwrap().swap_dims(0, 1).reshape([8, 20 * 64]);
    for (ours, theirs) in whole.iter::<f32>().zip(floats(channels.mean_dim(1))) {
        assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
    }
    let (passes, _, half, _) = stored("{ max_images = 20, blend = 0.25 }");
    assert_eq!(passes, 3 * 32 + 20);
    for ((old, new), blended) in before.iter::<f32>().zip(whole.iter::<f32>()).zip(half.iter::<f32>()) {
        assert!((0.75 * old + 0.25 * new - blended).abs() < 1e-4, "{blended} between {old} and {new}");
    }
    assert_eq!(stored("{ max_images = 100 }").0, 3 * 32 + 48, "there are no more");

    let fresh = format!(
        "{common}\niterations_per_epoch = 1\nbatch = 16\nbatch_norm_reestimation = {{ max_images = 40 }}\n\
         generator = {GDFQ}\n{KL}"
    );
    let mut measured = trainer(W4A4, noise(48, 1), &fresh, 9).unwrap();
    measured.step().unwrap();
    // A step of training, then three batches of the generator, of which the student reads 40 images.
    assert_eq!(measured.passes(), 3 * 16 + 3 * 16 + 40);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_its_key() {
    let refuse = |quant: &str, config: &str| match trainer(quant, noise(32, 1), config, 9) {
        Ok(_) => panic!("accepted: {config}"),
        Err(error) => error.to_string(),
    };
    let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
    has(refuse(W4A4, &format!("batch = 8\ngenerator = {GDFQ}\n{KL}")), "`iterations_per_epoch`");
    let generator =
        |table: &str, rest: &str| format!("batch = 8\niterations_per_epoch = 2\ngenerator = {table}\n{rest}");
    has(refuse(W4A4, &generator("{ kind = 'gdqf' }", KL)), "did you mean `gdfq`?");
    has(refuse(W4A4, &generator("{ kind = 'gdfq', bns = 1 }", KL)), "`generator`");
    let labels = "[[loss]]\nkind = 'cross-entropy'\ntarget = 'label'";
    has(refuse(W4A4, &generator(ZAQ, labels)), "`loss.cross-entropy.target`");
    trainer(W4A4, noise(32, 1), &generator(GDFQ, labels), 9).unwrap();
    let warm = "batch = 8\nrange_warmup = { iterations = 2, generator = { kind = 'gdqf' } }";
    has(refuse(W4A4, &format!("{warm}\n{KL}")), "did you mean `gdfq`?");
    has(refuse(BRECQ, &format!("batch = 8\nbatch_norm = 'trained-statistics'\n{KL}")), "`batch_norm`");
    has(refuse(BRECQ, &format!("batch = 8\nreestimate_batch_norms = true\n{KL}")), "`reestimate_batch_norms`");
    has(refuse(W4A4, &format!("batch = 8\nquantizer_lr = 0.1\n{KL}")), "`quantizer_lr`");
    has(refuse(W4A4, &format!("batch = 8\nquantizer_optimizer = {{ kind = 'adam' }}\n{KL}")), "`quantizer_optimizer`");

    let config = generator(GDFQ, KL);
    let mut one = trainer(W4A4, noise(32, 1), &config, 9).unwrap();
    run(&mut one, 2);
    let other = config.replace("channels = 8", "channels = 4");
    let error = trainer(W4A4, noise(32, 1), &other, 9).unwrap().restore(&one.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("`generator`"), "{error}");
}

#[test]
fn real_images_are_not_needed_where_a_generator_makes_them() {
    let config = format!("epochs = 1\niterations_per_epoch = 2\nbatch = 16\ngenerator = {GDFQ}\n{KL}");
    let few = noise(4, 1);
    assert_eq!(few.origin, Origin::Synthetic);
    let mut trainer = trainer(W4A4, few, &config, 9).unwrap();
    assert_eq!((trainer.steps_per_epoch(), trainer.total_steps()), (2, 2));
    run(&mut trainer, 2);
}
