use blindfold_zoo::{Conv2d, Layer, Linear, Network, NetworkBuilder, Op};
use burn::tensor::{Device, TensorData};

use super::reference::{check, reference, tensor};
use super::*;
use crate::bn::{Statistics, Target};
use crate::progress::{NoProgress, Progress, Step};
use crate::sample::{host, images, loss, normalization, probability_of_labels, small_network};

/// A teacher of three classes for images `[3, 8, 8]`: the answer is the channel with the largest mean.
pub(crate) fn easy_teacher() -> Network {
    let device = Device::flex();
    let identity = |scale: f32| -> Vec<f32> { (0..9).map(|place| if place % 4 == 0 { scale } else { 0.0 }).collect() };
    let mut builder = NetworkBuilder::new(&device, 1);
    let weight = TensorData::new(identity(1.0), [3, 3, 1, 1]);
    let conv = Conv2d::new("conv", weight, None, [1; 2], [0; 2], 1, &device);
    let conv = builder.push("conv", &[0], Layer::Conv2d(conv));
    let bn = builder.batch_norm("bn", conv, 3);
    let pool = builder.op("avgpool", &[bn], Op::GlobalAvgPool);
    let flat = builder.op("flatten", &[pool], Op::Flatten);
    let bias = TensorData::new(vec![0.0f32; 3], [3]);
    let linear = Linear::new("linear", TensorData::new(identity(4.0), [3, 3]), Some(bias), &device);
    builder.push("linear", &[flat], Layer::Linear(linear));
    builder.finish("easy", [3, 8, 8], 3)
}

fn make(teacher: &Network, config: &ClassCentresConfig, seed: u64, progress: &mut dyn Progress) -> ImageSet {
    let normalization = normalization();
    let mut request = Request { teacher, normalization: &normalization, seed, real: None, progress };
    class_centres(config, &mut request, 100).unwrap()
}

#[test]
fn centres_are_one_a_class_and_classified_as_asked() {
    let teacher = easy_teacher();
    let config = ClassCentresConfig { iterations: 60, ..ClassCentresConfig::default() };
    let images = make(&teacher, &config, 3, &mut NoProgress);
    assert_eq!(images.labels, Some(vec![0, 1, 2]));
    let logits: Vec<f32> = teacher.forward(images.tensor(0..3, &Device::flex())).into_data().iter::<f32>().collect();
    for (class, answer) in logits.chunks(3).enumerate() {
        let best = (0..3).max_by(|&a, &b| answer[a].total_cmp(&answer[b])).unwrap();
        assert_eq!(best, class, "{answer:?}");
    }
    assert!(probability_of_labels(&teacher, &images) > 0.9);
}

#[test]
fn the_seed_decides_and_the_order_is_that_of_the_classes() {
    let teacher = small_network(1);
    let config = ClassCentresConfig { iterations: 3, batch: 4, ..ClassCentresConfig::default() };
    let images = make(&teacher, &config, 3, &mut NoProgress);
    assert_eq!(images.labels, Some((0..6).collect()));
    assert_eq!(images, make(&teacher, &config, 3, &mut NoProgress));
    assert_ne!(images.pixels, make(&teacher, &config, 4, &mut NoProgress).pixels);
    assert_eq!(config.total(6), 6);
}

#[derive(Default)]
struct Heard(Vec<(usize, usize, String)>);

impl Progress for Heard {
    fn step(&mut self, step: Step<'_>) {
        self.0.push((step.iteration, step.total, step.scalars[0].0.to_owned()));
    }
}

#[test]
fn stages_count_on() {
    let mut heard = Heard::default();
    let config = ClassCentresConfig { iterations: 2, ..ClassCentresConfig::default() };
    make(&easy_teacher(), &config, 3, &mut heard);
    let mut stage = super::stage::Stage { progress: &mut heard, prefix: "", before: 2, total: 100 };
    stage.step(Step { iteration: 1, total: 98, scalars: &[("loss", 1.0)] });
    assert!(!stage.cancelled());
    let expected = [(1, "centres_loss"), (2, "centres_loss"), (3, "loss")];
    assert_eq!(heard.0, expected.map(|(iteration, name)| (iteration, 100, name.to_owned())));
}

