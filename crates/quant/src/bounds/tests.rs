use blindfold_zoo::{Conv2d, FeatureTap, Layer, Network, NetworkBuilder, Op, Taps, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::*;
use crate::families::Families;
use crate::plan::{Dynamic, Plan, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::testing::{images, plain, small};

/// Every kind of layer once: grouped convolution, batch norm after it and after a concatenation, both poolings,
/// shortcut.
fn layers(seed: u64) -> Network {
    let device = Device::flex();
    let mut random = stream(seed, "parameters");
    let mut graph = NetworkBuilder::new(&device, seed);
    graph.conv("first", 0, [6, 3, 3], 1, 1, true);
    graph.batch_norm("norm1", graph.last(), 6);
    let start = graph.op("relu6", &[graph.last()], Op::Relu6);
    let weight: Vec<f32> = (0..6 * 3 * 9).map(|_| 0.4 * (random.random::<f32>() - 0.5)).collect();
    let weight = TensorData::new(weight, [6, 3, 3, 3]);
    let grouped = Conv2d::new("grouped", weight, None, [1, 1], [1, 1], 2, &device);
    graph.push("grouped", &[start], Layer::Conv2d(grouped));
    graph.batch_norm("norm2", graph.last(), 6);
    let sum = graph.op("add", &[graph.last(), start], Op::Add);
    let most = graph.op("maxpool", &[sum], Op::MaxPool { kernel: 3, stride: 2, padding: 1 });
    let mean = graph.op("avgpool", &[sum], Op::AvgPool { kernel: 3, stride: 2, padding: 1 });
    graph.op("concat", &[most, mean], Op::Concat);
    graph.batch_norm("norm3", graph.last(), 12);
    graph.op("relu", &[graph.last()], Op::Relu);
    graph.op("shortcut", &[graph.last()], Op::PadShortcut { stride: 2, before: 1, after: 2 });
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), 4, 15 * 4);
    let network = graph.finish("layers", [3, 8, 8], 4);
    let state = network.state().into_iter().map(|(name, data)| {
        let shape = data.shape().clone();
        let mut change = |value: f32| match name.starts_with("norm") {
            true if name.ends_with("running_var") || name.ends_with("weight") => 0.5 + random.random::<f32>(),
            true => random.random::<f32>() - 0.5,
            false => value,
        };
        let values: Vec<f32> = data.iter::<f32>().map(&mut change).collect();
        (name, TensorData::new(values, shape))
    });
    let state = state.collect();
    network.with_state(state).unwrap()
}

fn quantized(network: &Network, protocol: Protocol, weights: Precision, activations: Precision) -> QuantizedNetwork {
    let config = QuantConfig { protocol, weight_bits: weights, activation_bits: activations, ..Default::default() };
    let plan = Plan::new(&config, network, &Families::builtin()).unwrap();
    QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(images(network, 8, 2))).unwrap()
}

fn tensor(network: &Network, values: Vec<f32>) -> Tensor<4> {
    let [channels, height, width] = network.input_shape();
    let count = values.len() / (channels * height * width);
    Tensor::from_data(TensorData::new(values, [count, channels, height, width]), &network.device())
}

/// A box of that radius around Gaussian pixels, with its corner images, random corners and random images in it.
fn boxed(network: &Network, radius: f32, seed: u64) -> [Tensor<4>; 3] {
    let centre = images(network, 1, seed).into_data().iter::<f32>().collect::<Vec<f32>>();
    let mut random = stream(seed, "box");
    let low: Vec<f32> = centre.iter().map(|x| x - radius).collect();
    let high: Vec<f32> = centre.iter().map(|x| x + radius).collect();
    let mut inside = [low.clone(), high.clone(), centre.clone()].concat();
    for image in 0..9 {
        for (low, high) in low.iter().zip(&high) {
            let place = random.random::<f32>();
            let place = if image % 3 == 0 { place } else { place.round() };
            inside.push((low + place * (high - low)).clamp(*low, *high));
        }
    }
    [tensor(network, low), tensor(network, high), tensor(network, inside)]
}

