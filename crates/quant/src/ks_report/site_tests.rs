use blindfold_zoo::{FeatureTap, Layer, Network, Taps};
use burn::tensor::{Tensor, TensorData};

use super::best_range::best_range;
use super::{KsErrors, KsReport};
use crate::analysis::Comparison;
use crate::codec::Codec;
use crate::distribution::{DensityFamily, KolmogorovSmirnov, draw};
use crate::families::Families;
use crate::format::{Ks, KsConfig, NumberFormat};
use crate::granularity::Granularity;
use crate::interval::Range;
use crate::network::QuantizedNetwork;
use crate::plan::{Dynamic, FormatConfig, LayerOverride, Plan, PluginChoice, QuantConfig};
use crate::precision::Precision;
use crate::range::{Aciq, AciqConfig, AciqFamily, RangeEstimator};
use crate::samples::{Samples, host_values};
use crate::testing::{images, plain, small};

/// [`plain`] whose convolution hands the channels of the images on, the first of them twice.
fn passing() -> Network {
    let weights: Vec<f32> = (0..108).map(|at| f32::from(u8::from(at % 9 == 4 && at / 9 % 3 == at / 27 % 3))).collect();
    plain(1).map_layers(|_, layer| match layer {
        Layer::Conv2d(mut conv) => {
            conv.bias = conv.bias.map(|bias| bias.map(|bias| bias * 0.0));
            let device = conv.weight.val().device();
            let weight = Tensor::from_data(TensorData::new(weights.clone(), [4, 3, 3, 3]), &device);
            Layer::Conv2d(conv).with_weight(weight)
        }
        other => other,
    })
}

fn calibrated(config: &QuantConfig, network: &Network, images: &Tensor<4>) -> QuantizedNetwork {
    let plan = Plan::new(config, network, &Families::builtin()).unwrap();
    QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(images.clone())).unwrap()
}

fn report(student: &QuantizedNetwork, teacher: &Network, images: &Tensor<4>) -> KsReport {
    let comparison = Comparison::new(student, teacher, images.clone(), images.dims()[0]).unwrap();
    KsReport::of_activations(&comparison, &Ks::new(KsConfig::default())).unwrap()
}

/// What reaches each site, in the network's order.
fn seen(student: &QuantizedNetwork, images: &Tensor<4>) -> Vec<(String, Tensor<4>)> {
    let names: Vec<String> = student.plan.activations().map(|target| target.name.clone()).collect();
    let mut features = FeatureTap::new(names.clone());
    student.network.run(images.clone(), &mut Taps(vec![&mut features, &mut student.tap()]));
    names.into_iter().map(|name| (name.clone(), features.features[&name].clone())).collect()
}

fn mean_square(values: &[f32], codec: &Codec, shape: [usize; 4]) -> f64 {
    let quantized = codec.fake_quantize_values(values, shape).unwrap();
    let squares = values.iter().zip(&quantized).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2));
    squares.sum::<f64>() / values.len() as f64
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

#[test]
fn sites_with_the_format_have_the_codebook_of_the_family_that_they_were_drawn_from() {
    let network = passing();
    for family in DensityFamily::ALL {
        let values = draw(family, 16 * 3 * 12 * 12, 5);
        let images = Tensor::<4>::from_data(TensorData::new(values, [16, 3, 12, 12]), &network.device());
        for bits in [2, 4] {
            let signed = LayerOverride { activation_bits: Some(Precision::Int(bits)), ..LayerOverride::new("first") };
            let mut config = QuantConfig {
                weight_bits: Precision::Float,
                activation_bits: Precision::Int(bits),
                layer: vec![signed],
                ..QuantConfig::default()
            };
            config.activation.format = Some(PluginChoice::named("ks"));
            let student = calibrated(&config, &network, &images);
            let sites = seen(&student, &images);
            assert_eq!(sites.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["first", "relu"]);
            for (name, output) in &sites {
                let Codec::Codebook(book) = &student.activations[name] else { panic!("{name} has no table of levels") };
                let expected = Ks::new(KsConfig::default()).codebook(&host_values(output.clone()), None, bits);
                assert_eq!((book.bits(), book.table(0)), (bits, expected.levels.as_slice()), "{name}");
            }
            let (name, output) = &sites[0];
            let values = host_values(output.clone());
            assert_eq!(KolmogorovSmirnov::of(&values).unwrap().family(), family);
            let quantizer = &student.plan.activation(name).unwrap().quantizer;
            let min_max = Codec::from(quantizer.grid(&[Range::of(&values).unwrap()], bits, None).unwrap());
            let error = |codec: &Codec| mean_square(&values, codec, output.dims());
            let (ks, min_max) = (error(&student.activations[name]), error(&min_max));
            assert!(ks <= min_max, "{family:?} {bits}: {ks} {min_max}");

            let found = report(&student, &network, &images);
            let row = &found.rows[0];
            assert_eq!((row.layer.as_str(), row.bits, row.family()), ("first", bits, Some(family)));
            assert!(close(row.errors.ks, ks) && close(row.errors.min_max, min_max), "{:?} {ks} {min_max}", row.errors);
        }
    }
}

