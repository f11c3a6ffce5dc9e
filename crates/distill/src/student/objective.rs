//! What a step minimises: the losses of a batch and the gradients of their weighted sum.

use std::collections::BTreeMap;

use blindfold_quant::{LearnedParameters, QuantizedNetwork};
use blindfold_zoo::{BatchStatistics, Network};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};

use super::gradient_norm::gradient_norm;
use super::networks::{Networks, TermPair};
use crate::error::DistillError;
use crate::feed::Shown;
use crate::terms::{Outputs, Term};

/// The losses of one step.
///
/// Losses without `perturb` look at the batch `x`. Those with `perturb = e` look at
///
/// ```text
/// x + e * sign(dL/dx)      L: the weighted sum of the losses without `perturb`, at x; where none of them has a weight
///                             above 0, that of all losses, at x
/// ```
/// which both networks read anew; `dL/dx` flows through student and teacher, and `x + ...` is a constant from there on. A loss
/// that is off in the epoch is not evaluated. The decay that learned quantizers ask for is added to the gradients, not to the
/// values.
///
/// # Source
/// Li, Wu, Lv et al., Hard Sample Matters a Lot in Zero-Shot Quantization, CVPR 2023 (sample difficulty promotion).
pub(super) struct Objective<'a> {
    pub(super) networks: &'a Networks<'a>,
    pub(super) student: &'a QuantizedNetwork,
    pub(super) terms: &'a [Term],
    /// The nodes that any of the terms compares.
    pub(super) nodes: &'a [String],
    /// Epoch of training, from 0.
    pub(super) epoch: usize,
    pub(super) step: usize,
    pub(super) seed: u64,
}

/// What the losses of a step came to.
pub(super) struct Evaluated {
    /// The losses that are on, with the places of their terms: unweighted, without gradient.
    pub(super) values: Vec<(usize, Tensor<1>)>,
    /// Of the weighted sum, for the parameters of the student's network.
    pub(super) network: GradientsParams,
    /// Of the weighted sum, for the parameters of its quantizers.
    pub(super) quantizers: GradientsParams,
    /// Share of the batch for which both networks find the same class most likely, `[1]`.
    pub(super) agreement: Tensor<1>,
    /// Those of the batch at the student's batch norms, where they normalise by them.
    pub(super) statistics: Option<BatchStatistics>,
    /// The images that the terms looked at.
    pub(super) seen: Vec<Seen>,
}

/// Images that some of the terms looked at.
pub(super) struct Seen {
    /// The places of these terms.
    terms: Vec<usize>,
    shown: Shown,
    /// What the teacher made of them, without gradient.
    teacher: Outputs,
    purpose: String,
}

/// Both networks on the images of one batch.
struct Pass {
    student: Outputs,
    teacher: Outputs,
    statistics: Option<BatchStatistics>,
    purpose: String,
}

