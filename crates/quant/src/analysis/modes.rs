//! Which tensors of a network are quantized while it runs.

use blindfold_zoo::{BatchNorm2d, Network, NodeId, Site, Tap};
use burn::tensor::Tensor;

use crate::audit::Role;
use crate::error::QuantError;
use crate::network::{FakeQuantTap, QuantizedNetwork};

/// Which tensors of one kind are quantized, by the names of their nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// None.
    Nothing,
    /// All that the plan quantizes.
    All,
    /// That of one node.
    Only(&'a str),
    /// All but that of one node.
    AllBut(&'a str),
}

impl Chosen<'_> {
    /// Whether the tensor of that node is among them.
    pub fn holds(self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Only(one) => name == one,
            Self::AllBut(one) => name != one,
        }
    }
}

/// Which weights and which activations are quantized; the rest is the teacher's.
///
/// A node's parameters are the student's where its weight is chosen, and the teacher's elsewhere: of a student whose
/// weights were rounded or trained by a fitting step, a choice takes the outcome with it. Biases go with their weights,
/// and batch norms with the weighted layer before them. With nothing chosen the network is the teacher, with everything
/// the student, both to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Weights, by layer.
    pub weights: Chosen<'a>,
    /// Activations, by site.
    pub activations: Chosen<'a>,
}

impl<'a> Selection<'a> {
    /// The teacher.
    pub const NOTHING: Self = Self { weights: Chosen::Nothing, activations: Chosen::Nothing };
    /// All weights, no activations.
    pub const WEIGHTS: Self = Self { weights: Chosen::All, activations: Chosen::Nothing };
    /// All activations, no weights.
    pub const ACTIVATIONS: Self = Self { weights: Chosen::Nothing, activations: Chosen::All };
    /// The student.
    pub const BOTH: Self = Self { weights: Chosen::All, activations: Chosen::All };

    /// Enable-one: a single tensor, everything else in floating point.
    pub fn only(role: Role, name: &'a str) -> Self {
        match role {
            Role::Weight => Self { weights: Chosen::Only(name), ..Self::NOTHING },
            Role::Activation => Self { activations: Chosen::Only(name), ..Self::NOTHING },
        }
    }

    /// Disable-one: everything but a single tensor.
    pub fn all_but(role: Role, name: &'a str) -> Self {
        match role {
            Role::Weight => Self { weights: Chosen::AllBut(name), ..Self::BOTH },
            Role::Activation => Self { activations: Chosen::AllBut(name), ..Self::BOTH },
        }
    }

    /// The network to run under a [`SelectiveTap`]: the student's parameters where weights are chosen, the teacher's
    /// elsewhere. Both are of one graph.
    pub fn network(self, teacher: &Network, student: &Network) -> Network {
        let owners = owners(student);
        let mut id: NodeId = 0;
        teacher.clone().map_layers(|_, layer| {
            let own = owners[id].is_some_and(|owner| self.weights.holds(&student.node(owner).name));
            let chosen = if own { student.node(id).layer.clone() } else { layer };
            id += 1;
            chosen
        })
    }
}

/// For each node the weighted layer that its parameters go with: itself, the last one before it, or else the first of
/// all.
fn owners(network: &Network) -> Vec<Option<NodeId>> {
    let first = network.nodes().iter().position(|node| node.layer.has_weight());
    let mut latest = first;
    (0..network.nodes().len())
        .map(|id| {
            if network.node(id).layer.has_weight() {
                latest = Some(id);
            }
            latest
        })
        .collect()
}

/// Quantizes the chosen tensors as [`FakeQuantTap`] does, and passes the others through.
#[derive(Debug)]
pub struct SelectiveTap<'a> {
    inner: FakeQuantTap<'a>,
    selection: Selection<'a>,
}

impl<'a> SelectiveTap<'a> {
    /// A tap for one run of [`Selection::network`].
    pub fn new(student: &'a QuantizedNetwork, selection: Selection<'a>) -> Self {
        Self { inner: student.tap(), selection }
    }

    /// Whether all went well.
    ///
    /// # Errors
    /// The first fault of the run.
    pub fn finish(self) -> Result<(), QuantError> {
        self.inner.into_fault().map_or(Ok(()), Err)
    }
}

