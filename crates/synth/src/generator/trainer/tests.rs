use blindfold_zoo::{Entry, NetworkBuilder, Op};
use burn::tensor::Device;

use super::*;
use crate::generator::sample::colour_network;
use crate::generator::{GeneratorSettings, StudentView, generators};
use crate::sample::{batch_norm, small_network, smooth_network};

const SMALL: &str = "
    generator = { latent = 8, channels = 8, optimizer = { lr = 1e-2 }, milestones = [2], factor = 0.5 }
";

fn config(kind: &str, options: &str) -> GeneratorConfig {
    GeneratorConfig { kind: kind.to_owned(), options: options.parse().unwrap() }
}

fn trainer(kind: &str, options: &str, seed: u64) -> GeneratorTrainer {
    let teacher = colour_network();
    GeneratorTrainer::new(&config(kind, options), &generators().unwrap(), &teacher, 32, seed).unwrap()
}

fn bits(generated: &Generated) -> Vec<u32> {
    generated.images.clone().into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn refusal(config: &GeneratorConfig, teacher: &Network, batch: usize) -> String {
    GeneratorTrainer::new(config, &generators().unwrap(), teacher, batch, 1).unwrap_err().to_string()
}

/// Share of the next batches' images that the teacher finds to be of the class that was asked for.
fn obedience(trainer: &mut GeneratorTrainer) -> f64 {
    let teacher = colour_network();
    let (mut right, mut total) = (0, 0);
    for _ in 0..8 {
        let generated = trainer.sample();
        let Some(labels) = generated.labels else { continue };
        let answers = teacher.forward(generated.images).argmax(1).into_data();
        right += answers.iter::<i64>().zip(&labels).filter(|(answer, label)| *answer == i64::from(**label)).count();
        total += labels.len();
    }
    assert!(total > 0, "no batch has one class an image");
    right as f64 / total as f64
}

#[test]
fn the_loss_falls_and_the_teacher_sees_the_classes_that_were_asked_for() {
    for (kind, options, steps) in [
        ("gdfq", "generator = { latent = 8, channels = 8, optimizer = { lr = 1e-2 } }", 60),
        (
            "gdfq",
            "generator = { latent = 8, channels = 8, conditioning = 'batch-norm', optimizer = { lr = 1e-2 } }",
            30,
        ),
        ("qimera", "probability = 0.5\ngenerator = { channels = 8, optimizer = { lr = 1e-2 } }", 30),
    ] {
        let mut trainer = trainer(kind, options, 1);
        let losses: Vec<f64> = (0..steps).map(|_| trainer.next(None).unwrap().losses[0].1).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (early, late) = (mean(&losses[..5]), mean(&losses[steps - 5..]));
        assert!(late < 0.7 * early, "{kind} {options}: {early} to {late}");
        let share = obedience(&mut trainer);
        assert!(share > 0.6, "{kind} {options}: {share} of the images are of their class, where chance gives a third");
    }
}

#[test]
fn a_resumed_training_has_the_same_bits() {
    for (kind, options) in [
        ("gdfq", SMALL.to_owned()),
        ("gdfq", SMALL.replace("latent", "every = 2, conditioning = 'batch-norm', latent")),
        ("qimera", SMALL.replace("latent", "conditioning = 'batch-norm', latent")),
        ("gdfq", SMALL.replace("lr = 1e-2", "lr = 1e-2, kind = 'sgd', beta1 = 0.9, momentum = 0.5")),
    ] {
        let mut whole = trainer(kind, &options, 1);
        let batches: Vec<Generated> = (0..7).map(|_| whole.next(None).unwrap()).collect();
        let mut first = trainer(kind, &options, 1);
        (0..4).for_each(|_| drop(first.next(None).unwrap()));
        let bytes = first.to_bytes().unwrap();
        let mut second = trainer(kind, &options, 1);
        second.next(None).unwrap();
        second.restore(&bytes).unwrap();
        assert_eq!(second.position(), 4);
        for expected in &batches[4..] {
            let batch = second.next(None).unwrap();
            assert_eq!((bits(&batch), &batch.losses), (bits(expected), &expected.losses), "{kind} {options}");
            assert_eq!(batch.labels, expected.labels);
        }
    }
}

#[test]
fn the_seed_and_not_the_number_of_threads_decides() {
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trainer = trainer("gdfq", SMALL, seed);
            (0..3).map(|_| bits(&trainer.next(None).unwrap())).collect::<Vec<_>>()
        })
    };
    let batches = run(1, 1);
    assert_eq!(run(3, 1), batches);
    assert_ne!(run(1, 2), batches);
    assert_ne!(batches[0], batches[1], "another batch has other images");
}

#[test]
fn every_so_many_batches_the_generator_makes_a_step() {
    let options = SMALL.replace("latent", "every = 3, latent");
    let mut trainer = trainer("gdfq", &options, 1);
    let names = ["loss", "cross-entropy", "batch-norm"];
    for position in 0..6 {
        assert_eq!(trainer.position(), position);
        let before = trainer.generator.state();
        let generated = trainer.next(None).unwrap();
        let found: Vec<&str> = generated.losses.iter().map(|(name, _)| name.as_str()).collect();
        let stepped = position % 3 == 2;
        assert_eq!(found, if stepped { &names[..] } else { &[] });
        assert_eq!(trainer.steps, (position + 1) / 3);
        let same = before.iter().zip(trainer.generator.state()).all(|((_, a), (_, b))| a.as_bytes() == b.as_bytes());
        assert_eq!(same, !stepped);
        if let [(_, loss), (_, entropy), (_, distance)] = &generated.losses[..] {
            assert!((loss - (entropy + 0.1 * distance)).abs() < 1e-6 * loss.abs());
        }
    }
}

