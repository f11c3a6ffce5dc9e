//! Terms: names, nodes, weights by epoch, what a loss is shown, faults.

use blindfold_zoo::{Entry, Family, NetworkBuilder, Op};
use burn::tensor::Device;

use super::*;
use crate::network_pair::Twins;
use crate::reference::floats;

fn network(with_block: bool) -> Network {
    let device = Device::default();
    let mut builder = NetworkBuilder::new(&device, 1);
    let conv = builder.conv("layer1.0.conv1", 0, [3, 1, 3], 1, 1, false);
    let first = builder.op("layer1.0.relu1", &[conv], Op::Relu);
    if with_block {
        builder.block("layer1.0", conv, 0);
    }
    let second = builder.op("layer1.1.relu2", &[first], Op::Relu);
    if with_block {
        builder.block("layer1.1", second, first);
    }
    let pool = builder.op("avgpool", &[second], Op::GlobalAvgPool);
    builder.linear("linear", pool, 4, 3);
    builder.finish("tiny", [1, 4, 4], 4)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    loss: Vec<LossConfig>,
}

fn build(text: &str, network: &Network) -> Result<Vec<Term>, ConfigError> {
    let file: File = toml::from_str(text).unwrap();
    Term::build_all(&file.loss, &Plugins::builtin().unwrap(), network, 9)
}

fn weights(text: &str, epochs: usize) -> Vec<f64> {
    let terms = build(&format!("[[loss]]\nkind = 'logit-mse'\n{text}"), &network(true)).unwrap();
    (0..epochs).map(|epoch| terms[0].weight_at(epoch)).collect()
}

#[test]
fn patterns_and_blocks_become_nodes_in_the_networks_order() {
    let text = "[[loss]]\nkind = 'attention'\n[[loss]]\nkind = 'attention'\nnodes = ['*2', '*.relu*']\nweight = 0.5
        [[loss]]\nkind = 'rotation'\n[[loss]]\nkind = 'kl'";
    let terms = build(text, &network(true)).unwrap();
    assert_eq!(terms[0].nodes(), ["layer1.0.relu1", "layer1.1.relu2"]);
    assert_eq!(terms[1].nodes(), ["layer1.0.relu1", "layer1.1.relu2"]);
    assert_eq!(terms[2].nodes(), ["layer1.1.relu2"], "the last block's output alone");
    assert!(terms[3].nodes().is_empty());
    assert_eq!((terms[0].name.as_str(), terms[1].name.as_str()), ("attention", "attention-2"));
    assert_eq!((terms[0].weight_at(7), terms[1].weight_at(7)), (1.0, 0.5));
}

#[test]
fn a_weight_counts_in_its_epochs_alone() {
    assert_eq!(weights("weight = 2", 3), [2.0, 2.0, 2.0]);
    assert_eq!(weights("weight = 2\nfrom_epoch = 1", 3), [0.0, 2.0, 2.0]);
    assert_eq!(weights("weight = 2\nuntil_epoch = 1", 3), [2.0, 0.0, 0.0]);
    assert_eq!(weights("weight = 2\nfrom_epoch = 1\nuntil_epoch = 3", 4), [0.0, 2.0, 2.0, 0.0]);
    let terms =
        build("[[loss]]\nkind = 'kl'\n[[loss]]\nkind = 'kl'\nfrom_epoch = 2\nweight = 0", &network(true)).unwrap();
    assert_eq!([1, 2].map(|epoch| terms[1].is_on(epoch)), [false, true], "a loss of weight 0 is measured");
}