impl Tap for SelectiveTap<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        if self.selection.weights.holds(&site.node.name) { self.inner.weight(site, weight) } else { weight }
    }

    fn input(&mut self, site: Site<'_>, index: usize, input: Tensor<4>) -> Tensor<4> {
        let from = &site.network.node(site.node.inputs[index]).name;
        if self.selection.activations.holds(from) { self.inner.input(site, index, input) } else { input }
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.selection.activations.holds(&site.node.name) { self.inner.output(site, output) } else { output }
    }

    fn batch_norm(&mut self, site: Site<'_>, layer: &BatchNorm2d, input: &Tensor<4>) -> Option<Tensor<4>> {
        self.inner.batch_norm(site, layer, input)
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Layer, NoTap};

    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn run(selection: Selection<'_>, teacher: &Network, student: &QuantizedNetwork, x: &Tensor<4>) -> Vec<f32> {
        let mut tap = SelectiveTap::new(student, selection);
        let logits = selection.network(teacher, &student.network).run(x.clone(), &mut tap);
        tap.finish().unwrap();
        values(logits)
    }

    fn pair(protocol: Protocol) -> (Network, QuantizedNetwork) {
        let config = QuantConfig {
            protocol,
            weight_bits: Precision::Int(3),
            activation_bits: Precision::Int(3),
            ..Default::default()
        };
        let network = small(1);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 8, 2);
        let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap();
        (student.plan.prepare(network).unwrap(), student)
    }

    /// As a fitting step might leave it: other weights, biases and batch norms than the teacher's.
    fn fitted(student: &QuantizedNetwork) -> QuantizedNetwork {
        let network = student.network.clone().map_layers(|_, layer| match layer {
            Layer::Conv2d(mut conv) => {
                conv.weight = conv.weight.map(|weight| weight * 1.1);
                conv.bias = conv.bias.map(|bias| bias.map(|bias| bias + 0.1));
                Layer::Conv2d(conv)
            }
            Layer::BatchNorm2d(mut bn) => {
                bn.beta = bn.beta.map(|beta| beta - 0.2);
                Layer::BatchNorm2d(bn)
            }
            other => other,
        });
        student.clone().with_network(network)
    }

    #[test]
    fn with_nothing_chosen_it_is_the_teacher_and_with_all_the_student_to_the_bit() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let (teacher, calibrated) = pair(protocol);
            let x = images(&teacher, 5, 9);
            for student in [fitted(&calibrated), calibrated] {
                let nothing = run(Selection::NOTHING, &teacher, &student, &x);
                assert_eq!(nothing, values(teacher.run(x.clone(), &mut NoTap)), "{protocol}");
                let both = run(Selection::BOTH, &teacher, &student, &x);
                assert_eq!(both, values(student.forward(x.clone())), "{protocol}");
                assert_ne!(both, nothing);
            }
        }
    }

    #[test]
    fn weights_alone_are_the_student_without_its_activation_codecs() {
        let (teacher, student) = pair(Protocol::Gdfq);
        let x = images(&teacher, 5, 9);
        let mut without = student.clone();
        without.activations.clear();
        assert_eq!(run(Selection::WEIGHTS, &teacher, &student, &x), values(without.forward(x)));
    }

    #[test]
    fn activations_alone_are_the_teacher_with_its_sites_quantized() {
        struct Sites<'a>(&'a QuantizedNetwork);
        impl Tap for Sites<'_> {
            fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
                match self.0.activations.get(&site.node.name) {
                    Some(codec) => codec.fake_quantize(output),
                    None => output,
                }
            }
        }
        let (teacher, student) = pair(Protocol::Brecq);
        let x = images(&teacher, 5, 9);
        let expected = values(teacher.run(x.clone(), &mut Sites(&student)));
        assert_eq!(run(Selection::ACTIVATIONS, &teacher, &student, &x), expected);
    }

    #[test]
    fn a_choice_holds_what_it_says() {
        for (chosen, own, other) in [
            (Chosen::Nothing, false, false),
            (Chosen::All, true, true),
            (Chosen::Only("a"), true, false),
            (Chosen::AllBut("a"), false, true),
        ] {
            assert_eq!((chosen.holds("a"), chosen.holds("b")), (own, other), "{chosen:?}");
        }
        let only = Selection::only(Role::Activation, "relu1");
        assert_eq!((only.weights, only.activations), (Chosen::Nothing, Chosen::Only("relu1")));
        let but = Selection::all_but(Role::Weight, "conv1");
        assert_eq!((but.weights, but.activations), (Chosen::AllBut("conv1"), Chosen::All));
    }

    #[test]
    fn batch_norms_go_with_the_layer_before_them() {
        let (teacher, calibrated) = pair(Protocol::Gdfq);
        let student = fitted(&calibrated);
        let network = Selection::only(Role::Weight, "layer1.0.conv1").network(&teacher, &student.network);
        let changed: Vec<&str> = network
            .state()
            .iter()
            .zip(teacher.state())
            .filter(|((_, new), (_, old))| new != old)
            .map(|((name, _), _)| name.as_str())
            .map(|name| network.nodes().iter().find(|node| name.starts_with(&format!("{}.", node.name))).unwrap())
            .map(|node| node.name.as_str())
            .collect();
        assert_eq!(changed, ["layer1.0.conv1", "layer1.0.bn1"]);
    }
}
