use burn::tensor::Device;

use super::*;
use crate::optimised::class_centres::tests::easy_teacher;
use crate::progress::NoProgress;
use crate::sample::{close, fault, host, normalization, probability_of_labels, small_network, statistics, synthesize};

const CENTRES: &str = "centres = { iterations = 4 }";

#[test]
fn the_centres_term_is_its_formula() {
    // Two layers, of one and of two channels; the means miss 0.3 by the gaps. The late layer alone counts.
    let statistics = statistics(&[[5.0, 2.0, -1.0]], &[[7.0, 4.0, 0.25]]);
    let goal = Moments {
        mean: Tensor::from_floats([[0.3, 1.3, 0.3]], &Device::flex()),
        var: Tensor::from_floats([[1.0, 1.0, 2.25]], &Device::flex()),
    };
    let late = (1.0 + 1.0) / 2.0 + (9.0 + 4.0) / 2.0;
    close(centre_loss(&statistics, &goal, &ClassCentresConfig::default(), 4), late / (2.0 * 4.0), 1e-5);
    let all = ClassCentresConfig { early_share: 0.0, ..ClassCentresConfig::default() };
    close(centre_loss(&statistics, &goal, &all, 4), (late + 25.0 + 36.0) / (2.0 * 4.0), 1e-5);
}

#[test]
fn the_goal_is_mean_and_variance_over_all_centres() {
    let teacher = small_network(1);
    let config = ClassCentresConfig { iterations: 2, batch: 4, ..ClassCentresConfig::default() };
    let normalization = normalization();
    let mut progress = NoProgress;
    let mut request =
        Request { teacher: &teacher, normalization: &normalization, seed: 3, real: None, progress: &mut progress };
    let found = goal(&config, &mut request, 4).unwrap();
    let images = class_centres(&config, &mut request, 4).unwrap();
    let observed = ObservedNetwork::new(&teacher, true).unwrap();
    let (_, expected) = observed.run(images.tensor(0..images.len(), &Device::flex()), OF_BATCH);
    for (found, expected) in [(found.mean, expected.mean), (found.var, expected.var)] {
        for (found, expected) in host(&found).iter().zip(host(&expected)) {
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} instead of {expected}");
        }
    }
}

#[test]
fn the_probability_of_the_asked_class_rises() {
    let teacher = easy_teacher();
    let make = |iterations: usize| {
        let own = format!("count = 6\niterations = {iterations}\nlabels = \"balanced\"\ncrop_probability = 0.0");
        synthesize("synq", &format!("{own}\n{CENTRES}"), &teacher, 3).unwrap()
    };
    let (before, after) = (probability_of_labels(&teacher, &make(0)), probability_of_labels(&teacher, &make(60)));
    assert!(after > before + 0.2, "{before} to {after}");
}

#[test]
fn the_seed_alone_decides_and_the_centres_act() {
    let network = small_network(1);
    let make = |own: &str, seed: u64| {
        synthesize("synq", &format!("count = 5\nbatch = 3\niterations = 4\n{own}\n{CENTRES}"), &network, seed).unwrap()
    };
    let images = make("centre_weight = 1.0", 3);
    assert_eq!(images, make("centre_weight = 1.0", 3));
    assert_ne!(images, make("centre_weight = 1.0", 4));
    let without = make("centre_weight = 0.0", 3);
    assert_eq!(images.labels, without.labels);
    assert_ne!(images.pixels, without.pixels);
    assert!(images.pixels.iter().all(|value| value.is_finite()));
}

#[test]
fn faults_name_their_key() {
    assert!(fault("synq", "count = 0").starts_with("`synq.count`: 0 is not valid"));
    assert!(fault("synq", "labels = \"none\"").starts_with("`synq.labels`"));
    assert!(fault("synq", "centre_weight = -1.0").starts_with("`synq.centre_weight`: -1 is not valid"));
    assert!(fault("synq", "centres = { batch = 0 }").starts_with("`synq.centres.batch`: 0 is not valid"));
    assert!(fault("synq", "centres = { itertions = 1 }").contains("itertions"));
    assert!(fault("synq", "flip_probability = 2.0").starts_with("`synq.flip_probability`: 2 is not valid"));
}
