use burn::tensor::Device;

use super::*;
use crate::bn::reference::{activations, reference, statistics as of_activations};
use crate::optimised::class_centres::reference::check;
use crate::sample::{
    assert_slope, close, ends, fault, normalization, referenced, small_network, statistics, synthesize, traced,
};

#[test]
fn the_loss_falls_for_every_granularity_and_the_images_are_valid() {
    for granularity in ["image", "batch", "all"] {
        let table = format!(
            "count = 8\nbatch = 8\niterations = 60\ngranularity = \"{granularity}\"\noptimizer = {{ lr = 4.0 }}"
        );
        let (images, trace) = traced("mct", &table, &small_network(1), 3);
        let (first, last) = ends(&trace, "bn_loss", 5);
        assert!(last < 0.9 * first, "{granularity}: {first} to {last}");
        assert_eq!((images.shape, images.labels), ([3, 8, 8], None));
        let bounds = normalization();
        for (index, value) in images.pixels.iter().enumerate() {
            let pixel = value * bounds.std[index / 64 % 3] + bounds.mean[index / 64 % 3];
            assert!((-1e-5..1.0 + 1e-5).contains(&pixel), "{pixel}");
        }
    }
}

#[test]
fn the_range_of_the_logits_grows_where_it_is_all_that_counts() {
    for output in ["negative-range", "inverse-range"] {
        let table = format!(
            "count = 4\nbatch = 4\niterations = 40\nbn_weight = 0.0\noutput_weight = 1.0\noutput = \"{output}\"\n\
             optimizer = {{ lr = 4.0 }}"
        );
        let (first, last) = ends(&traced("mct", &table, &small_network(1), 3).1, "output_loss", 5);
        assert!(last < first, "{output}: {first} to {last}");
    }
}

#[test]
fn the_start_is_the_smoothed_centre_of_noise_in_pixels() {
    let table = "count = 40\nbatch = 40\niterations = 0\nextra_pixels = 6\nclip = false\nsmoothing_sigma = 1e-3";
    let images = synthesize("mct", table, &small_network(1), 3).unwrap();
    let count = images.pixels.len() as f64;
    let mean = images.pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let var = images.pixels.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count;
    assert!(mean.abs() < 5.0 / count.sqrt() && (var - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{mean} {var}");
    let smoothed = synthesize("mct", &table.replace("1e-3", "1.25"), &small_network(1), 3).unwrap();
    let rough = smoothed.pixels.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count;
    assert!(rough < 0.3 * var, "{rough}");
}

#[test]
fn the_distance_is_its_formula() {
    let statistics = statistics(&[[1.0, 2.0, -1.0], [0.0, 1.0, 0.5]], &[[1.0, 4.0, 0.25], [2.25, 1.0, 1.0]]);
    let first = [1.0 + 0.0, (4.0 + 1.0 + 1.0 + 0.25) / 2.0];
    let second = [0.25, (1.0 + 0.0 + 0.25 + 0.0) / 2.0];
    let expected = |weight: f64| (weight * (first[0] + second[0]) + first[1] + second[1]) / 2.0 / 2.0;
    close(distance(&statistics, 1.0, 1e-9), expected(1.0), 1e-5);
    close(distance(&statistics, 10.0, 1e-9), expected(10.0), 1e-5);
    assert_slope(&statistics.mean.clone(), 1e-3, |mean| {
        distance(&Statistics { mean, ..statistics.clone() }, 3.0, 1e-6)
    });
    assert_slope(&statistics.var.clone(), 1e-3, |var| distance(&Statistics { var, ..statistics.clone() }, 3.0, 1e-6));
}

#[test]
fn the_distance_is_that_of_pytorch() {
    let reference = reference();
    for case in reference["mct"].as_array().unwrap() {
        let (weight, per_image) = (case["first_weight"].as_f64().unwrap(), case["per_image"].as_bool().unwrap());
        check(&format!("mct {weight}, {per_image}"), case, activations(&reference), |x| {
            let sampling = Sampling { per_image, unbiased: false };
            distance(&of_activations(&reference, x, sampling), weight, 1e-6)
        });
    }
}

#[test]
fn the_output_losses_are_their_formulas() {
    let logits = Tensor::<2>::from_floats([[1.0, -3.0, 0.5], [0.0, 2.0, 2.5]], &Device::flex());
    close(OutputLoss::NegativeRange.of(logits.clone()), -(4.0 + 2.5) / 2.0, 1e-6);
    close(OutputLoss::InverseRange.of(logits), (0.25 + 0.4) / 2.0, 1e-6);
    for output in [OutputLoss::NegativeRange, OutputLoss::InverseRange] {
        assert_slope(&referenced("logits", [4, 5]), 1e-3, |z| output.of(z));
    }
    let flat = Tensor::<2>::zeros([1, 3], &Device::flex());
    assert!(OutputLoss::InverseRange.of(flat).into_scalar::<f32>().is_finite());
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 5\nbatch = 3\niterations = 4\ngranularity = \"batch\"";
    let images = synthesize("mct", table, &network, 3).unwrap();
    assert_eq!(synthesize("mct", table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("mct", table, &network, 4).unwrap(), images);
}

#[test]
fn faults_name_their_key() {
    let error = fault("mct", "count = 128");
    assert!(error.starts_with("`mct.batch`: 64 is not valid: write at least 128"), "{error}");
    assert!(fault("mct", "smoothing_kernel = 2").starts_with("`mct.smoothing_kernel`: 2 is not valid"));
    assert!(fault("mct", "smoothing_sigma = 0.0").starts_with("`mct.smoothing_sigma`: 0 is not valid"));
    assert!(fault("mct", "output = \"wide\"").contains("wide"));
}
