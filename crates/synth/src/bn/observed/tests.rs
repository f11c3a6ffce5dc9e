use blindfold_zoo::NetworkBuilder;

use super::*;
use crate::sample::{batch_norm, images, small_network};

const PER_IMAGE: Sampling = Sampling { per_image: true, unbiased: true };
const BATCH: Sampling = Sampling { per_image: false, unbiased: false };

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * (1.0 + a.abs()), "{a} against {b}");
    }
}

#[test]
fn what_reads_a_convolution_alone_is_folded() {
    let observed = ObservedNetwork::new(&small_network(1), true).unwrap();
    let folded: Vec<(&str, bool)> = observed.layers().iter().map(|layer| (layer.name.as_str(), layer.folded)).collect();
    assert_eq!(folded, [("bn1", true), ("bn2", true), ("bn3", true), ("bn4", false)]);
    assert_eq!(observed.target().layers, [0..4, 4..9, 9..14, 14..19]);
}

#[test]
fn folded_statistics_and_logits_are_the_unfolded_ones() {
    for seed in 1..4 {
        let network = small_network(seed);
        let [folded, plain] = [true, false].map(|fold| ObservedNetwork::new(&network, fold).unwrap());
        for sampling in [PER_IMAGE, BATCH, Sampling { per_image: false, unbiased: true }] {
            let (logits, a) = folded.run(images(5, seed), sampling);
            let (expected, b) = plain.run(images(5, seed), sampling);
            assert_close(&host(logits), &host(expected), 1e-4);
            assert_close(&host(a.mean), &host(b.mean), 1e-4);
            assert_close(&host(a.var), &host(b.var), 1e-4);
        }
    }
}

/// A network whose one convolution copies its input, so that its batch norm reads the images themselves.
fn copying_network(bn: BatchNorm2d) -> Network {
    let device = Device::flex();
    let mut builder = NetworkBuilder::new(&device, 1);
    let mut identity = vec![0.0f32; 9];
    (0..3).for_each(|channel| identity[channel * 4] = 1.0);
    let weight = TensorData::new(identity, [3, 3, 1, 1]);
    let conv = blindfold_zoo::Conv2d::new("conv", weight, None, [1; 2], [0; 2], 1, &device);
    let conv = builder.push("conv", &[0], Layer::Conv2d(conv));
    let bn = builder.push("bn", &[conv], Layer::BatchNorm2d(bn));
    builder.op("flatten", &[bn], blindfold_zoo::Op::Flatten);
    builder.finish("copy", [3, 8, 8], 192)
}

#[test]
fn the_statistics_are_those_of_the_batch_norms_input() {
    let input = images(2, 4);
    let values = host(input.clone());
    for fold in [true, false] {
        let observed = ObservedNetwork::new(&copying_network(batch_norm("bn", 3, 2)), fold).unwrap();
        assert_eq!(observed.layers()[0].folded, fold);
        let (_, each) = observed.run(input.clone(), PER_IMAGE);
        let (mean, var) = (host(each.mean), host(each.var));
        for (plane, pixels) in values.chunks(64).enumerate() {
            let expected = pixels.iter().sum::<f64>() / 64.0;
            let squares = pixels.iter().map(|value| (value - expected).powi(2)).sum::<f64>();
            assert!((mean[plane] - expected).abs() < 1e-5 && (var[plane] - squares / 63.0).abs() < 1e-5);
        }
        let (_, batch) = observed.run(input.clone(), BATCH);
        let (mean, var) = (host(batch.mean), host(batch.var));
        for channel in 0..3 {
            let pixels: Vec<f64> = (0..2).flat_map(|n| values[(n * 3 + channel) * 64..][..64].to_vec()).collect();
            let expected = pixels.iter().sum::<f64>() / 128.0;
            let squares = pixels.iter().map(|value| (value - expected).powi(2)).sum::<f64>();
            assert!((mean[channel] - expected).abs() < 1e-5 && (var[channel] - squares / 128.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_vanishing_scale_keeps_the_whole_layer_unfolded() {
    for (gamma, beta, folded) in [
        ([1.0, 0.5, -0.7], [0.0; 3], true),
        ([1.0, 0.0, -0.7], [0.0; 3], false),
        ([1.0, 0.9e-3, -0.7], [0.0; 3], false),
        ([1.0, 0.5, -0.7], [0.0, 600.0, 0.0], false),
        ([0.0; 3], [0.0; 3], false),
    ] {
        let [gamma, beta] = [gamma, beta].map(|values: [f32; 3]| TensorData::from(values));
        let [mean, var] = [[0.0f32; 3], [1.0f32; 3]].map(TensorData::from);
        let bn = BatchNorm2d::new("bn", [gamma, beta, mean, var], 1e-5, &Device::flex());
        let observed = ObservedNetwork::new(&copying_network(bn), true).unwrap();
        assert_eq!(observed.layers()[0].folded, folded);
    }
}

#[test]
fn a_tap_that_has_not_seen_the_whole_network_has_no_statistics() {
    let observed = ObservedNetwork::new(&small_network(1), true).unwrap();
    assert!(StatisticsTap::new(&observed, BATCH).statistics().is_none());
}
