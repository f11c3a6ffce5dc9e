//! Ranges that are found while the network runs.

use std::collections::BTreeMap;

use blindfold_zoo::{FeatureTap, Network, Taps};
use burn::tensor::{Tensor, TensorData};

use super::*;
use crate::affine::Affine;
use crate::architectures::build;
use crate::families::Families;
use crate::granularity::Granularity;
use crate::interval::Range;
use crate::plan::{Dynamic, Plan, PluginChoice, QuantConfig};
use crate::precision::Precision;
use crate::samples::host_values;
use crate::testing::{images, plain, small};

const BITS: u8 = 4;

/// Weights in floating point, the outputs of rectifiers in so many bits between their smallest and largest value.
fn student(network: Network, dynamic: Dynamic, granularity: Granularity) -> QuantizedNetwork {
    let mut config =
        QuantConfig { weight_bits: Precision::Float, activation_bits: Precision::Int(BITS), ..Default::default() };
    config.activation.dynamic = Some(dynamic);
    config.activation.granularity = Some(granularity);
    config.activation.range = Some(PluginChoice::named("min-max"));
    let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
    QuantizedNetwork::calibrate(network, plan, std::iter::empty()).unwrap()
}

#[test]
fn the_codec_is_that_of_the_smallest_and_largest_value_of_each_batch_image_or_channel() {
    for dynamic in [Dynamic::PerBatch, Dynamic::PerImage] {
        for granularity in [Granularity::PerTensor, Granularity::PerChannel] {
            let student = student(small(3), dynamic, granularity);
            let names: Vec<String> = student.plan.activations().map(|target| target.name.clone()).collect();
            assert_eq!(names.len(), 5);
            let (mut before, mut after) = (FeatureTap::new(names.clone()), FeatureTap::new(names.clone()));
            let mut fake = student.tap();
            let x = images(&student.network, 3, 4);
            student.network.run(x, &mut Taps(vec![&mut before, &mut fake, &mut after]));
            assert!(fake.fault().is_none());
            for name in names {
                let what = format!("{dynamic}, {granularity}, {name}");
                let [_, channels, height, width] = before.features[&name].dims();
                let area = height * width;
                let group = |index: usize| match (dynamic, granularity) {
                    (Dynamic::PerBatch, Granularity::PerChannel) => index / area % channels,
                    (Dynamic::PerImage, Granularity::PerTensor) => index / area / channels,
                    (Dynamic::PerImage, Granularity::PerChannel) => index / area,
                    _ => 0,
                };
                let values = host_values(before.features[&name].clone());
                let mut ends: BTreeMap<usize, (f32, f32)> = BTreeMap::new();
                for (index, &x) in values.iter().enumerate() {
                    let (low, high) = ends.entry(group(index)).or_insert((x, x));
                    *low = x.min(*low);
                    *high = x.max(*high);
                }
                let target = student.plan.activation(&name).unwrap();
                let map =
                    |&(low, high): &(f32, f32)| target.quantizer.map(Range::new(low, high).unwrap(), BITS).unwrap();
                let maps: Vec<Affine> = ends.values().map(map).collect();
                let (codec, _) = target.dynamic_codec(before.features[&name].clone(), BITS).unwrap();
                let grid = codec.uniform().unwrap();
                assert_eq!(grid.groups(), maps.len(), "{what}");
                assert!(maps.iter().enumerate().all(|(group, map)| grid.map(group) == *map), "{what}");
                assert!(maps.len() == 1 || maps.iter().any(|map| *map != maps[0]), "{what}: the groups differ");
                let found = host_values(after.features[&name].clone());
                for (index, (&x, found)) in values.iter().zip(found).enumerate() {
                    let map = maps[group(index)];
                    assert_eq!(found, map.value(map.code(x)), "{what}: value {index}, {x}");
                }
            }
        }
    }
}

#[test]
fn outputs_of_one_position_are_quantized_by_image() {
    let student = student(build("lenet5", "", 5), Dynamic::PerImage, Granularity::PerChannel);
    let names: Vec<String> = student.plan.activations().map(|target| target.name.clone()).collect();
    let (mut before, mut after) = (FeatureTap::new(names.clone()), FeatureTap::new(names.clone()));
    let mut fake = student.tap();
    student.network.run(images(&student.network, 3, 4), &mut Taps(vec![&mut before, &mut fake, &mut after]));
    let mut flat = 0;
    for name in names {
        let [batch, channels, height, width] = before.features[&name].dims();
        if height * width > 1 {
            continue;
        }
        flat += 1;
        let target = student.plan.activation(&name).unwrap();
        let (floats, found) = [&before, &after].map(|tap| host_values(tap.features[&name].clone())).into();
        for (floats, found) in floats.chunks(channels).zip(found.chunks(channels)) {
            let map = target.quantizer.map(Range::of(floats).unwrap(), BITS).unwrap();
            let expected: Vec<f32> = floats.iter().map(|&x| map.value(map.code(x))).collect();
            assert!(found == expected && found != floats, "{name} of {batch}");
        }
    }
    assert_eq!(flat, 2);
}

/// A network and images of small integers: sums are exact, in whatever order a batch of another size adds them up.
fn integers() -> (Network, Tensor<4>) {
    let network = plain(1).map_layers(|name, layer| match layer.weight() {
        Some(weight) if name == "first" => {
            let shape = weight.dims();
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|index| ((index * 7 + 3) % 5) as f32 - 2.0).collect();
            layer.with_weight(Tensor::from_data(TensorData::new(values, shape), &weight.device()))
        }
        _ => layer,
    });
    let drawn = images(&network, 4, 8);
    let values = host_values(drawn.clone());
    let size = values.len() / 4;
    // The last image is three times as wide as the others, so that it decides the range of a batch.
    let wide = |index: usize| if index / size == 3 { 3.0 } else { 1.0 };
    let values: Vec<f32> =
        values.iter().enumerate().map(|(index, &x)| (x * 2.0).round().clamp(-5.0, 5.0) * wide(index)).collect();
    let images = Tensor::from_data(TensorData::new(values, drawn.dims()), &network.device());
    (network, images)
}

/// The quantized values of the only site, and the logits.
fn run(student: &QuantizedNetwork, images: Tensor<4>) -> (Vec<f32>, Vec<f32>) {
    let mut features = FeatureTap::new(["relu".to_owned()]);
    let logits = student.network.run(images, &mut Taps(vec![&mut student.tap(), &mut features]));
    let logits = logits.inner().into_data().try_to_vec::<f32>().unwrap();
    (host_values(features.features["relu"].clone()), logits)
}

#[test]
fn what_an_image_gives_depends_on_those_beside_it_with_ranges_of_the_batch_alone() {
    let (network, images) = integers();
    for granularity in [Granularity::PerTensor, Granularity::PerChannel] {
        for dynamic in [Dynamic::PerBatch, Dynamic::PerImage] {
            let student = student(network.clone(), dynamic, granularity);
            let (values, logits) = run(&student, images.clone());
            let (size, classes) = (values.len() / 4, logits.len() / 4);
            for image in 0..3 {
                let what = format!("{dynamic}, {granularity}, image {image}");
                let (alone, own_logits) = run(&student, images.clone().narrow(0, image, 1));
                let beside = &values[image * size..][..size];
                let pairs = own_logits.iter().zip(&logits[image * classes..]);
                let difference = pairs.fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
                if dynamic == Dynamic::PerImage {
                    assert!(alone == beside && difference < 1e-3, "{what}: logits differ by {difference}");
                } else {
                    assert!(alone != beside && difference > 1e-2, "{what}: logits differ by {difference}");
                }
            }
        }
    }
}
