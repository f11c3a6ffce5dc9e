use blindfold_zoo::NetworkBuilder;
use burn::tensor::Device;

use super::*;
use crate::bn::Objective;
use crate::sample::{fault, loss, normalization, small_network, synthesize};
use crate::source::image_sources;

/// A generator small enough for a test.
const SMALL: &str = "latent = 6\nchannels = 8\n";

fn make(table: &str, seed: u64) -> ImageSet {
    synthesize("genie-d", &format!("{SMALL}{table}"), &small_network(1), seed).unwrap()
}

#[test]
fn the_statistics_come_near_those_of_the_teacher() {
    let network = small_network(1);
    let observed = ObservedNetwork::new(&network, false).unwrap();
    let loss = loss("mean-std-per-channel", "");
    let objective = Objective { observed: &observed, loss: loss.as_ref(), bn_weight: 1.0, input_weight: 1.0 };
    let distance = |iterations: usize| {
        let images = make(&format!("count = 4\nbatch = 4\niterations = {iterations}"), 3);
        objective.evaluate(&images.tensor(0..4, &network.device()), 4).loss
    };
    let (before, after) = (distance(0), distance(100));
    assert!(after < 0.85 * before, "{before} to {after}");
}

#[test]
fn the_seed_decides_and_batches_follow_one_another() {
    let images = make("count = 5\nbatch = 3\niterations = 4", 3);
    assert_eq!((images.len(), images.shape, images.labels.is_none()), (5, [3, 8, 8], true));
    assert!(images.pixels.iter().all(|value| value.is_finite()));
    assert_eq!(images, make("count = 5\nbatch = 3\niterations = 4", 3));
    assert_ne!(images, make("count = 5\nbatch = 3\niterations = 4", 4));
    // A batch does not depend on the next one, and each has its own generator and codes.
    let first = make("count = 3\nbatch = 3\niterations = 4", 3);
    assert_eq!(images.pixels[..first.pixels.len()], first.pixels);
    assert_ne!(images.image(0), images.image(3));
}

#[test]
fn swing_and_the_generators_rate_make_a_difference() {
    let plain = make("count = 3\niterations = 3", 3);
    for other in [
        "swing = false",
        "generator_decay = { every = 1, factor = 0.5 }",
        "generator_optimizer = { lr = 0.001 }",
        "optimizer = { lr = 0.001 }",
        "input_weight = 0.0",
    ] {
        assert_ne!(plain, make(&format!("count = 3\niterations = 3\n{other}"), 3), "{other}");
    }
    // The first decay comes after 100 iterations.
    assert_eq!(plain, make("count = 3\niterations = 3\ngenerator_decay = { factor = 0.5 }", 3));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make("count = 4\niterations = 3", 3))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn the_generators_rate_falls_in_steps() {
    let decay = GenieDecayConfig { factor: 0.5, every: 2 };
    let factors: Vec<f64> = (0..6).map(|iteration| decay.factor(iteration)).collect();
    assert_eq!(factors, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
}

struct Impatient {
    seen: usize,
    names: Vec<String>,
}

impl Progress for Impatient {
    fn step(&mut self, step: Step<'_>) {
        assert_eq!(step.total, 6);
        self.seen = step.iteration;
        self.names = step.scalars.iter().map(|(name, _)| (*name).to_owned()).collect();
    }

    fn cancelled(&self) -> bool {
        self.seen == 4
    }
}

#[test]
fn it_reports_and_stops_when_it_is_told_to() {
    let table = format!("{SMALL}count = 3\nbatch = 2\niterations = 3");
    let source = image_sources().unwrap().build("genie-d", table.parse().unwrap()).unwrap();
    let mut progress = Impatient { seen: 0, names: Vec::new() };
    let result = source.synthesize(Request {
        teacher: &small_network(1),
        normalization: &normalization(),
        seed: 1,
        real: None,
        progress: &mut progress,
    });
    assert_eq!(result, Err(SynthError::Cancelled));
    assert_eq!(progress.seen, 4);
    assert_eq!(progress.names, ["loss", "bn_loss", "input_loss", "lr", "generator_lr"]);
}

#[test]
fn a_part_of_an_optimizers_table_keeps_the_rest() {
    let table =
        "optimizer = { beta1 = 0.5 }\ngenerator_optimizer = { beta1 = 0.5 }\nschedule = { kind = \"constant\" }";
    let mut defaults = defaults_of::<GenieDConfig>();
    defaults.remove("schedule");
    let config: GenieDConfig = parse(merge_defaults(defaults, table.parse().unwrap())).unwrap();
    assert_eq!((config.optimizer.lr, config.generator_optimizer.lr), (0.1, 0.01));
    assert_eq!(config.schedule, ScheduleConfig::Constant {});
    (ENTRY.build)(table.parse().unwrap()).unwrap();
}

#[test]
fn faults_name_their_key() {
    let error = |table: &str| fault("genie-d", table);
    assert!(error("count = 0").starts_with("`genie-d.count`: 0 is not valid"));
    assert!(error("latent = 0").starts_with("`genie-d.latent`: 0 is not valid"));
    assert!(error("channels = 5").starts_with("`genie-d.channels`: 5 is not valid"));
    assert!(error("slope = 1.0").starts_with("`genie-d.slope`: 1 is not valid"));
    assert!(error("bn_weight = -1.0").starts_with("`genie-d.bn_weight`: -1 is not valid"));
    assert!(error("generator_optimizer = { lr = 0.0 }").starts_with("`genie-d.generator_optimizer.lr`: 0"));
    assert!(error("generator_decay = { every = 0 }").starts_with("`genie-d.generator_decay.every`: 0"));
    assert!(error("loss = { kind = \"nrom\" }").contains("did you mean `norm`?"));
}

#[test]
fn a_teacher_that_does_not_fit_is_refused() {
    let error = synthesize("genie-d", SMALL, &crate::sample::plain_network(), 3).unwrap_err();
    assert_eq!(error, SynthError::NoBatchNorm { network: "plain".to_owned() });
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, 1);
    builder.conv("conv", 0, [2, 3, 6], 1, 0, false);
    let network = builder.finish("odd", [3, 6, 6], 2);
    let error = synthesize("genie-d", SMALL, &network, 3).unwrap_err().to_string();
    assert!(error.starts_with("`teacher`: images of 6x6 pixels"), "{error}");
}
