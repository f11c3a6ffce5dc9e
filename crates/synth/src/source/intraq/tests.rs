use super::*;
use crate::optimised::class_centres::reference::{check, labels, reference, tensor};
use crate::optimised::class_centres::tests::easy_teacher;
use crate::sample::{fault, numbers, probability_of_labels, small_network, synthesize};

#[test]
fn the_soft_inception_loss_is_that_of_pytorch() {
    let reference = reference();
    let case = &reference["soft_inception"];
    let targets: Vec<f32> = numbers(&case["targets"]).into_iter().map(|target| target as f32).collect();
    check("soft inception", case, tensor::<2>(&reference["logits"], [4, 5]), |logits| {
        soft_inception(logits, &labels(&reference), &targets)
    });
}

#[test]
fn half_of_the_targets_are_1_and_the_others_within_their_interval() {
    let targets = soft_targets(2000, 0.6, 0.5, &mut stream(3, "test targets"));
    assert!(targets.iter().all(|target| (0.6..=1.0).contains(target)));
    let hard = targets.iter().filter(|&&target| target == 1.0).count();
    assert!((hard as f64 - 1000.0).abs() < 5.0 * 500.0f64.sqrt(), "{hard}");
    let soft: f64 = targets.iter().filter(|&&target| target < 1.0).map(|&target| f64::from(target)).sum();
    let mean = soft / (2000 - hard) as f64;
    assert!((mean - 0.8).abs() < 0.02, "{mean}");
    assert_eq!(soft_targets(3, 0.6, 0.0, &mut stream(3, "test targets")), [1.0; 3]);
}

#[test]
fn the_probability_of_the_asked_class_rises() {
    let teacher = easy_teacher();
    let make = |iterations: usize| {
        let table = format!("count = 6\niterations = {iterations}\nlabels = \"balanced\"");
        synthesize("intraq", &table, &teacher, 3).unwrap()
    };
    let (before, after) = (probability_of_labels(&teacher, &make(0)), probability_of_labels(&teacher, &make(60)));
    assert!(after > before + 0.2, "{before} to {after}");
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 6\nbatch = 3\niterations = 5";
    let images = synthesize("intraq", table, &network, 3).unwrap();
    assert_eq!(images, synthesize("intraq", table, &network, 3).unwrap());
    assert_ne!(images, synthesize("intraq", table, &network, 4).unwrap());
    assert_eq!(images.labels.unwrap().len(), 6);
    assert!(images.pixels.iter().all(|value| value.is_finite()));
}

#[test]
fn margins_act_from_the_second_batch_on() {
    let make = |weight: f64| {
        let table = format!(
            "count = 8\nbatch = 4\niterations = 4\nlabels = \"balanced\"\nmargin_weight = {weight}\nlambda_l = 0.5\n\
             lambda_u = 0.5"
        );
        synthesize("intraq", &table, &easy_teacher(), 3).unwrap()
    };
    let (without, with) = (make(0.0), make(1.0));
    let first = 4 * 3 * 64;
    assert_eq!(without.pixels[..first], with.pixels[..first]);
    assert_ne!(without.pixels[first..], with.pixels[first..]);
}

#[test]
fn faults_name_their_key() {
    assert!(fault("intraq", "count = 0").starts_with("`intraq.count`: 0 is not valid"));
    assert!(fault("intraq", "labels = \"none\"").starts_with("`intraq.labels`"));
    assert!(fault("intraq", "target = 1.5").starts_with("`intraq.target`: 1.5 is not valid"));
    assert!(fault("intraq", "lambda_u = 3.0").starts_with("`intraq.lambda_u`: 3 is not valid"));
    assert!(fault("intraq", "lambda_l = 0.9").starts_with("`intraq.lambda_l`: 0.9 with lambda_u = 0.8 is not valid"));
    assert!(fault("intraq", "min_scale = 0.0").starts_with("`intraq.min_scale`: 0 is not valid"));
    assert!(fault("intraq", "margin_weight = -1.0").starts_with("`intraq.margin_weight`: -1 is not valid"));
    assert!(fault("intraq", "loss = { kind = \"nrom\" }").contains("did you mean `norm`?"));
}
