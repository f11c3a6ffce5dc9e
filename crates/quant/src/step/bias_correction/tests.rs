use blindfold_zoo::{BatchNorm2d, Layer, NetworkBuilder, Op, Taps};
use burn::tensor::{Device, TensorData};

use super::super::Silent;
use super::*;
use crate::architectures::{build, mobile};
use crate::families::Families;
use crate::network::Calibrator;
use crate::output_shift::absorbing_norm;
use crate::pass::Rewritten;
use crate::plan::{Plan, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::testing::{images, plain, small};

fn step(mode: CorrectionMode) -> BiasCorrection {
    let measured = MeasuredWith::Activations;
    BiasCorrection::new(BiasCorrectionConfig { mode, measured, batch: 3, ..Default::default() }).unwrap()
}

fn plan(network: &Network, protocol: Protocol, bits: u8) -> Plan {
    let (weight_bits, activation_bits) = (Precision::Int(bits), Precision::Int(4));
    let config = QuantConfig { protocol, weight_bits, activation_bits, ..Default::default() };
    Plan::new(&config, network, &Families::builtin()).unwrap()
}

fn fit(
    step: &BiasCorrection,
    teacher: &Network,
    images: &Tensor<4>,
    student: QuantizedNetwork,
) -> Result<QuantizedNetwork, QuantError> {
    step.fit(FitRequest { teacher, images, seed: 1, progress: &mut Silent }, student)
}

/// Means of what weighted layers and batch norms give, before it is quantized.
#[derive(Default)]
struct Means(BTreeMap<String, ChannelStatistics>);

impl Tap for Means {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        self.0.entry(site.node.name.clone()).or_default().see(&output);
        output
    }
}

/// The largest error of a mean at the places that a correction reaches: behind the batch norm that has it, or at
/// the layer.
fn mean_error(teacher: &Network, student: &QuantizedNetwork, images: &Tensor<4>) -> f64 {
    let (mut expected, mut found) = (Means::default(), Means::default());
    teacher.run(images.clone(), &mut expected);
    student.network.run(images.clone(), &mut Taps(vec![&mut found, &mut student.tap()]));
    let places = weighted(&student.network).map(|id| absorbing_norm(&student.network, id).unwrap_or(id));
    places
        .map(|id| {
            let name = &student.network.node(id).name;
            let pairs = expected.0[name].mean().iter().zip(found.0[name].mean());
            pairs.fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()))
        })
        .fold(0.0, f64::max)
}

#[test]
fn on_the_images_used_every_layer_gets_the_teachers_means() {
    for network in [small(23), mobile(23), build("densenet-bc", "depth = 10", 23)] {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let plan = plan(&network, protocol, 3);
            let teacher = plan.prepare(network.clone()).unwrap().frozen();
            let x = images(&network, 8, 6);
            let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(x.clone())).unwrap();
            let before = mean_error(&teacher, &student, &x);
            let after = fit(&step(CorrectionMode::Empirical), &teacher, &x, student).unwrap();
            let error = mean_error(&teacher, &after, &x);
            assert!(before > 1e-2 && error < 1e-5, "{} {protocol}: {before} {error}", network.name());
        }
    }
}

#[test]
fn measured_with_weights_the_ranges_are_those_of_the_corrected_network() {
    let network = small(23);
    let plan = plan(&network, Protocol::Gdfq, 2);
    let teacher = network.clone().frozen();
    let x = images(&network, 8, 6);
    let step = BiasCorrection::new(BiasCorrectionConfig { batch: 3, ..Default::default() }).unwrap();
    assert_eq!(step.stage(), Stage::Weights);
    let student = QuantizedNetwork::with_weights(network, plan.clone()).unwrap();
    let before = mean_error(&teacher, &student, &x);
    let after = fit(&step, &teacher, &x, student.clone()).unwrap();
    let error = mean_error(&teacher, &after, &x);
    assert!(!after.is_calibrated() && before > 1e-2 && error < 1e-5, "{before} {error}");
    // The ranges that come of it are not those that calibration would have given before.
    let highest = |student: QuantizedNetwork| -> Vec<f32> {
        let mut calibrator = Calibrator::of(student).unwrap();
        calibrator.observe(x.clone()).unwrap();
        let calibrated = calibrator.finish().unwrap();
        calibrated.activations.values().map(|codec| codec.uniform().unwrap().map(0).representable().1).collect()
    };
    let (uncorrected, corrected) = (highest(student), highest(after));
    let moved = uncorrected.iter().zip(&corrected).filter(|(a, b)| (*a / *b - 1.0).abs() > 0.02).count();
    assert!(moved > 0, "{uncorrected:?} {corrected:?}");
}