#[test]
fn the_images_are_those_of_before_the_step() {
    let (mut stepping, mut resting) = (trainer("gdfq", SMALL, 1), trainer("gdfq", SMALL, 1));
    let (a, b) = (stepping.next(None).unwrap(), resting.sample());
    assert!(!a.images.is_autodiff());
    assert_eq!(a.labels, b.labels);
    let values = |generated: &Generated| generated.images.clone().into_data().iter::<f32>().collect::<Vec<f32>>();
    for (a, b) in values(&a).iter().zip(values(&b)) {
        assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    }
    let targets: Vec<f32> = a.targets.unwrap().into_data().iter::<f32>().collect();
    for (row, label) in targets.chunks(3).zip(a.labels.unwrap()) {
        assert_eq!((row[label as usize], row.iter().sum::<f32>()), (1.0, 1.0));
    }
}

/// Wants student and teacher to differ in their logits, and sees their blocks.
#[derive(Debug)]
struct Contrary(GeneratorSettings);

impl GeneratorMethod for Contrary {
    fn settings(&self) -> &GeneratorSettings {
        &self.0
    }

    fn needs_student(&self) -> bool {
        true
    }

    fn needs_features(&self) -> bool {
        true
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        let student = view.student.as_ref().expect("the trainer shows the student to a method that needs it");
        assert_eq!((view.teacher_features.len(), student.features.len()), (1, 1));
        assert!(view.targets.is_none(), "an unconditional generator has no classes");
        let value = (view.teacher.clone() - student.logits.clone()).abs().mean();
        vec![GeneratorTerm { name: "difference", weight: -1.0, value }]
    }
}

const CONTRARY: Entry<dyn GeneratorMethod> = Entry {
    name: "contrary",
    summary: "",
    source: "",
    defaults: toml::Table::new,
    build: |_| {
        let mut settings = GeneratorSettings { latent: 8, channels: 8, conditional: false, ..Default::default() };
        settings.optimizer.lr = 1e-2;
        Ok(Box::new(Contrary(settings)))
    },
};

/// A network with one block.
fn block_network(seed: u64) -> Network {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, seed);
    let first = graph.conv("a.conv", 0, [4, 3, 3], 1, 1, false);
    graph.push("a.bn", &[first], blindfold_zoo::Layer::BatchNorm2d(batch_norm("a.bn", 4, seed)));
    graph.op("a.relu", &[graph.last()], Op::Relu);
    graph.block("a", first, 0);
    graph.op("pool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), 6, 4);
    graph.finish("block", [3, 8, 8], 6)
}

struct Student(WatchedTeacher);

impl Critic for Student {
    fn look(&self, images: Tensor<4>, features: bool) -> Result<StudentView, SynthError> {
        let look = self.0.look(images, features);
        Ok(StudentView { logits: look.logits, features: look.blocks })
    }
}

#[test]
fn a_method_that_needs_a_student_is_shown_one_and_a_student_is_asked_for() {
    let family = Family::new("generator", &[CONTRARY]).unwrap();
    let teacher = block_network(1);
    let mut trainer = GeneratorTrainer::new(&config("contrary", ""), &family, &teacher, 16, 1).unwrap();
    assert!(trainer.needs_student());
    let error = trainer.next(None).unwrap_err();
    assert!(error.to_string().starts_with("`generator.kind`: `contrary` is not valid"), "{error}");
    assert_eq!(trainer.position(), 0);
    let student = Student(WatchedTeacher::new(&block_network(2)).unwrap());
    let losses: Vec<f64> = (0..40).map(|_| trainer.next(Some(&student)).unwrap().losses[0].1).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[35..]) < 1.05 * mean(&losses[..5]) && losses[0] < 0.0, "{losses:?}");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let teacher = colour_network();
    assert!(refusal(&config("gdfqq", ""), &teacher, 32).contains("did you mean `gdfq`?"));
    assert!(refusal(&config("gdfq", "ce_weigth = 1.0"), &teacher, 32).contains("did you mean `ce_weight`?"));
    assert!(refusal(&config("gdfq", "ce_weight = -1.0"), &teacher, 32).starts_with("`gdfq.ce_weight`: -1"));
    assert!(refusal(&config("gdfq", ""), &teacher, 1).starts_with("`batch`: 1"));
    assert!(
        refusal(&config("qimera", ""), &smooth_network(), 32).starts_with("`qimera.teacher`: the network `smooth`")
    );
    let family = Family::new("generator", &[CONTRARY]).unwrap();
    let error = GeneratorTrainer::new(&config("contrary", ""), &family, &small_network(1), 16, 1).unwrap_err();
    assert!(error.to_string().starts_with("`contrary.teacher`: the network `small` without blocks"), "{error}");
    let bytes = trainer("gdfq", SMALL, 1).to_bytes().unwrap();
    let error = trainer("gdfq", SMALL, 2).restore(&bytes).unwrap_err().to_string();
    assert!(error.contains("`seed` is \"1\" there and \"2\" here"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_before_the_update() {
    let mut trainer = trainer("gdfq", &SMALL.replace("lr = 1e-2", "lr = 1e30"), 1);
    let error = (0..10).find_map(|_| trainer.next(None).err()).unwrap();
    assert!(matches!(error, SynthError::NotFinite { iteration, .. } if iteration == trainer.steps + 1), "{error}");
    assert_eq!(trainer.position(), trainer.steps);
}
