use blindfold_zoo::Network;
use burn::tensor::{Tensor, TensorData};

use super::{KsErrors, KsReport};
use crate::distribution::{DensityFamily, KolmogorovSmirnov, draw};
use crate::families::Families;
use crate::format::{Ks, KsConfig};
use crate::granularity::Granularity;
use crate::network::QuantizedNetwork;
use crate::plan::{Plan, QuantConfig};
use crate::precision::Precision;
use crate::testing::small;

/// [`small`] whose convolutions have Laplace weights and whose classifier has Gaussian ones.
fn network() -> Network {
    small(1).map_layers(|name, layer| {
        let Some(weight) = layer.weight() else { return layer };
        let (shape, device) = (weight.dims(), weight.device());
        let family = if name == "linear" { DensityFamily::Gaussian } else { DensityFamily::Laplace };
        let values = draw(family, shape.iter().product(), 7 + name.len() as u64);
        layer.with_weight(Tensor::from_data(TensorData::new(values, shape), &device))
    })
}

fn report(bits: u8, granularity: Granularity) -> (QuantizedNetwork, KsReport) {
    let mut config = QuantConfig { weight_bits: Precision::Int(bits), ..QuantConfig::default() };
    config.weight.granularity = Some(granularity);
    let network = network();
    let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
    let quantized = QuantizedNetwork::with_weights(network, plan).unwrap();
    let report = KsReport::of(&quantized, &Ks::new(KsConfig::default())).unwrap();
    (quantized, report)
}

#[test]
fn a_row_holds_what_was_computed_apart() {
    for granularity in [Granularity::PerTensor, Granularity::PerChannel, Granularity::PerGroup(72)] {
        let (quantized, report) = report(3, granularity);
        let weights = quantized.weight_tensors().unwrap();
        assert_eq!(weights.len(), report.rows.len());
        for (weight, row) in weights.iter().zip(&report.rows) {
            assert_eq!((&weight.name, 3, granularity), (&row.layer, row.bits, row.granularity));
            assert_eq!(row.groups, weight.codec.groups());
            assert_eq!(row.test, KolmogorovSmirnov::of(&weight.values));
            assert_eq!(row.levels.len(), 8);
            // The plan's own codec is min-max: the protocol `gdfq`.
            let quantized = weight.quantized().unwrap();
            let squares = weight.values.iter().zip(&quantized).map(|(x, y)| f64::from(x - y).powi(2));
            let error = squares.sum::<f64>() / quantized.len() as f64;
            assert!((row.errors.min_max / error - 1.0).abs() < 1e-4, "{}: {} {error}", row.layer, row.errors.min_max);
        }
    }
}

#[test]
fn errors_are_in_the_order_that_they_must_be_in() {
    for bits in [2, 4] {
        for granularity in [Granularity::PerTensor, Granularity::PerChannel] {
            for row in report(bits, granularity).1.rows {
                let KsErrors { ks, min_max, mse_optimal, aciq, k_means } = row.errors;
                assert!(mse_optimal <= min_max * (1.0 + 1e-5), "{}: {:?}", row.layer, row.errors);
                assert!(aciq <= min_max * (1.0 + 1e-5), "{}: {:?}", row.layer, row.errors);
                assert!(k_means <= ks * (1.0 + 1e-3), "{}: {:?}", row.layer, row.errors);
                assert!(k_means <= mse_optimal * (1.0 + 1e-3), "{}: {:?}", row.layer, row.errors);
            }
        }
    }
}

#[test]
fn large_layers_show_the_family_that_they_were_drawn_from() {
    let (_, report) = report(4, Granularity::PerTensor);
    for row in report.rows.iter().filter(|row| row.layer.starts_with("layer2")) {
        assert_eq!(row.family(), Some(DensityFamily::Laplace), "{}", row.layer);
        assert!(row.errors.ks < row.errors.min_max, "{}", row.layer);
    }
}

#[test]
fn the_tables_have_a_line_a_layer() {
    let (_, report) = report(4, Granularity::PerChannel);
    let csv = report.to_csv();
    let cells: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(cells, vec![15; report.rows.len() + 1]);
    assert!(csv.lines().nth(1).unwrap().starts_with("conv1,4,per-channel,8,"), "{csv}");
    let markdown = report.to_markdown();
    let lines = markdown.lines().filter(|line| line.starts_with('|'));
    assert!(lines.clone().all(|line| line.matches('|').count() == 14), "{markdown}");
    assert_eq!(lines.count(), report.rows.len() + 2);
}

#[test]
fn constant_layers_and_other_widths_are_shown_as_such() {
    let ones = network().map_layers(|_, layer| match layer.weight() {
        Some(weight) => layer.with_weight(weight.ones_like()),
        None => layer,
    });
    let config = QuantConfig { weight_bits: Precision::Int(4), ..QuantConfig::default() };
    let plan = Plan::new(&config, &ones, &Families::builtin()).unwrap();
    let quantized = QuantizedNetwork::with_weights(ones, plan).unwrap();
    let report = KsReport::of(&quantized, &Ks::new(KsConfig::default())).unwrap();
    for row in &report.rows {
        assert_eq!((row.family(), row.gaussian_groups, row.levels.as_slice()), (None, 0, [1.0].as_slice()));
        assert_eq!((row.errors.ks, row.errors.k_means), (0.0, 0.0));
    }
    assert!(report.to_markdown().contains("| conv1 | 4 | - | - | - | 0/8 | - | 1 |"), "{}", report.to_markdown());
}
