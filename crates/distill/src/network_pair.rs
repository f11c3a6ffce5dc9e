//! Two networks as losses see them, for tests.

use blindfold_zoo::{FeatureTap, Layer, Network};
use burn::tensor::Tensor;

use crate::loss::{FeaturePair, Head, Pair, Signals, View};

/// A student and a teacher, neither of them quantized.
#[derive(Debug)]
pub(crate) struct NetworkPair {
    pub(crate) student: Network,
    pub(crate) teacher: Network,
    /// The nodes whose outputs a view holds, in the networks' order.
    pub(crate) nodes: Vec<String>,
}

impl NetworkPair {
    fn view(&self, network: &Network, images: Tensor<4>) -> View {
        let mut tap = FeatureTap::new(self.nodes.iter().cloned());
        let logits = network.run(images, &mut tap);
        View { logits, features: self.nodes.iter().map(|node| tap.features[node].clone()).collect() }
    }
}

impl Pair for NetworkPair {
    fn student(&self, images: Tensor<4>) -> View {
        self.view(&self.student, images.autodiff())
    }

    fn teacher(&self, images: Tensor<4>) -> View {
        self.view(&self.teacher, images)
    }

    fn head(&self) -> Option<Head> {
        let weight = |network: &Network| match &network.node(network.output()).layer {
            Layer::Linear(linear) => Some(linear.weight.val()),
            _ => None,
        };
        Some(Head { student: weight(&self.student)?, teacher: weight(&self.teacher)? })
    }
}

/// A student that is its teacher: both compute this one map of the images; the logits are its means over positions.
#[derive(Debug)]
pub(crate) struct Twins(pub(crate) fn(Tensor<4>) -> Tensor<4>);

impl Pair for Twins {
    fn student(&self, images: Tensor<4>) -> View {
        self.teacher(images)
    }

    fn teacher(&self, images: Tensor<4>) -> View {
        let map = (self.0)(images);
        let [batch, channels, height, width] = map.dims();
        let logits = map.clone().reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels]);
        View { logits, features: vec![map] }
    }
}

/// What a batch shows to a loss: labels are left out, the step is 0 and so is the seed.
pub(crate) fn signals_of<'a>(networks: &'a dyn Pair, images: Tensor<4>) -> Signals<'a> {
    let (student, teacher) = (networks.student(images.clone()), networks.teacher(images.clone()));
    let features = student.features.into_iter().zip(teacher.features).enumerate();
    let features =
        features.map(|(index, (student, teacher))| FeaturePair { node: format!("node{index}"), student, teacher });
    Signals {
        features: features.collect(),
        images: Some(images),
        networks: Some(networks),
        ..Signals::of_logits(student.logits, teacher.logits)
    }
}
