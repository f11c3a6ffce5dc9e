use burn::tensor::Device;

use super::*;
use crate::optimised::class_centres::OF_BATCH;
use crate::optimised::class_centres::tests::easy_teacher;
use crate::progress::NoProgress;
use crate::sample::{fault, host, normalization, probability_of_labels, small_network, synthesize, traced};

const CENTRES: &str = "centres = { iterations = 4 }";

#[test]
fn rows_are_chosen_by_their_number() {
    let table = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::flex());
    assert_eq!(host(&rows(&table, &[2, 0, 2])), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
}

#[test]
fn the_centres_know_their_statistics_and_textures() {
    let teacher = small_network(1);
    let config = ClassCentresConfig { iterations: 2, batch: 4, ..ClassCentresConfig::default() };
    let normalization = normalization();
    let mut progress = NoProgress;
    let mut request =
        Request { teacher: &teacher, normalization: &normalization, seed: 3, real: None, progress: &mut progress };
    let centres = Centres::make(&config, &mut request, 4).unwrap();
    let images = class_centres(&config, &mut request, 4).unwrap();
    assert_eq!((centres.textures.dims(), centres.moments.mean.dims()[0]), ([6, 15], 6));
    let sums = host(&centres.textures.clone().sum_dim(1));
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
    // One image is its own batch.
    let observed = ObservedNetwork::new(&teacher, true).unwrap();
    let (_, third) = observed.run(images.tensor(2..3, &Device::flex()), OF_BATCH);
    for (found, expected) in [(centres.moments.mean, third.mean), (centres.moments.var, third.var)] {
        for (found, expected) in host(&rows(&found, &[2])).iter().zip(host(&expected)) {
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} instead of {expected}");
        }
    }
}

#[test]
fn every_term_falls_and_the_iterations_are_counted_on() {
    let table = format!("count = 6\niterations = 60\nlabels = \"balanced\"\n{CENTRES}");
    let (_, trace) = traced("texq", &table, &easy_teacher(), 3);
    assert_eq!(trace.len(), 4 + 60);
    assert!(trace[..4].iter().all(|entry| entry.contains_key("centres_ce_loss")));
    let (first, last) = (&trace[4], &trace[63]);
    for name in ["loss", "ce_loss", "centre_loss", "texture_loss"] {
        assert!(last[name] < 0.5 * first[name], "{name}: {} to {}", first[name], last[name]);
    }
    assert!(last["bn_loss"] < 0.1, "{}", last["bn_loss"]);
}

#[test]
fn the_probability_of_the_asked_class_rises() {
    let teacher = easy_teacher();
    let make = |iterations: usize| {
        let own = format!("count = 6\niterations = {iterations}\nlabels = \"balanced\"");
        synthesize("texq", &format!("{own}\ncentres = {{ iterations = 40 }}"), &teacher, 3).unwrap()
    };
    let (before, after) = (probability_of_labels(&teacher, &make(0)), probability_of_labels(&teacher, &make(60)));
    assert!(after > before + 0.2, "{before} to {after}");
}

#[test]
fn the_seed_alone_decides_and_every_term_acts() {
    let network = small_network(1);
    let make = |own: &str, seed: u64| {
        synthesize("texq", &format!("count = 5\nbatch = 3\niterations = 4\n{own}\n{CENTRES}"), &network, seed).unwrap()
    };
    let images = make("", 3);
    assert_eq!(images, make("", 3));
    assert_ne!(images, make("", 4));
    assert!(images.pixels.iter().all(|value| value.is_finite()));
    for key in ["bn_weight", "ce_weight", "centre_weight", "texture_weight"] {
        let without = make(&format!("{key} = 0.0"), 3);
        assert_eq!(images.labels, without.labels);
        assert_ne!(images.pixels, without.pixels, "{key}");
    }
}

#[test]
fn faults_name_their_key() {
    assert!(fault("texq", "count = 0").starts_with("`texq.count`: 0 is not valid"));
    assert!(fault("texq", "labels = \"none\"").starts_with("`texq.labels`"));
    assert!(fault("texq", "texture_weight = -1.0").starts_with("`texq.texture_weight`: -1 is not valid"));
    assert!(fault("texq", "centres = { early_share = 2.0 }").starts_with("`texq.centres.early_share`: 2 is not valid"));
    assert!(
        fault("texq", "centres = { schedule = { kind = \"plateau\", factor = 2.0 } }")
            .contains("centres.schedule.factor")
    );
}