/// The largest difference of all nodes, measured without any code of this module.
fn differences(teacher: &Network, student: &QuantizedNetwork, images: &Tensor<4>) -> Vec<f64> {
    let names: Vec<String> = teacher.nodes().iter().map(|node| node.name.clone()).collect();
    let (mut own, mut other) = (FeatureTap::new(names.clone()), FeatureTap::new(names.clone()));
    teacher.run(images.clone(), &mut own);
    student.network.run(images.clone(), &mut Taps(vec![&mut student.tap(), &mut other]));
    let difference = |name: &String| {
        let difference = (other.features[name].clone() - own.features[name].clone()).abs();
        difference.into_data().iter::<f32>().fold(0.0f64, |most, x| most.max(f64::from(x)))
    };
    names.iter().map(difference).collect()
}

#[test]
fn no_image_of_the_box_leaves_the_bounds_at_any_node() {
    for (seed, weights, activations) in [(1, 4, 4), (2, 8, 8), (3, 2, 3)] {
        for network in [layers(seed), small(seed), plain(seed)] {
            for protocol in [Protocol::Gdfq, Protocol::Brecq] {
                let student = quantized(&network, protocol, Precision::Int(weights), Precision::Int(activations));
                let teacher = student.plan.prepare(network.clone()).unwrap();
                for radius in [0.0, 0.02, 2.0] {
                    let [low, high, inside] = boxed(&network, radius, seed + 10);
                    let report = bounds(&teacher, &student, &low, &high, Some(&inside)).unwrap();
                    let what = format!("{} {protocol} W{weights}A{activations} radius {radius}", network.name());
                    assert!(report.holds(), "{what}\n{}", report.to_markdown());
                    assert_eq!((report.rows.len(), report.images), (teacher.nodes().len(), 12));
                    for (row, measured) in report.rows.iter().zip(differences(&teacher, &student, &inside)) {
                        assert!((row.measured_max.unwrap() - measured).abs() <= 1e-6 * measured, "{what} {}", row.node);
                        assert!(measured <= row.tighter_max, "{what} {}: {measured}", row.node);
                        assert!(row.tighter_max <= row.interval_max, "{what} {}", row.node);
                        assert!(row.tighter_mean <= row.interval_mean, "{what} {}", row.node);
                    }
                }
            }
        }
    }
}

/// A convolution of eight channels by tiles, over rows of which all but one are zero behind the rectifier.
#[test]
fn rows_beside_a_bright_one_are_within_the_rounding_of_their_tile() {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, 7);
    graph.conv("first", 0, [8, 3, 1], 1, 0, false);
    graph.op("relu", &[graph.last()], Op::Relu);
    graph.conv("second", graph.last(), [8, 8, 3], 1, 1, false);
    graph.op("avgpool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("linear", graph.last(), 4, 8);
    let network = graph.finish("tiles", [3, 8, 8], 4);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(8), Precision::Float);
    let bright = |index: usize| if index / 8 % 8 == 3 { 1e3 * (index as f32 * 0.7).sin() } else { 0.0 };
    let image = tensor(&network, (0..3 * 8 * 8).map(bright).collect());
    let report = bounds(&network, &student, &image, &image, Some(&image)).unwrap();
    assert!(report.holds() && report.logits().unwrap().measured_max.unwrap() > 0.0, "{}", report.to_markdown());
}

/// Products below the smallest normal `f32` lose digits, or all of them.
#[test]
fn weights_too_small_for_a_full_mantissa_are_within_the_bounds() {
    let network = plain(6).map_layers(|name, layer| match layer.weight() {
        Some(weight) if name == "first" => layer.with_weight(weight * 1e-20 * 1e-21),
        _ => layer,
    });
    let student = quantized(&network, Protocol::Gdfq, Precision::Float, Precision::Int(4));
    let mut teacher = student.plan.prepare(network.clone()).unwrap();
    teacher = teacher.map_layers(|name, layer| match layer.weight() {
        Some(weight) if name == "first" => layer.with_weight(weight * 1.5),
        _ => layer,
    });
    let [low, high, inside] = boxed(&network, 0.0, 16);
    let report = bounds(&teacher, &student, &low, &high, Some(&inside)).unwrap();
    assert!(report.holds(), "{}", report.to_markdown());
}