#[test]
fn it_needs_images_and_finite_outputs() {
    let network = small(24);
    let plan = plan(&network, Protocol::Gdfq, 4);
    let x = images(&network, 4, 6);
    let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(x.clone())).unwrap();
    let step = step(CorrectionMode::Empirical);
    assert!(step.needs_images() && step.stage() == Stage::Network);
    let none = Tensor::<4>::from_data(TensorData::new(Vec::<f32>::new(), [0, 3, 12, 12]), &network.device());
    assert!(matches!(fit(&step, &network, &none, student.clone()), Err(QuantError::NoImages)));
    let error = fit(&step, &network, &(x * f32::NAN), student).unwrap_err().to_string();
    assert!(error.starts_with("`conv1`") && error.contains("NaN"), "{error}");
}

/// Two convolutions of which the second reads `ReLU(N(beta, gamma^2))`; its means are those of the closed form.
#[test]
fn the_analytic_correction_is_the_formula() {
    let network = small(25);
    let plan = plan(&network, Protocol::Gdfq, 2);
    let student = QuantizedNetwork::with_weights(network.clone(), plan).unwrap();
    let step = step(CorrectionMode::Analytic);
    assert!(!step.needs_images() && step.stage() == Stage::Weights);
    let after = fit(&step, &network, &images(&network, 1, 1), student.clone()).unwrap();
    let norm = |network: &Network, name: &str| match &network.node(network.find(name).unwrap()).layer {
        Layer::BatchNorm2d(norm) => norm.clone(),
        _ => panic!("{name}"),
    };
    let host = |values: Tensor<1>| values.into_data().iter::<f32>().map(f64::from).collect::<Vec<f64>>();
    let reads = norm(&network, "layer1.0.bn1");
    let means: Vec<f64> = host(reads.beta.val())
        .into_iter()
        .zip(host(reads.gamma.val()))
        .map(|(beta, gamma)| {
            let steps = (-8000..8000).map(|index| (f64::from(index) + 0.5) * 1e-3);
            let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            steps.map(|z| (beta + gamma * z).max(0.0) * density(z) * 1e-3).sum()
        })
        .collect();
    let layers = student.weight_tensors().unwrap();
    let layer = layers.iter().find(|layer| layer.name == "layer1.0.conv2").unwrap();
    let quantized = layer.quantized().unwrap();
    let (old, new) = (norm(&network, "layer1.0.bn2"), norm(&after.network, "layer1.0.bn2"));
    let moved = host(new.running_mean.val() - old.running_mean.val());
    for (output, moved) in moved.into_iter().enumerate() {
        let expected: f64 = (0..8 * 9)
            .map(|place| {
                let index = output * 72 + place;
                f64::from(quantized[index] - layer.values[index]) * means[place / 9]
            })
            .sum();
        assert!((moved - expected).abs() < 1e-4, "{output}: the mean moves by {moved}, not {expected}");
    }
    let same = |name: &str| host(norm(&network, name).running_mean.val());
    assert_eq!(same("bn1"), host(norm(&after.network, "bn1").running_mean.val()), "images have mean 0");
}

/// The network with a batch norm that takes its input to have these means, and shifts so far that no value behind it is
/// negative.
fn with_means(network: Network, at: &str, means: &[f64]) -> Network {
    network.map_layers(|name, layer| match layer {
        Layer::BatchNorm2d(norm) if name == at => {
            let vector = |value: &dyn Fn(usize) -> f32| {
                TensorData::new((0..means.len()).map(value).collect::<Vec<f32>>(), [means.len()])
            };
            let (gamma, beta) = (vector(&|_| 0.2), vector(&|channel| 4.0 + 0.1 * channel as f32));
            let state = [gamma, beta, vector(&|channel| means[channel] as f32), vector(&|_| 1.0)];
            Layer::BatchNorm2d(BatchNorm2d::new(name, state, norm.epsilon, &Device::flex()))
        }
        other => other,
    })
}