impl Objective<'_> {
    /// All losses on a batch, with the gradients of their weighted sum.
    pub(super) fn evaluate(&self, batch: &Shown) -> Result<Evaluated, DistillError> {
        let plain = self.places(|epsilon| epsilon.is_none());
        let groups = self.perturbed();
        let tracked = match groups.is_empty() {
            true => batch.clone(),
            false => batch.with_images(batch.images.clone().autodiff().require_grad()),
        };
        let mut sum = Sum::new(self.student);

        let pass = self.run(&tracked, "batch".to_owned());
        self.networks.check()?;
        let agreement = agreement(&pass);
        let (mut values, total) = self.values(&plain, &pass, &tracked);
        let direction = match total {
            Some(total) => tracked.images.grad(&sum.add(total)),
            None if groups.is_empty() => None,
            None => {
                let (_, total) = self.values(&self.places(|epsilon| epsilon.is_some()), &pass, &tracked);
                total.and_then(|total| tracked.images.grad(&total.backward()))
            }
        };
        let mut seen = vec![pass.seen(plain, batch)];

        for (index, (epsilon, places)) in groups.into_iter().enumerate() {
            let images = batch.images.clone();
            let shown = batch.with_images(match &direction {
                Some(gradient) => images + gradient.clone().sign().mul_scalar(epsilon),
                None => images,
            });
            let pass = self.run(&shown, format!("perturbed {index}"));
            let (more, total) = self.values(&places, &pass, &shown);
            values.extend(more);
            if let Some(total) = total {
                sum.add(total);
            }
            seen.push(pass.seen(places, &shown));
        }
        self.networks.check()?;
        if let Some(penalty) = self.student.learned_penalty() {
            sum.add(penalty);
        }
        values.sort_by_key(|(place, _)| *place);
        let values = values.into_iter().map(|(place, value)| (place, value.inner())).collect();
        let (network, quantizers) = (sum.network.grads(), sum.quantizers.grads());
        Ok(Evaluated { values, network, quantizers, agreement, statistics: pass.statistics, seen })
    }

    /// The norm of the gradient of each unweighted loss over all parameters of the student's network, by the places of the
    /// terms.
    ///
    /// Each takes its own pass through the student, because a graph can be gone through once.
    pub(super) fn gradient_norms(&self, seen: &[Seen]) -> BTreeMap<usize, f64> {
        let mut norms = BTreeMap::new();
        for Seen { terms, shown, teacher, purpose } in seen {
            for &place in terms {
                let student = self.networks.student(shown.images.clone(), self.nodes, purpose).outputs;
                let value = self.value(place, &student, teacher, shown, purpose);
                let norm = match value.is_tracked() {
                    true => {
                        let network = &self.student.network;
                        gradient_norm(network, &GradientsParams::from_grads(value.backward(), network))
                    }
                    false => 0.0,
                };
                norms.insert(place, norm);
            }
        }
        norms
    }

    /// The places of the terms that are on and whose epsilon is so.
    fn places(&self, so: impl Fn(Option<f64>) -> bool) -> Vec<usize> {
        let terms = self.terms.iter().enumerate();
        terms.filter(|(_, term)| term.is_on(self.epoch) && so(term.perturb())).map(|(place, _)| place).collect()
    }

    /// The terms that look at perturbed images, by their epsilon, in the order of their first use.
    fn perturbed(&self) -> Vec<(f64, Vec<usize>)> {
        let mut groups: Vec<(f64, Vec<usize>)> = Vec::new();
        for place in self.places(|epsilon| epsilon.is_some()) {
            let Some(epsilon) = self.terms[place].perturb() else { continue };
            match groups.iter_mut().find(|(known, _)| *known == epsilon) {
                Some((_, places)) => places.push(place),
                None => groups.push((epsilon, vec![place])),
            }
        }
        groups
    }

    fn run(&self, shown: &Shown, purpose: String) -> Pass {
        let teacher = self.networks.teacher(shown.images.clone(), self.nodes);
        let ran = self.networks.student(shown.images.clone(), self.nodes, &purpose);
        Pass { student: ran.outputs, teacher, statistics: ran.statistics, purpose }
    }

    /// The values of some terms, and their weighted sum; no sum where all weights are 0.
    fn values(&self, places: &[usize], pass: &Pass, shown: &Shown) -> (Vec<(usize, Tensor<1>)>, Option<Tensor<1>>) {
        let value = |place: usize| self.value(place, &pass.student, &pass.teacher, shown, &pass.purpose);
        let values: Vec<(usize, Tensor<1>)> = places.iter().map(|&place| (place, value(place))).collect();
        let weighted = values.iter().filter_map(|(place, value)| {
            let weight = self.terms[*place].weight_at(self.epoch);
            (weight > 0.0).then(|| value.clone().mul_scalar(weight))
        });
        let total = weighted.reduce(|sum, value| sum + value);
        (values, total)
    }

    fn value(&self, place: usize, student: &Outputs, teacher: &Outputs, shown: &Shown, purpose: &str) -> Tensor<1> {
        let term = &self.terms[place];
        let pair = TermPair::new(self.networks, term.nodes(), format!("{purpose}/{}", term.name));
        term.value(student, teacher, shown, &pair, self.step as u64, self.seed)
    }
}

impl Pass {
    fn seen(&self, terms: Vec<usize>, shown: &Shown) -> Seen {
        let features = self.teacher.features.iter().map(|(node, output)| (node.clone(), output.clone().inner()));
        let teacher = Outputs { logits: self.teacher.logits.clone().inner(), features: features.collect() };
        Seen { terms, shown: shown.clone(), teacher, purpose: self.purpose.clone() }
    }
}

fn agreement(pass: &Pass) -> Tensor<1> {
    let best = |outputs: &Outputs| outputs.logits.clone().inner().argmax(1);
    best(&pass.student).equal(best(&pass.teacher)).float().mean()
}

/// Gradients of several passes, summed.
struct Sum<'a> {
    student: &'a QuantizedNetwork,
    network: GradientsAccumulator<Network>,
    quantizers: GradientsAccumulator<LearnedParameters>,
}

impl<'a> Sum<'a> {
    fn new(student: &'a QuantizedNetwork) -> Self {
        Self { student, network: GradientsAccumulator::new(), quantizers: GradientsAccumulator::new() }
    }

    /// Adds those of a loss; gives back what is not of the student's parameters.
    fn add(&mut self, loss: Tensor<1>) -> Gradients {
        let mut gradients = loss.backward();
        let network = &self.student.network;
        self.network.accumulate(network, GradientsParams::from_module(&mut gradients, network));
        if let Some(learned) = &self.student.learned {
            self.quantizers.accumulate(learned, GradientsParams::from_module(&mut gradients, learned));
        }
        gradients
    }
}
