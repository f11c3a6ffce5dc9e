use super::*;
use crate::sample::{normalization, small_network, synthesize};
use crate::source::image_sources;

fn error(table: &str) -> String {
    image_sources().unwrap().build("zeroq", table.parse().unwrap()).err().unwrap().to_string()
}

#[test]
fn without_iterations_the_images_are_the_start() {
    let images = synthesize("zeroq", "count = 8\niterations = 0", &small_network(1), 3).unwrap();
    let mut levels: Vec<i64> = images
        .pixels
        .iter()
        .map(|&value| {
            let level = f64::from(value) * 5418.75 + 127.5;
            assert!((level - level.round()).abs() < 1e-3 && (0.0..=254.0).contains(&level.round()), "{level}");
            level.round() as i64
        })
        .collect();
    levels.sort_unstable();
    levels.dedup();
    assert!(levels.len() > 200, "{} of 255 levels were drawn", levels.len());
    assert_eq!(images.labels, None);
}

#[test]
fn images_do_not_depend_on_those_beside_them() {
    let own = "count = 8\niterations = 12\nshard = 3\noptimizer = { epsilon = 1e-20 }";
    let network = small_network(1);
    let together = synthesize("zeroq", &format!("batch = 8\n{own}"), &network, 3).unwrap();
    let apart = synthesize("zeroq", &format!("batch = 4\n{own}"), &network, 3).unwrap();
    for (a, b) in together.pixels.iter().zip(&apart.pixels) {
        assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{a} against {b}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let network = small_network(1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| synthesize("zeroq", "count = 7\nbatch = 7\nshard = 2\niterations = 6", &network, 3).unwrap())
    };
    let images = run(1);
    assert_eq!(run(3), images);
    assert_eq!(run(5), images);
}

#[test]
fn the_statistics_come_near_those_of_the_teacher() {
    let network = small_network(1);
    let observed = ObservedNetwork::new(&network, false).unwrap();
    let loss = crate::sample::loss("mean-std-per-image", "");
    let objective = Objective { observed: &observed, loss: loss.as_ref(), bn_weight: 1.0, input_weight: 1.0 };
    let distance = |iterations: usize| {
        let table = format!("count = 4\nbatch = 4\niterations = {iterations}\noptimizer = {{ lr = 0.1 }}");
        let images = synthesize("zeroq", &table, &network, 3).unwrap();
        objective.evaluate(&images.tensor(0..4, &network.device()), 4).loss
    };
    let (before, after) = (distance(0), distance(150));
    assert!(after < 0.2 * before, "{before} to {after}");
}

struct Impatient(usize);

impl Progress for Impatient {
    fn step(&mut self, step: Step<'_>) {
        assert_eq!(step.total, 20);
        self.0 = step.iteration;
    }

    fn cancelled(&self) -> bool {
        self.0 == 13
    }
}

#[test]
fn it_stops_when_it_is_told_to() {
    let source =
        image_sources().unwrap().build("zeroq", "count = 3\nbatch = 2\niterations = 10".parse().unwrap()).unwrap();
    let mut progress = Impatient(0);
    let result = source.synthesize(Request {
        teacher: &small_network(1),
        normalization: &normalization(),
        seed: 1,
        real: None,
        progress: &mut progress,
    });
    assert_eq!(result, Err(SynthError::Cancelled));
    assert_eq!(progress.0, 13);
}

#[test]
fn every_distance_can_be_chosen_and_makes_images() {
    for kind in crate::BUILTIN_LOSSES.iter().map(|entry| entry.name) {
        for input_weight in [0.0, 1.0] {
            let table = format!(
                "count = 4\nbatch = 4\niterations = 3\ninput_weight = {input_weight}\nloss = {{ kind = \"{kind}\" }}"
            );
            let images = synthesize("zeroq", &table, &small_network(1), 3).unwrap();
            assert!(images.pixels.iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn faults_name_their_key() {
    assert!(error("count = 0").starts_with("`zeroq.count`: 0 is not valid"));
    assert!(error("optimizer = { lr = -1.0 }").starts_with("`zeroq.optimizer.lr`: -1 is not valid"));
    assert!(error("plateau = { factor = 2.0 }").starts_with("`zeroq.plateau.factor`: 2 is not valid"));
    assert!(error("loss = { kind = \"nrom\" }").contains("did you mean `norm`?"));
    assert!(error("loss = { kind = \"norm\", first_weight = -1.0 }").starts_with("`zeroq.loss.norm.first_weight`"));
    assert!(error("loss = { kind = 3 }").starts_with("`zeroq.loss.kind`: 3 is not valid"));
    assert!(error("init = { divisor = 0.0 }").starts_with("`zeroq.init`"));
    assert!(error("optimiser = { lr = 1.0 }").contains("optimiser"));
}

#[test]
fn a_network_without_batch_norm_is_refused() {
    let network = crate::sample::plain_network();
    let error = synthesize("zeroq", "count = 1", &network, 3).unwrap_err();
    assert_eq!(error, SynthError::NoBatchNorm { network: "plain".to_owned() });
}