#[test]
fn a_ramp_is_a_straight_line_from_the_first_epoch_on() {
    assert_eq!(weights("weight = 4\nramp = { from = 0.0, epochs = 4 }", 6), [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    let text = "weight = 1\nfrom_epoch = 2\nuntil_epoch = 5\nramp = { from = 3.0, epochs = 2 }";
    assert_eq!(weights(text, 6), [0.0, 0.0, 3.0, 2.0, 1.0, 0.0]);
}

#[test]
fn every_epoch_needs_a_loss() {
    let check = |text: &str, epochs| Term::check_epochs(&build(text, &network(true)).unwrap(), epochs);
    let gap = "[[loss]]\nkind = 'kl'\nuntil_epoch = 2\n[[loss]]\nkind = 'logit-mse'\nfrom_epoch = 3";
    check(gap, 2).unwrap();
    let message = check(gap, 5).unwrap_err().to_string();
    assert!(message.contains("`loss`") && message.contains("in epoch 2,"), "{message}");
    let ramp = "[[loss]]\nkind = 'kl'\nramp = { from = 0.0, epochs = 10 }";
    assert!(check(ramp, 5).unwrap_err().to_string().contains("in epoch 0,"));
    check("[[loss]]\nkind = 'kl'\nweight = 0\nramp = { from = 1.0, epochs = 5 }", 5).unwrap();
}

#[test]
fn perturb_is_an_epsilon_of_its_own_loss() {
    let terms = build("[[loss]]\nkind = 'kl'\n[[loss]]\nkind = 'kl'\nperturb = 0.01", &network(true)).unwrap();
    assert_eq!((terms[0].perturb(), terms[1].perturb()), (None, Some(0.01)));
    assert_eq!(terms[1].name, "kl-2");
}

#[test]
fn a_table_survives_a_round_trip_and_keeps_its_keys_from_the_loss() {
    let text = "[[loss]]\nkind = 'kl'\nweight = 20\nfrom_epoch = 4\nuntil_epoch = 100\nperturb = 0.01
        augment = [{ kind = 'flip', probability = 1.0 }, { kind = 'low-pass' }]
        ramp = { from = 1.0, epochs = 5 }\ntemperature = 20.0\n[[loss]]\nkind = 'logit-mse'";
    let file: File = toml::from_str(text).unwrap();
    assert_eq!(file.loss[0].options, toml::toml! { temperature = 20.0 });
    assert_eq!(file.loss[0].ramp, Some(Ramp { from: 1.0, epochs: 5 }));
    let augment: Vec<&str> = file.loss[0].augment.iter().map(|augmentation| augmentation.kind.as_str()).collect();
    assert_eq!(
        (augment, &file.loss[0].augment[0].options),
        (vec!["flip", "low-pass"], &toml::toml! { probability = 1.0 })
    );
    assert_eq!(file.loss[1], LossConfig::of("logit-mse"));
    assert_eq!(file, toml::from_str(&toml::to_string(&file).unwrap()).unwrap());
    let plain = toml::to_string(&LossConfig::of("kl")).unwrap();
    assert!(["epoch", "ramp", "perturb", "augment"].iter().all(|key| !plain.contains(key)), "{plain}");
}

#[test]
fn faults_name_the_loss_and_the_key() {
    let message = |text: &str, with_block| build(text, &network(with_block)).unwrap_err().to_string();
    assert!(message("loss = []", true).contains("at least one"));
    assert!(message("[[loss]]\nkind = 'kl'\nweight = 0", true).contains("weight > 0"));
    assert!(message("[[loss]]\nkind = 'kll'", true).contains("did you mean `kl`?"));
    assert!(message("[[loss]]\nkind = 'kl'\ntemperatur = 1", true).contains("temperatur"));
    for (key, found) in [
        ("weight = -1", "`loss.kl.weight`: -1"),
        ("until_epoch = 0", "`loss.kl.until_epoch`: 0"),
        ("from_epoch = 3\nuntil_epoch = 3", "`loss.kl.until_epoch`: 3"),
        ("ramp = { from = -1.0, epochs = 3 }", "`loss.kl.ramp.from`: -1"),
        ("ramp = { from = 0.0, epochs = 0 }", "`loss.kl.ramp.epochs`: 0"),
        ("perturb = 0.0", "`loss.kl.perturb`: 0"),
        ("perturb = inf", "`loss.kl.perturb`: inf"),
        ("augment = [{ kind = 'mixpu' }]", "did you mean `mixup`?"),
        ("augment = [{ kind = 'flip', probabilty = 1.0 }]", "in `augment`: in `flip`:"),
        ("augment = [{ kind = 'flip' }, { kind = 'mixup', alpha = 0.0 }]", "`loss.kl.augment.mixup.alpha`: 0"),
        ("augment = [{ kind = 'shift', pad = 4 }]", "`loss.kl.augment.shift.pad`: 4"),
    ] {
        let text = message(&format!("[[loss]]\nkind = 'kl'\n{key}"), true);
        assert!(text.contains(found), "{key}: {text}");
    }
    let text = message("[[loss]]\nkind = 'feature-mse'\nnodes = ['layer1.0.relu3']", true);
    assert!(text.contains("`loss.feature-mse.nodes`") && text.contains("did you mean `layer1.0.relu"), "{text}");
    assert!(message("[[loss]]\nkind = 'feature-mse'", false).contains("has no blocks"));
    let text = message("[[loss]]\nkind = 'rotation'", false);
    assert!(text.contains("`loss.rotation.nodes`") && text.contains("the last block's output"), "{text}");
    assert!(toml::from_str::<File>("[[loss]]\nkind = 'kl'\nramp = { to = 1.0 }").is_err());
    assert!(toml::from_str::<File>("[[loss]]\nkind = 'kl'\naugment = 'flip'").is_err());
}

#[test]
fn a_network_that_a_loss_does_not_fit_is_refused_by_its_own_check() {
    let message = |text: &str| build(text, &network(true)).unwrap_err().to_string();
    assert!(message("[[loss]]\nkind = 'masked-patch'").contains("`loss.masked-patch.patch`: 4"));
    assert!(message("[[loss]]\nkind = 'contrastive'\nshift = 4").contains("`loss.contrastive.shift`: 4"));
    let text = message("[[loss]]\nkind = 'grad-cam'\nnodes = ['layer1.0.relu1']");
    assert!(text.contains("`loss.grad-cam.nodes`") && text.contains("layer1.1.relu2"), "{text}");
    build("[[loss]]\nkind = 'grad-cam'", &network(true)).unwrap();
}

/// Its value adds up what it is shown, each part in a decimal place of its own.
#[derive(Debug)]
struct Probe;

impl Loss for Probe {
    fn features(&self) -> Features<'_> {
        Features::LastBlock
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        assert_eq!((signals.step, signals.seed), (5, 6));
        assert_eq!(signals.features.len(), 1);
        assert!(signals.labels.is_some() && signals.soft_labels.is_none());
        let pair = &signals.features[0];
        assert_eq!(pair.node, "layer1.1.relu2");
        let view = signals.networks.unwrap().student(signals.images.clone().unwrap());
        signals.student.clone().mean()
            + signals.teacher.clone().mean().mul_scalar(10.0)
            + pair.student.clone().mean().mul_scalar(100.0)
            + pair.teacher.clone().mean().mul_scalar(1000.0)
            + view.logits.mean().mul_scalar(10000.0)
    }
}

const PROBE: Entry<dyn Loss> = Entry {
    name: "probe",
    summary: "",
    source: "",
    defaults: toml::Table::new,
    build: |_| Ok(Box::new(Probe) as Box<dyn Loss>),
};

#[test]
fn a_loss_is_shown_its_own_nodes_the_batch_and_both_networks() {
    let device = Device::default();
    let plugins = Plugins { losses: Family::new("loss", &[PROBE]).unwrap(), ..Plugins::builtin().unwrap() };
    let terms = Term::build_all(&[LossConfig::of("probe")], &plugins, &network(true), 9).unwrap();
    let outputs = |logit: f64, feature: f64| Outputs {
        logits: Tensor::<2>::ones([2, 4], &device).mul_scalar(logit),
        features: BTreeMap::from([
            ("layer1.0.relu1".to_owned(), Tensor::<4>::ones([2, 3, 4, 4], &device).mul_scalar(50.0)),
            ("layer1.1.relu2".to_owned(), Tensor::<4>::ones([2, 3, 4, 4], &device).mul_scalar(feature)),
        ]),
    };
    let batch = Shown {
        images: Tensor::<4>::ones([2, 1, 4, 4], &device).mul_scalar(5.0),
        labels: Some(Tensor::from_ints([0, 3], &device)),
        soft_labels: None,
    };
    let value = terms[0].value(&outputs(1.0, 3.0), &outputs(2.0, 4.0), &batch, &Twins(|images| images), 5, 6);
    assert_eq!(floats(value), [54321.0]);
}
