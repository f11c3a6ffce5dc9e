use blindfold_zoo::stream;
use burn::tensor::Device;

use super::*;
use crate::sample::{assert_near, ends, fault, host, images, probability_of_labels, small_network, synthesize, traced};

const SMALL: &str = "count = 12\nbatch = 12\niterations = 60\nlabels = \"balanced\"\noptimizer = { lr = 0.05 }";

fn shown(table: &str, canvas: Tensor<4>) -> Tensor<4> {
    let config: KnowledgeWithinConfig = parse(table.parse().unwrap()).unwrap();
    let loss = loss_of(config.loss.clone(), &crate::statistics_losses().unwrap()).unwrap();
    let mut recipe = Inception { config: &config, loss: loss.as_ref() };
    recipe.transform(canvas, &mut stream(3, "transform"), 0)
}

#[test]
fn the_loss_falls() {
    let (images, trace) = traced("knowledge-within", SMALL, &small_network(1), 3);
    let (first, last) = ends(&trace, "loss", 5);
    assert!(last < 0.9 * first, "{first} to {last}");
    assert_eq!(images.labels, Some(LabelRule::Balanced.draw(12, 6, 3)));
}

#[test]
fn the_prior_alone_smooths() {
    let table = "count = 4\nbatch = 4\niterations = 40\nlabels = \"none\"\nce_weight = 0.0\nbn_weight = 0.0\n\
                 optimizer = { lr = 0.05 }";
    let (rough, smooth) = ends(&traced("knowledge-within", table, &small_network(1), 3).1, "smoothness", 1);
    assert!(smooth < 0.7 * rough, "{rough} to {smooth}");
}

#[test]
fn the_teacher_grows_sure_of_the_asked_classes() {
    let network = small_network(1);
    let made = |iterations: usize| {
        let table =
            format!("{SMALL}\nbn_weight = 0.001\nsmoothness_weight = 0.0\nblur_probability = 0.0\ncutout = 0.0")
                .replace("= 60", &format!("= {iterations}"));
        probability_of_labels(&network, &synthesize("knowledge-within", &table, &network, 3).unwrap())
    };
    let (before, after) = (made(0), made(60));
    assert!(after > before + 0.02, "{before} to {after}");
}

#[test]
fn a_square_of_each_image_is_cut_out() {
    let ones = Tensor::<4>::ones([6, 3, 8, 8], &Device::flex());
    let values = host(&shown("cutout = 0.375\nblur_probability = 0.0", ones));
    let mut places = Vec::new();
    for image in values.chunks(192) {
        let planes: Vec<&[f64]> = image.chunks(64).collect();
        assert!(planes.iter().all(|plane| *plane == planes[0]), "the same square of each channel");
        let zeros: Vec<usize> = (0..64).filter(|&place| planes[0][place] == 0.0).collect();
        let corner = zeros[0];
        let expected: Vec<usize> = (0..9).map(|place| corner + place / 3 * 8 + place % 3).collect();
        assert_eq!(zeros, expected);
        places.push(corner);
    }
    places.dedup();
    assert!(places.len() > 1, "each image has a place of its own");
}

#[test]
fn a_blurred_batch_is_blurred() {
    let canvas = images(2, 5);
    let expected = host(&gaussian_blur(canvas.clone(), 3, 1.0));
    assert_near("blur", &host(&shown("cutout = 0.0\nblur_probability = 1.0", canvas.clone())), &expected, 1e-6);
    assert_eq!(host(&shown("cutout = 0.0\nblur_probability = 0.0", canvas.clone())), host(&canvas));
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 5\nbatch = 3\niterations = 4";
    let images = synthesize("knowledge-within", table, &network, 3).unwrap();
    assert_eq!(synthesize("knowledge-within", table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("knowledge-within", table, &network, 4).unwrap(), images);
}

#[test]
fn faults_name_their_key() {
    assert!(fault("knowledge-within", "blur_kernel = 4").starts_with("`knowledge-within.blur_kernel`: 4 is not valid"));
    assert!(fault("knowledge-within", "blur_sigma = 0.0").starts_with("`knowledge-within.blur_sigma`: 0 is not"));
    assert!(fault("knowledge-within", "cutout = 1.0").starts_with("`knowledge-within.cutout`: 1 is not valid"));
    assert!(fault("knowledge-within", "labels = \"none\"").starts_with("`knowledge-within.labels`"));
    assert!(fault("knowledge-within", "blur_probability = 1.5").starts_with("`knowledge-within.blur_probability`"));
}