#[test]
fn over_many_layers_norms_are_tighter_than_intervals() {
    let network = crate::testing::resnet20(4);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(8), Precision::Int(8));
    let [low, high, inside] = boxed(&network, 0.0, 14);
    let report = bounds(&network, &student, &low, &high, Some(&inside)).unwrap();
    let logits = report.rows.last().unwrap();
    assert!(report.holds() && logits.tighter_max < 0.5 * logits.interval_max, "{}", report.to_markdown());
}

#[test]
fn the_bound_of_one_linear_layer_is_reached_in_a_corner() {
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, 5);
    graph.op("flatten", &[0], Op::Flatten);
    graph.linear("linear", graph.last(), 5, 6);
    let network = graph.finish("one", [3, 1, 2], 5);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(3), Precision::Float);
    let weight = student.weight_tensors().unwrap().remove(0);
    let changes: Vec<f32> = weight.quantized().unwrap().iter().zip(&weight.values).map(|(q, w)| q - w).collect();
    let sums: Vec<f32> = changes.chunks(6).map(|row| row.iter().map(|change| change.abs()).sum()).collect();
    let corners = changes.iter().map(|change| if *change < 0.0 { -1.0 } else { 1.0 }).collect();
    let (low, high) = (tensor(&network, vec![-1.0; 6]), tensor(&network, vec![1.0; 6]));
    let report = bounds(&network, &student, &low, &high, Some(&tensor(&network, corners))).unwrap();
    let expected = f64::from(sums.iter().copied().fold(0.0, f32::max));
    let row = report.logits().unwrap();
    assert!(expected > 0.05 && (row.interval_max - expected).abs() < 1e-5, "{row:?} {expected}");
    assert!((row.tighter_max - expected).abs() < 1e-5);
    assert!((row.measured_max.unwrap() - expected).abs() < 1e-5 && report.holds());
    assert!((row.looseness().unwrap() - 1.0).abs() < 1e-3);
}

#[test]
fn what_is_not_quantized_makes_no_difference() {
    for network in [layers(4), small(4)] {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let student = quantized(&network, protocol, Precision::Float, Precision::Float);
            let teacher = student.plan.prepare(network.clone()).unwrap();
            let [low, high, inside] = boxed(&network, 1.0, 3);
            let report = bounds(&teacher, &student, &low, &high, Some(&inside)).unwrap();
            for row in &report.rows {
                let all = [row.interval_max, row.tighter_max, row.statistical_rms, row.measured_max.unwrap()];
                assert_eq!(all, [0.0; 4], "{protocol} {}", row.node);
            }
            assert_eq!((report.certificate.margin_needed, report.certificate.certified), (0.0, Some(12)));
        }
    }
}

#[test]
fn a_smaller_box_has_smaller_bounds() {
    let network = small(6);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(6), Precision::Int(6));
    let logits: Vec<f64> = [0.0, 0.01, 0.1, 1.0]
        .into_iter()
        .map(|radius| {
            let [low, high, _] = boxed(&network, radius, 3);
            bounds(&network, &student, &low, &high, None).unwrap().logits().unwrap().tighter_max
        })
        .collect();
    assert!(logits.is_sorted_by(|small, large| small < large), "{logits:?}");
}

#[test]
fn the_estimate_is_close_on_a_linear_chain_with_gaussian_images() {
    let device = Device::flex();
    for seed in 1..=3 {
        let mut graph = NetworkBuilder::new(&device, seed);
        graph.conv("first", 0, [12, 3, 3], 1, 1, false);
        graph.conv("second", graph.last(), [16, 12, 3], 2, 1, true);
        graph.op("avgpool", &[graph.last()], Op::AvgPool { kernel: 2, stride: 2, padding: 0 });
        graph.op("flatten", &[graph.last()], Op::Flatten);
        graph.linear("linear", graph.last(), 10, 16 * 9);
        let network = graph.finish("chain", [3, 12, 12], 10);
        let student = quantized(&network, Protocol::Gdfq, Precision::Int(4), Precision::Float);
        let batch = images(&network, 64, seed);
        let (low, high) = (tensor(&network, vec![-8.0; 432]), tensor(&network, vec![8.0; 432]));
        let report = bounds(&network, &student, &low, &high, Some(&batch)).unwrap();
        assert!(report.holds());
        for row in &report.rows[1..] {
            let ratio = row.statistical_rms / row.measured_rms.unwrap();
            assert!(ratio > 0.5 && ratio < 2.0, "{seed} {}: {ratio}", row.node);
        }
    }
}

