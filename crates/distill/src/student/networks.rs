//! Teacher and student as a step of the training runs them.

use std::cell::{Cell, OnceCell};

use blindfold_quant::QuantizedNetwork;
use blindfold_zoo::{BatchStatistics, FeatureTap, Layer, Network, Site, Tap, Taps, stream};
use burn::tensor::Tensor;

use super::config::BatchNorms;
use super::dropping::DroppingTap;
use crate::error::DistillError;
use crate::loss::{Head, Pair, View};
use crate::terms::Outputs;

/// How the student runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub(super) batch_norm: BatchNorms,
    /// Probability of an activation to pass unquantized.
    pub(super) drop: f64,
    pub(super) seed: u64,
    pub(super) step: usize,
}

/// Both networks in one step; counts the images that pass, and keeps the first fault of the student.
#[derive(Debug)]
pub(super) struct Networks<'a> {
    teacher: &'a Network,
    student: &'a QuantizedNetwork,
    mode: Mode,
    passes: Cell<u64>,
    fault: OnceCell<String>,
}

/// What the student made of a batch.
#[derive(Debug)]
pub(super) struct StudentRun {
    pub(super) outputs: Outputs,
    /// Those of its batch norms' inputs, where they normalise by them.
    pub(super) statistics: Option<BatchStatistics>,
}

impl<'a> Networks<'a> {
    pub(super) fn new(teacher: &'a Network, student: &'a QuantizedNetwork, mode: Mode) -> Self {
        Self { teacher, student, mode, passes: Cell::new(0), fault: OnceCell::new() }
    }

    /// Images that went through a network so far, backward passes not counted apart.
    pub(super) fn passes(&self) -> u64 {
        self.passes.get()
    }

    /// Whether the student could be quantized in all runs so far: what could not has passed as it was.
    pub(super) fn check(&self) -> Result<(), DistillError> {
        match self.fault.get() {
            Some(fault) => Err(DistillError::Diverged { step: self.mode.step, fault: fault.clone() }),
            None => Ok(()),
        }
    }

    /// The teacher on images; gradients flow to them where they are tracked.
    pub(super) fn teacher(&self, images: Tensor<4>, nodes: &[String]) -> Outputs {
        self.count(&images);
        let mut features = FeatureTap::new(nodes.iter().cloned());
        let logits = self.teacher.run(images, &mut features);
        Outputs { logits, features: features.features }
    }

    /// The student on images; `purpose` names the stream of what is dropped.
    pub(super) fn student(&self, images: Tensor<4>, nodes: &[String], purpose: &str) -> StudentRun {
        self.count(&images);
        let Mode { batch_norm, drop, seed, step } = self.mode;
        let random = stream(seed, &format!("activation drop/{step}/{purpose}"));
        let mut quantization = DroppingTap::new(self.student, drop, random);
        let mut features = FeatureTap::new(nodes.iter().cloned());
        let mut statistics = (batch_norm == BatchNorms::TrainedStatistics).then(BatchStatistics::default);
        let mut taps: Vec<&mut dyn Tap> = vec![&mut quantization, &mut features];
        if let Some(statistics) = &mut statistics {
            taps.push(statistics);
        }
        let logits = self.student.network.run(images.autodiff(), &mut Taps(taps));
        if let Some(fault) = quantization.fault() {
            self.fault.get_or_init(|| fault);
        }
        StudentRun { outputs: Outputs { logits, features: features.features }, statistics }
    }

    fn count(&self, images: &Tensor<4>) {
        self.passes.set(self.passes.get() + images.dims()[0] as u64);
    }
}

/// Both networks for one loss, which may show them other images.
#[derive(Debug)]
pub(super) struct TermPair<'a> {
    networks: &'a Networks<'a>,
    nodes: &'a [String],
    purpose: String,
    runs: Cell<usize>,
}

impl<'a> TermPair<'a> {
    /// For a loss that asked for these nodes; `purpose` names the loss and the batch that it looks at.
    pub(super) fn new(networks: &'a Networks<'a>, nodes: &'a [String], purpose: String) -> Self {
        Self { networks, nodes, purpose, runs: Cell::new(0) }
    }

    fn view(&self, mut outputs: Outputs) -> View {
        let features = self.nodes.iter().map(|node| {
            outputs.features.remove(node).expect("the run listened at the loss's nodes, which are the network's")
        });
        View { features: features.collect(), logits: outputs.logits }
    }
}

