use blindfold_zoo::stream;

use super::*;
use crate::sample::{assert_near, ends, fault, host, probability_of_labels, small_network, synthesize, traced};

const SMALL: &str = "count = 12\nbatch = 12\niterations = 60\nlabels = \"balanced\"\noptimizer = { lr = 0.05 }";

#[test]
fn a_rectangle_of_another_image_is_pasted_and_counted() {
    let config = MixMixConfig::default();
    let loss = loss_of(config.loss.clone(), &crate::statistics_losses().unwrap()).unwrap();
    let mut recipe = Mixing { config: &config, loss: loss.as_ref(), shift: 0, own: Vec::new() };
    let values = (0..5).flat_map(|image| vec![image as f32; 3 * 64]).collect::<Vec<_>>();
    let canvas = Tensor::<4>::from_data(TensorData::new(values, [5, 3, 8, 8]), &Device::flex());
    let shown = host(&recipe.transform(canvas, &mut stream(3, "transform"), 0));
    assert!((1..5).contains(&recipe.shift));
    for (image, pixels) in shown.chunks(192).enumerate() {
        let other = (image + 5 - recipe.shift) % 5;
        assert!(pixels.iter().all(|&value| value == image as f64 || value == other as f64));
        let own = pixels.iter().filter(|&&value| value == image as f64).count();
        assert!((own as f64 / 192.0 - f64::from(recipe.own[image])).abs() < 1e-6);
        // Sides of 2 to 6 of 8 pixels.
        assert!((28.0 / 64.0 - 1e-6..60.0 / 64.0 + 1e-6).contains(&f64::from(recipe.own[image])));
    }
}

#[test]
fn targets_are_mixed_by_area() {
    let targets = host(&mixed(&[2, 0, 1], 1, &[0.75, 1.0, 0.5], 3, &Device::flex()));
    // Image 0 has a piece of image 2, image 2 one of image 1.
    assert_near("targets", &targets, &[0.0, 0.25, 0.75, 1.0, 0.0, 0.0, 0.5, 0.5, 0.0], 1e-6);
    let same = host(&mixed(&[1, 1], 1, &[0.25, 0.5], 3, &Device::flex()));
    assert_near("one class", &same, &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0], 1e-6);
    let alone = host(&mixed(&[1], 0, &[1.0], 2, &Device::flex()));
    assert_eq!(alone, [0.0, 1.0]);
}

#[test]
fn the_loss_falls() {
    let (images, trace) = traced("mixmix", SMALL, &small_network(1), 3);
    let (first, last) = ends(&trace, "loss", 5);
    assert!(last < 0.9 * first, "{first} to {last}");
    assert_eq!(images.labels, Some(LabelRule::Balanced.draw(12, 6, 3)));
}

#[test]
fn the_teacher_grows_sure_of_the_asked_classes() {
    let network = small_network(1);
    let made = |iterations: usize| {
        let table =
            format!("{SMALL}\nbn_weight = 0.001\nlargest_side = 0.5").replace("= 60", &format!("= {iterations}"));
        probability_of_labels(&network, &synthesize("mixmix", &table, &network, 3).unwrap())
    };
    let (before, after) = (made(0), made(60));
    assert!(after > before + 0.02, "{before} to {after}");
}

#[test]
fn the_seed_alone_decides_also_with_an_image_alone_in_its_batch() {
    let network = small_network(1);
    let table = "count = 4\nbatch = 3\niterations = 4";
    let images = synthesize("mixmix", table, &network, 3).unwrap();
    assert_eq!(synthesize("mixmix", table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("mixmix", table, &network, 4).unwrap(), images);
}

#[test]
fn faults_name_their_key() {
    assert!(fault("mixmix", "labels = \"none\"").starts_with("`mixmix.labels`: \"none\" is not valid"));
    assert!(fault("mixmix", "smallest_side = 0.8").starts_with("`mixmix.smallest_side`: 0.8 is not valid"));
    assert!(fault("mixmix", "largest_side = 1.5").starts_with("`mixmix.largest_side`: 1.5 is not valid"));
    assert!(fault("mixmix", "mix_probability = -0.5").starts_with("`mixmix.mix_probability`: -0.5 is not valid"));
}