/// Images come with their negatives, so that their means are 0; convolutions of one pixel know no borders; both batch
/// norms state the means that hold, and `E[ReLU(N(4, 0.2^2))] = 4`, as nothing is negative. So every layer's mean output
/// is `W E[x] + b` with the formula's `E[x]`, and the correction takes all of `(W^ - W) E[x]` back.
#[test]
fn the_analytic_correction_restores_the_means_where_inputs_follow_the_batch_norms() {
    let half = images(&plain(1), 8, 6);
    let x = Tensor::cat(vec![half.clone(), half * -1.0], 0);
    let device = Device::flex();
    let mut graph = NetworkBuilder::new(&device, 31);
    graph.conv("conv1", 0, [8, 3, 1], 1, 0, false);
    graph.batch_norm("bn1", graph.last(), 8);
    graph.op("relu1", &[graph.last()], Op::Relu);
    graph.conv("conv2", graph.last(), [6, 8, 1], 1, 0, false);
    graph.batch_norm("bn2", graph.last(), 6);
    graph.op("relu2", &[graph.last()], Op::Relu);
    graph.op("avgpool", &[graph.last()], Op::GlobalAvgPool);
    graph.op("flatten", &[graph.last()], Op::Flatten);
    graph.linear("classifier", graph.last(), 5, 6);
    let network = with_means(graph.finish("pixels", [3, 12, 12], 5), "bn1", &[0.0; 8]);
    let mut seen = Means::default();
    network.run(x.clone(), &mut seen);
    let network = with_means(network, "bn2", seen.0["conv2"].mean());
    let student = QuantizedNetwork::with_weights(network.clone(), plan(&network, Protocol::Gdfq, 2)).unwrap();
    let before = mean_error(&network, &student, &x);
    let after = fit(&step(CorrectionMode::Analytic), &network, &x, student).unwrap();
    let error = mean_error(&network, &after, &x);
    assert!(before > 1e-2 && error < 1e-4, "{before} {error}");
}

/// The same corrections for a folded network and its moments: `W' = scale W`, so that `b' -= scale c`.
#[test]
fn folding_first_gives_the_same_corrections() {
    let network = small(26);
    let rewritten = Rewritten::new(network.clone()).folded();
    let step = step(CorrectionMode::Analytic);
    let x = images(&network, 1, 1);
    let apart = QuantizedNetwork::with_weights(network.clone(), plan(&network, Protocol::Gdfq, 2)).unwrap();
    let apart = fit(&step, &network, &x, apart).unwrap().network;
    let folded_plan = plan(&rewritten.network, Protocol::Gdfq, 2);
    let mut folded = QuantizedNetwork::with_weights(rewritten.network.clone(), folded_plan).unwrap();
    let refused = fit(&step, &rewritten.network, &x, folded.clone()).unwrap_err().to_string();
    assert!(refused.contains("without any batch norm"), "{refused}");
    folded.moments = rewritten.moments;
    let folded = fit(&step, &rewritten.network, &x, folded).unwrap().network;
    let apart = blindfold_zoo::fold_batch_norms(apart);
    for id in weighted(&folded) {
        let bias = |network: &Network| HostLayer::of(network.node(id)).unwrap().bias.unwrap();
        for (a, b) in bias(&apart).into_iter().zip(bias(&folded)) {
            assert!((a - b).abs() < 1e-4, "{}: {a} {b}", folded.node(id).name);
        }
    }
}

#[test]
fn without_a_quantized_layer_nothing_is_corrected() {
    let network = small(27);
    let float = QuantConfig { weight_bits: Precision::Float, ..Default::default() };
    let plan = Plan::new(&float, &network, &Families::builtin()).unwrap();
    let student = QuantizedNetwork::with_weights(network.clone(), plan).unwrap();
    let after = fit(&step(CorrectionMode::Analytic), &network, &images(&network, 1, 1), student).unwrap();
    assert_eq!(after.network.content_hash(), network.content_hash());
}