#[test]
fn folded_moments_stand_for_the_batch_norms_that_they_were() {
    let network = small(8);
    let student = quantized(&network, Protocol::Brecq, Precision::Int(4), Precision::Int(8));
    let teacher = student.plan.prepare(network.clone()).unwrap();
    let [low, high, _] = boxed(&network, 0.1, 3);
    let moments = crate::pass::Rewritten::new(network).folded().moments;
    let with = bounds_with_moments(&teacher, &student, &moments, &low, &high, None).unwrap();
    let without = bounds(&teacher, &student, &low, &high, None).unwrap();
    assert_eq!(moments.len(), 5);
    assert_eq!(with.rows[1].statistical_rms, without.rows[1].statistical_rms);
    assert_ne!(with.logits().unwrap().statistical_rms, without.logits().unwrap().statistical_rms);
    for (with, without) in with.rows.iter().zip(&without.rows) {
        assert_eq!((with.interval_max, with.tighter_max), (without.interval_max, without.tighter_max));
    }
}

#[test]
fn certified_images_keep_their_class() {
    let network = plain(3);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(8), Precision::Int(8));
    let [low, high, inside] = boxed(&network, 0.001, 3);
    let report = bounds(&network, &student, &low, &high, Some(&inside)).unwrap();
    let rows = |logits: Tensor<2>| -> Vec<Vec<f32>> {
        logits.into_data().iter::<f32>().collect::<Vec<f32>>().chunks(5).map(<[f32]>::to_vec).collect()
    };
    let (teacher, student) = (rows(network.forward(inside.clone())), rows(student.forward(inside)));
    let first = |row: &[f32]| (0..5).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let mut leading = 0;
    for (teacher, student) in teacher.iter().zip(&student) {
        let class = first(teacher);
        let lead = (0..5)
            .filter(|&other| other != class)
            .map(|other| teacher[class] - teacher[other])
            .fold(f32::MAX, f32::min);
        if f64::from(lead) > report.certificate.margin_needed {
            leading += 1;
            assert_eq!(first(student), class);
        }
    }
    assert!(report.certificate.certified.unwrap() >= leading, "{:?}", report.certificate);
}

#[test]
fn what_cannot_be_bounded_is_an_error_that_says_what_to_do() {
    let network = plain(1);
    let student = quantized(&network, Protocol::Gdfq, Precision::Int(4), Precision::Int(4));
    let [low, high, inside] = boxed(&network, 0.1, 3);
    let other = bounds(&small(1), &student, &low, &high, None);
    assert!(matches!(other, Err(QuantError::OtherNetwork { .. })));
    let folded = quantized(&small(1), Protocol::Gdfq, Precision::Int(4), Precision::Int(4)).for_evaluation().unwrap();
    assert!(matches!(bounds(&small(1), &folded, &low, &high, None), Err(QuantError::OtherNetwork { .. })));
    let swapped = bounds(&network, &student, &high, &low, None).unwrap_err().to_string();
    assert!(swapped.contains("swap them"), "{swapped}");
    let shape = bounds(&network, &student, &inside, &high, None).unwrap_err().to_string();
    assert!(shape.contains("give one image of 3 x 12 x 12"), "{shape}");
    let outside = bounds(&network, &student, &low, &high, Some(&(inside * 2.0))).unwrap_err().to_string();
    assert!(outside.contains("outside the box"), "{outside}");
    let mut config = QuantConfig::default();
    config.activation.dynamic = Some(Dynamic::PerBatch);
    let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
    let dynamic = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(images(&network, 4, 2))).unwrap();
    let error = bounds(&network, &dynamic, &low, &high, None).unwrap_err().to_string();
    assert!(error.starts_with("`relu`") && error.contains("static"), "{error}");
    let broken = network.clone().map_layers(|name, layer| match layer.weight() {
        Some(weight) if name == "first" => layer.with_weight(weight * f32::NAN),
        _ => layer,
    });
    let error = bounds(&broken, &student, &low, &high, None).unwrap_err().to_string();
    assert!(error.starts_with("`first`: value 0 of 108 is NaN"), "{error}");
}