impl Pair for TermPair<'_> {
    fn student(&self, images: Tensor<4>) -> View {
        let run = self.runs.replace(self.runs.get() + 1);
        let purpose = format!("{}/{run}", self.purpose);
        self.view(self.networks.student(images, self.nodes, &purpose).outputs)
    }

    fn teacher(&self, images: Tensor<4>) -> View {
        self.view(self.networks.teacher(images, self.nodes))
    }

    fn head(&self) -> Option<Head> {
        let Networks { teacher, student, .. } = self.networks;
        let network = &student.network;
        let id = network.output();
        let node = network.node(id);
        let (Layer::Linear(_), Some(weight)) = (&node.layer, node.layer.weight()) else { return None };
        let [classes, features, ..] = weight.dims();
        let quantized = student.tap().weight(Site { id, node, network }, weight);
        let own = teacher.node(teacher.find(&node.name)?).layer.weight()?;
        let flat = |weight: Tensor<4>| weight.reshape([classes, features]);
        Some(Head { student: flat(quantized), teacher: flat(own.inner()) })
    }
}

#[cfg(test)]
mod tests {
    use blindfold_quant::{Families, Plan, QuantConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;
    use crate::testing::{network, noise};

    #[test]
    fn a_loss_sees_what_the_trainer_sees_and_every_image_counts() {
        let config: QuantConfig = toml::from_str("weight_bits = 4\nactivation_bits = 4").unwrap();
        let plan = Plan::new(&config, &network(3), &Families::builtin()).unwrap();
        let images = noise(16, 1).tensor(0..16, &Device::flex());
        let student = QuantizedNetwork::calibrate(network(3), plan, [images.clone()].into_iter()).unwrap().trainable();
        let teacher = network(3);
        let mode = Mode { batch_norm: BatchNorms::Fixed, drop: 0.0, seed: 1, step: 0 };
        let networks = Networks::new(&teacher, &student, mode);
        let nodes = ["relu1".to_owned(), "layer1.0.relu2".to_owned()];
        let ran = networks.student(images.clone(), &nodes, "batch").outputs;

        let pair = TermPair::new(&networks, &nodes[1..], "loss".to_owned());
        let (ours, theirs) = (pair.student(images.clone()), pair.teacher(images.clone()));
        assert_eq!(floats(ours.logits.inner()), floats(ran.logits.inner()));
        assert_eq!((ours.features.len(), theirs.features.len()), (1, 1));
        assert_eq!(floats(ours.features[0].clone().inner()), floats(ran.features["layer1.0.relu2"].clone().inner()));
        assert_eq!(floats(theirs.logits), floats(teacher.forward(images)));
        assert_eq!(networks.passes(), 3 * 16);
        networks.check().unwrap();

        let head = pair.head().unwrap();
        let weights = student.weight_tensors().unwrap();
        let linear = weights.iter().find(|weight| weight.name == "linear").unwrap();
        assert_eq!(floats(head.student.clone().inner()), linear.quantized().unwrap());
        assert_eq!((head.student.dims(), head.student.is_tracked()), ([4, 32], true));
        let (Layer::Linear(linear), false) = (&teacher.node(teacher.output()).layer, head.teacher.is_tracked()) else {
            panic!("the teacher ends in a linear layer without gradient")
        };
        assert_eq!(floats(head.teacher), floats(linear.weight.val()));
    }

    #[test]
    fn each_run_of_a_loss_drops_other_values_and_the_same_ones_again() {
        let config: QuantConfig = toml::from_str("weight_bits = 4\nactivation_bits = 2").unwrap();
        let plan = Plan::new(&config, &network(3), &Families::builtin()).unwrap();
        let images = noise(16, 1).tensor(0..16, &Device::flex());
        let student = QuantizedNetwork::calibrate(network(3), plan, [images.clone()].into_iter()).unwrap();
        let teacher = network(3);
        let logits = |step: usize| {
            let mode = Mode { batch_norm: BatchNorms::Fixed, drop: 0.5, seed: 1, step };
            let networks = Networks::new(&teacher, &student, mode);
            let pair = TermPair::new(&networks, &[], "loss".to_owned());
            [0, 1].map(|_| floats(pair.student(images.clone()).logits.inner()))
        };
        let [first, second] = logits(0);
        assert_ne!(first, second);
        assert_eq!(logits(0), [first.clone(), second]);
        assert_ne!(logits(1)[0], first);
    }
}
