use super::*;
use crate::bn::reference::{activations, reference, statistics as of_activations};
use crate::optimised::class_centres::reference::check;
use crate::sample::{assert_slope, close, ends, fault, host, numbers, small_network, statistics, synthesize, traced};

fn measured(table: &str, seed: u64) -> Slack {
    let config: DsgConfig = parse(table.parse().unwrap()).unwrap();
    slack(&ObservedNetwork::new(&small_network(1), true).unwrap(), &config, seed)
}

#[test]
fn the_percentile_lies_between_neighbours() {
    let values = vec![4.0, 1.0, 3.0, 2.0];
    for (share, expected) in [(0.0, 1.0), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)] {
        assert!((percentile(values.clone(), share) - expected).abs() < 1e-6, "{share}");
    }
    assert_eq!(percentile(vec![7.0], 0.9), 7.0);
}

#[test]
fn the_asked_share_of_the_deviations_of_noise_is_within_the_slack() {
    let slack = measured("noise_images = 400\nbatch = 128", 3);
    // Noise of another seed, whose deviations the slack was not made from.
    let network = small_network(1);
    let observed = ObservedNetwork::new(&network, true).unwrap();
    let mut random = stream(9, "other noise");
    let noise: Vec<f32> = (0..400 * 192).map(|_| StandardNormal.sample(&mut random)).collect();
    let noise = Tensor::from_data(TensorData::new(noise, [400, 3, 8, 8]), &Device::flex());
    let (_, statistics) = observed.run(noise, SAMPLING);
    let kinds = gaps(&statistics, 1e-6);
    for (gap, slack) in kinds.iter().zip([&slack.mean, &slack.std]) {
        let values = host(gap);
        for (layer, channels) in observed.target().layers.iter().enumerate() {
            let own: Vec<f64> = values.chunks(19).flat_map(|row| row[channels.clone()].to_vec()).collect();
            let within = own.iter().filter(|&&value| value <= f64::from(slack[layer])).count() as f64;
            let share = within / own.len() as f64;
            assert!((share - 0.9).abs() < 0.05, "layer {layer}: {share}");
        }
    }
}

#[test]
fn a_larger_percentile_leaves_more_slack() {
    let [less, more] = ["0.5", "0.99"].map(|share| measured(&format!("percentile = {share}\nnoise_images = 64"), 3));
    assert!(less.mean.iter().zip(&more.mean).all(|(less, more)| less < more), "{less:?} {more:?}");
    assert!(less.std.iter().zip(&more.std).all(|(less, more)| less < more), "{less:?} {more:?}");
    assert_ne!(measured("noise_images = 64", 3), measured("noise_images = 64", 4));
    // The sums within a layer may be taken in another order for another number of images: the last bits differ.
    let [whole, parts] = ["64", "24"].map(|batch| measured(&format!("noise_images = 64\nbatch = {batch}"), 3));
    for (whole, parts) in whole.mean.iter().chain(&whole.std).zip(parts.mean.iter().chain(&parts.std)) {
        assert!((whole - parts).abs() < 1e-4 * (1.0 + whole), "{whole} against {parts}");
    }
}

#[test]
fn each_image_enhances_a_layer_of_its_own() {
    let statistics = statistics(&[[0.0; 3]; 3], &[[1.0; 3]; 3]);
    assert_eq!(host(&enhanced(&statistics, 0..3, 1.0)), [2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
    assert_eq!(host(&enhanced(&statistics, 3..4, 0.5)), [1.0, 1.5, 1.5]);
}

#[test]
fn what_is_within_the_slack_costs_nothing() {
    let statistics = statistics(&[[1.0, 2.0, -1.0], [0.1, 0.0, 0.4]], &[[1.0, 4.0, 0.25], [1.0, 1.0, 2.25]]);
    let slack = Slack { mean: vec![0.5, 1.5], std: vec![0.25, 0.75] };
    let weights = || enhanced(&statistics, 0..2, 1.0);
    // Image 0: mean 0.5 (twice, its own layer) and 0.5, 0; deviations 1 and -1/2: 0.25 beyond. Image 1: nothing.
    let expected = (2.0 * 0.25 + 0.25 + 0.0625) / 2.0;
    close(excess(&statistics, Some(&slack), weights(), 1e-9), expected, 1e-4);
    let squares = [2.0 * 1.0, 4.0, 1.0, 1.0, 0.25, 0.01, 2.0 * 0.16, 2.0 * 0.25];
    close(excess(&statistics, None, weights(), 1e-9), squares.iter().sum::<f64>() / 2.0, 1e-4);
    assert_slope(&statistics.mean.clone(), 1e-3, |mean| {
        excess(&Statistics { mean, ..statistics.clone() }, Some(&slack), weights(), 1e-6)
    });
    assert_slope(&statistics.var.clone(), 1e-3, |var| {
        excess(&Statistics { var, ..statistics.clone() }, Some(&slack), weights(), 1e-6)
    });
}

#[test]
fn the_excess_is_that_of_pytorch() {
    let reference = reference();
    let [mean, std] =
        ["slack_mean", "slack_std"].map(|key| numbers(&reference[key]).into_iter().map(|slack| slack as f32).collect());
    let slack = Slack { mean, std };
    for case in reference["excess"].as_array().unwrap() {
        let (enhancement, first) = (case["enhancement"].as_f64().unwrap(), case["first"].as_u64().unwrap() as usize);
        check(&format!("excess {enhancement}, {first}"), case, activations(&reference), |x| {
            let statistics = of_activations(&reference, x, SAMPLING);
            let weights = enhanced(&statistics, first..first + 3, enhancement);
            excess(&statistics, Some(&slack), weights, 1e-6)
        });
    }
}

#[test]
fn noise_itself_is_within_its_slack() {
    let first = |percentile: &str| {
        let table = format!("count = 6\niterations = 1\nnoise_images = 512\npercentile = {percentile}");
        traced("dsg", &table, &small_network(1), 3).1[0]["bn_loss"]
    };
    let (slack, none) = (first("1.0"), first("0.0"));
    assert!(slack < 0.01 * none, "{slack} against {none}");
}

#[test]
fn the_loss_falls() {
    let table =
        "count = 8\nbatch = 8\niterations = 100\nnoise_images = 64\npercentile = 0.5\noptimizer = { lr = 0.02 }";
    let (images, trace) = traced("dsg", table, &small_network(1), 3);
    let (first, last) = ends(&trace, "loss", 5);
    assert!(last < 0.9 * first, "{first} to {last}");
    assert!(trace.iter().all(|entry| entry.contains_key("input_loss")));
    assert_eq!(images.labels, None);
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 5\nbatch = 3\niterations = 4\nnoise_images = 16";
    let images = synthesize("dsg", table, &network, 3).unwrap();
    assert_eq!(synthesize("dsg", table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("dsg", table, &network, 4).unwrap(), images);
}

#[test]
fn faults_name_their_key() {
    assert!(fault("dsg", "percentile = 90.0").starts_with("`dsg.percentile`: 90 is not valid"));
    assert!(fault("dsg", "noise_images = 0").starts_with("`dsg.noise_images`: 0 is not valid"));
    assert!(fault("dsg", "enhancement = -1.0").starts_with("`dsg.enhancement`: -1 is not valid"));
    assert!(fault("dsg", "epsilon = 0.0").starts_with("`dsg.epsilon`: 0 is not valid"));
}
