use blindfold_zoo::Network;

use super::*;
use crate::bn::BUILTIN_LOSSES;
use crate::sample::{images, loss, small_network, smooth_network, values};
use burn::tensor::Device;

fn with<T>(network: &Network, fold: bool, name: &str, input_weight: f64, f: impl FnOnce(&Objective<'_>) -> T) -> T {
    let observed = ObservedNetwork::new(network, fold).unwrap();
    let loss = loss(name, "");
    f(&Objective { observed: &observed, loss: loss.as_ref(), bn_weight: 0.7, input_weight })
}

fn host(tensor: &Tensor<4>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[test]
fn folding_changes_neither_the_loss_nor_the_gradient() {
    let network = small_network(2);
    for name in BUILTIN_LOSSES.iter().map(|entry| entry.name) {
        let [a, b] =
            [true, false].map(|fold| with(&network, fold, name, 0.3, |objective| objective.evaluate(&images(6, 3), 4)));
        assert!((a.loss - b.loss).abs() < 1e-4 * b.loss, "{name}: {} against {}", a.loss, b.loss);
        let (a, b) = (host(&a.gradient), host(&b.gradient));
        let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        assert!(length(&difference) < 1e-4 * length(&b), "{name}: {}", length(&difference) / length(&b));
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let step = 1e-2;
    for fold in [true, false] {
        for name in BUILTIN_LOSSES.iter().map(|entry| entry.name) {
            with(&smooth_network(), fold, name, 0.3, |objective| {
                let at = images(4, 3);
                let direction = Tensor::<4>::from_data(values(&[4, 3, 8, 8], (-1.0, 1.0), 11), &Device::flex());
                let evaluation = objective.evaluate(&at, 2);
                let slope: f64 =
                    host(&evaluation.gradient).iter().zip(host(&direction)).map(|(gradient, d)| gradient * d).sum();
                // The gradient's own direction as well, in which the slope is largest.
                let own = evaluation.gradient.clone() / length(&host(&evaluation.gradient)) * 4.0;
                let own_slope: f64 = 4.0 * length(&host(&evaluation.gradient));
                for (direction, slope) in [(direction, slope), (own, own_slope)] {
                    let ahead = objective.evaluate(&(at.clone() + direction.clone() * step), 2).loss;
                    let behind = objective.evaluate(&(at.clone() - direction * step), 2).loss;
                    let measured = (ahead - behind) / (2.0 * step);
                    let scale = own_slope.max(slope.abs());
                    assert!(
                        (measured - slope).abs() < 5e-3 * scale,
                        "{name}: {measured} against {slope} of {own_slope}"
                    );
                }
            });
        }
    }
}

#[test]
fn shards_give_the_gradient_of_the_whole_batch_bit_by_bit() {
    let network = small_network(2);
    with(&network, true, "mean-std-per-image", 1.0, |objective| {
        let whole = objective.evaluate(&images(8, 3), 8);
        for shard in [1, 3, 4] {
            let parts = objective.evaluate(&images(8, 3), shard);
            assert!((parts.loss - whole.loss).abs() < 1e-5 * whole.loss);
            assert_eq!(host(&parts.gradient), host(&whole.gradient));
        }
    });
}

#[test]
fn statistics_of_the_batch_are_never_split() {
    let network = small_network(2);
    for name in ["mean-std-per-channel", "mean-var-mse", "norm"] {
        with(&network, true, name, 1.0, |objective| {
            let (a, b) = (objective.evaluate(&images(8, 3), 2), objective.evaluate(&images(8, 3), 8));
            assert_eq!((a.loss, host(&a.gradient)), (b.loss, host(&b.gradient)));
        });
    }
}

#[test]
fn every_loss_is_zero_where_the_statistics_coincide() {
    for entry in BUILTIN_LOSSES {
        let network = smooth_network();
        let loss = loss(entry.name, "");
        let sampling = loss.sampling();
        let observed = ObservedNetwork::new(&network, true).unwrap();
        let one = images(1, 3);
        let batch = if sampling.per_image { Tensor::cat(vec![one.clone(), one], 0) } else { images(2, 3) };
        let (_, mut statistics) = observed.run(batch, sampling);
        assert!(loss.evaluate(&statistics, 2).into_scalar::<f64>() > 1e-2, "{}", entry.name);
        statistics.target.mean = statistics.mean.clone().narrow(0, 0, 1);
        statistics.target.var = statistics.var.clone().narrow(0, 0, 1);
        let zero: f64 = loss.evaluate(&statistics, 2).into_scalar();
        assert!(zero < 1e-8, "{}: {zero}", entry.name);
    }
}

#[test]
fn standardised_images_have_no_input_term() {
    let one = images(2, 3);
    let [_, channels, height, width] = one.dims();
    let flat = one.reshape([2, channels, height * width]);
    let centred = flat.clone() - flat.mean_dim(2);
    let unit = (centred.clone() / centred.square().mean_dim(2).sqrt()).reshape([2, channels, height, width]);
    for entry in BUILTIN_LOSSES {
        let loss = loss(entry.name, "");
        let statistics = Statistics::of_images(unit.clone(), loss.input_sampling());
        let value: f64 = loss.evaluate_input(&statistics, 2).into_scalar();
        // The unbiased deviation of these 64 values is sqrt(64 / 63), that of 128 is closer to 1.
        assert!(value < 3.0 * ((64.0f64 / 63.0).sqrt() - 1.0).powi(2) + 1e-5, "{}: {value}", entry.name);
    }
}