#[test]
fn early_and_late_layers_have_their_weights() {
    let config = ClassCentresConfig::default();
    let weights = |layers: usize| (0..layers).map(|layer| config.weight(layer, layers)).collect::<Vec<f64>>();
    assert_eq!(weights(4), [0.2, 0.2, 1.1, 1.1]);
    assert_eq!(weights(3), [0.2, 0.2, 1.1]);
    assert_eq!(weights(1), [0.2]);
    let all = ClassCentresConfig { early_share: 0.0, ..ClassCentresConfig::default() };
    assert!((0..4).all(|layer| all.is_late(layer, 4)));
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dims(), expected.dims());
    for (found, expected) in host(&found).iter().zip(host(&expected)) {
        assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{found} instead of {expected}");
    }
}

#[test]
fn pooled_statistics_are_those_of_the_groups_images_alone() {
    let observed = ObservedNetwork::new(&small_network(1), true).unwrap();
    let images = images(5, 3);
    let (_, apart) = observed.run(images.clone(), PER_IMAGE);
    let labels = [4, 0, 4, 4, 0];
    let groups = Groups::new(&labels, &Device::flex());
    assert_eq!(groups.classes, [0, 4]);
    let pooled = groups.pool(&apart);
    for (row, class) in groups.classes.iter().enumerate() {
        let own = (0..5).filter(|&index| labels[index] == *class).map(|index| images.clone().narrow(0, index, 1));
        let (_, expected) = observed.run(Tensor::cat(own.collect(), 0), OF_BATCH);
        close(pooled.mean.clone().narrow(0, row, 1), expected.mean);
        close(pooled.var.clone().narrow(0, row, 1), expected.var);
    }
    let whole = Groups::whole(5, &Device::flex()).pool(&apart);
    let (_, expected) = observed.run(images, OF_BATCH);
    close(whole.mean.clone(), expected.mean.clone());
    close(whole.var.clone(), expected.var.clone());
    let target = observed.target();
    let distance = layered_distance(&whole, [&target.mean, &target.var], |_| 1.0);
    close(distance, loss("mean-var-mse", "").evaluate(&expected, 5));
}

#[test]
fn moments_of_all_images_do_not_depend_on_the_batch() {
    let observed = ObservedNetwork::new(&small_network(1), true).unwrap();
    let config = ClassCentresConfig { iterations: 0, ..ClassCentresConfig::default() };
    let images = make(&small_network(1), &config, 3, &mut NoProgress);
    let [one, all] = [4, 6].map(|batch| moments_of(&observed, &images, batch));
    close(one.mean, all.mean);
    close(one.var, all.var);
}

#[test]
fn the_layered_distance_is_that_of_pytorch() {
    let reference = reference();
    let row = |key: &str| tensor::<2>(&reference[key], [2, 5]);
    let (goal_mean, goal_var, var) = (row("goal_mean"), row("goal_var"), row("var"));
    check("layered", &reference["layered"], row("mean"), |mean| {
        let target = Target {
            mean: Tensor::zeros([1, 5], &Device::flex()),
            var: Tensor::ones([1, 5], &Device::flex()),
            layers: vec![0..2, 2..5],
            exact: false,
        };
        let statistics = Statistics { mean, var: var.clone(), target };
        layered_distance(&statistics, [&goal_mean, &goal_var], |layer| [0.2, 1.1][layer])
    });
}

#[test]
fn faults_name_their_key() {
    let message = |change: fn(&mut ClassCentresConfig)| {
        let mut config = ClassCentresConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(message(|config| config.batch = 0).starts_with("`batch`: 0 is not valid"));
    assert!(message(|config| config.late_weight = -1.0).starts_with("`late_weight`: -1 is not valid"));
    assert!(message(|config| config.early_share = 1.5).starts_with("`early_share`: 1.5 is not valid"));
    assert!(message(|config| config.optimizer.lr = 0.0).starts_with("`optimizer.lr`: 0 is not valid"));
    ClassCentresConfig::default().validate().unwrap();
}