#[test]
fn a_row_of_a_site_holds_what_was_computed_apart() {
    let network = small(4);
    let batch = images(&network, 7, 5);
    let format = Ks::new(KsConfig::default());
    for granularity in [Granularity::PerTensor, Granularity::PerChannel] {
        let mut config = QuantConfig { activation_bits: Precision::Int(3), ..QuantConfig::default() };
        config.activation.granularity = Some(granularity);
        let student = calibrated(&config, &network, &images(&network, 8, 2));
        let report = report(&student, &network, &batch);
        let sites = seen(&student, &batch);
        assert_eq!((report.rows.len(), report.left_out.len()), (5, 0));
        for (row, (name, output)) in report.rows.iter().zip(&sites) {
            assert_eq!((&row.layer, row.bits, row.granularity), (name, 3, granularity));
            let (axis, values) = (granularity.activation_axis(), host_values(output.clone()));
            let samples = Samples::of(output.clone(), axis).unwrap();
            assert_eq!(row.groups, samples.groups());
            assert_eq!(row.test, KolmogorovSmirnov::of(&values), "{name}");
            let whole = format.codebook(&values, None, 3);
            assert_eq!((row.clip, &row.levels), (whole.clip, &whole.levels), "{name}");
            let ranges: Vec<Range> = samples.iter().map(|group| Range::of(group).unwrap()).collect();
            let quantizer = &student.plan.activation(name).unwrap().quantizer;
            let min_max = Codec::from(quantizer.grid(&ranges, 3, axis).unwrap());
            let best: Vec<Range> =
                samples.iter().map(|group| best_range(group, quantizer.as_ref(), 3).unwrap()).collect();
            let best = Codec::from(quantizer.grid(&best, 3, axis).unwrap());
            let aciq = Aciq::new(AciqConfig { family: AciqFamily::Mixed, ..AciqConfig::default() }).unwrap();
            let mut observer = aciq.observer(quantizer.clone(), 3);
            observer.observe(&samples).unwrap();
            let aciq = Codec::from(quantizer.grid(&observer.ranges().unwrap(), 3, axis).unwrap());
            for (codec, found) in [
                (format.fit(&samples, 3, axis).unwrap(), row.errors.ks),
                (min_max, row.errors.min_max),
                (best, row.errors.mse_optimal),
                (aciq, row.errors.aciq),
            ] {
                let expected = mean_square(&values, &codec, output.dims());
                assert!(close(found, expected), "{name}: {found} {expected}");
            }
            assert!(row.errors.mse_optimal <= row.errors.min_max * (1.0 + 1e-5), "{name}: {:?}", row.errors);
            assert!(row.errors.k_means <= row.errors.ks * (1.0 + 1e-3), "{name}: {:?}", row.errors);
        }
        let csv = report.to_csv();
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        for (line, row) in csv.lines().skip(1).zip(&report.rows) {
            let cells: Vec<&str> = line.split(',').collect();
            let number =
                |name: &str| cells[header.iter().position(|head| *head == name).unwrap()].parse::<f64>().unwrap();
            let KsErrors { ks, min_max, mse_optimal, aciq, k_means } = row.errors;
            assert_eq!(["mse_ks", "mse_min_max", "mse_mse_optimal"].map(number), [ks, min_max, mse_optimal]);
            assert_eq!(["mse_aciq", "mse_k_means"].map(number), [aciq, k_means]);
        }
    }
}

#[test]
fn the_scheme_has_the_options_that_it_is_given() {
    let network = small(4);
    let batch = images(&network, 4, 5);
    let mut config = QuantConfig { activation_bits: Precision::Int(3), ..QuantConfig::default() };
    config.activation.format = Some(PluginChoice::named("ks").with("refine", 7));
    let student = calibrated(&config, &network, &batch);
    let teacher = student.plan.prepare(network).unwrap();
    let comparison = Comparison::new(&student, &teacher, batch.clone(), 4).unwrap();
    let of = |refine: usize| {
        KsReport::of_activations(&comparison, &Ks::new(KsConfig { refine, ..KsConfig::default() })).unwrap()
    };
    let (found, plain) = (of(7), of(0));
    assert!(
        found.options.contains("`refine = 7`") && found.to_markdown().contains("`refine = 7`"),
        "{}",
        found.options
    );
    for ((row, other), (name, output)) in found.rows.iter().zip(&plain.rows).zip(seen(&student, &batch)) {
        let expected = mean_square(&host_values(output.clone()), &student.activations[&name], output.dims());
        assert!(
            close(row.errors.ks, expected) && row.errors.ks < other.errors.ks,
            "{name}: {} {expected}",
            row.errors.ks
        );
    }
}

#[test]
fn every_quantized_site_has_a_row_but_those_without_fixed_levels() {
    let float = LayerOverride { activation_bits: Some(Precision::Float), ..LayerOverride::new("relu1") };
    let dynamic = LayerOverride {
        activation: FormatConfig { dynamic: Some(Dynamic::PerImage), ..FormatConfig::default() },
        ..LayerOverride::new("layer1.0.relu1")
    };
    let config =
        QuantConfig { activation_bits: Precision::Int(4), layer: vec![float, dynamic], ..QuantConfig::default() };
    let network = small(4);
    let batch = images(&network, 4, 5);
    let report = report(&calibrated(&config, &network, &batch), &network, &batch);
    let names: Vec<&str> = report.rows.iter().map(|row| row.layer.as_str()).collect();
    assert_eq!(names, ["layer1.0.relu2", "layer2.0.relu1", "layer2.0.relu2"]);
    assert_eq!(report.left_out, ["layer1.0.relu1"]);
    let markdown = report.to_markdown();
    assert!(markdown.starts_with("| site | bits |") && markdown.contains("of 3 sites"), "{markdown}");
    assert!(markdown.contains("before the network runs: layer1.0.relu1."), "{markdown}");
    assert_eq!(report.to_csv().lines().count(), 4);
}
