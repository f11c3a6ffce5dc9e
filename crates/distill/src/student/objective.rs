//! What a step minimises: the losses of a batch and the gradients of their weighted sum.

use std::collections::BTreeMap;

use blindfold_quant::QuantizedNetwork;
use blindfold_zoo::BatchStatistics;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::gradient_norm::gradient_norm;
use super::gradient_sum::GradientSum;
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
/// which both networks read anew; `dL/dx` flows through student and teacher, and `x + ...` is a constant from there on.
///
/// Losses with `augment` have a view of their own: the same again, with the batch as these augmentations make it for `x`, and the
/// losses with the same `augment` for `L`. So a view takes one pass of both networks, and one more for each `e`; the batch itself
/// always takes one, whichever losses look at it, because the agreement and the statistics of batch norms are of it.
///
/// A loss that is off in the epoch is not evaluated. The decay that learned quantizers ask for is added to the gradients, not to the
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

/// The batch as some of the terms look at it, apart from their perturbations.
struct View {
    /// The places of these terms.
    terms: Vec<usize>,
    shown: Shown,
    /// What the names of its passes begin with.
    prefix: String,
}

/// What the views of a step come to.
struct Tally<'a> {
    sum: GradientSum<'a>,
    values: Vec<(usize, Tensor<1>)>,
    seen: Vec<Seen>,
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
        let mut tally = Tally { sum: GradientSum::new(self.student), values: Vec::new(), seen: Vec::new() };
        let terms = self.places(|term| term.augment().is_empty());
        let whole = View { terms, shown: batch.clone(), prefix: String::new() };
        let (agreement, statistics) = {
            let pass = self.look(whole, &mut tally)?;
            (agreement(&pass), pass.statistics)
        };
        for view in self.augmented(batch) {
            self.look(view, &mut tally)?;
        }
        self.networks.check()?;
        let Tally { mut sum, mut values, seen } = tally;
        if let Some(penalty) = self.student.learned_penalty() {
            sum.add(penalty);
        }
        values.sort_by_key(|(place, _)| *place);
        let values = values.into_iter().map(|(place, value)| (place, value.inner())).collect();
        let (network, quantizers) = sum.into_parts();
        Ok(Evaluated { values, network, quantizers, agreement, statistics, seen })
    }

    /// Adds what the terms of a view come to; gives back its pass without perturbation.
    fn look(&self, view: View, tally: &mut Tally<'_>) -> Result<Pass, DistillError> {
        let View { terms, shown, prefix } = view;
        let (plain, perturbed): (Vec<usize>, Vec<usize>) =
            terms.into_iter().partition(|&place| self.terms[place].perturb().is_none());
        let tracked = match perturbed.is_empty() {
            true => shown.clone(),
            false => shown.with_images(shown.images.clone().autodiff().require_grad()),
        };

        let pass = self.run(&tracked, format!("{prefix}batch"));
        self.networks.check()?;
        let (values, total) = self.values(&plain, &pass, &tracked);
        tally.values.extend(values);
        let direction = match total {
            Some(total) => tracked.images.grad(&tally.sum.add(total)),
            None if perturbed.is_empty() => None,
            None => {
                let (_, total) = self.values(&perturbed, &pass, &tracked);
                total.and_then(|total| tracked.images.grad(&total.backward()))
            }
        };
        tally.seen.push(pass.seen(plain, &shown));

        for (index, (epsilon, places)) in self.grouped(perturbed, Term::perturb).into_iter().enumerate() {
            let images = shown.images.clone();
            let moved = shown.with_images(match (&direction, epsilon) {
                (Some(gradient), Some(epsilon)) => images + gradient.clone().sign().mul_scalar(epsilon),
                _ => images,
            });
            let pass = self.run(&moved, format!("{prefix}perturbed {index}"));
            let (values, total) = self.values(&places, &pass, &moved);
            tally.values.extend(values);
            if let Some(total) = total {
                tally.sum.add(total);
            }
            tally.seen.push(pass.seen(places, &moved));
        }
        Ok(pass)
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

    /// The places of the terms that are on and of which this holds.
    fn places(&self, so: impl Fn(&Term) -> bool) -> Vec<usize> {
        let terms = self.terms.iter().enumerate();
        terms.filter(|(_, term)| term.is_on(self.epoch) && so(term)).map(|(place, _)| place).collect()
    }

    /// Places by what `key` says of their terms, in the order of its first use; no group is empty.
    fn grouped<'s, K: PartialEq>(&'s self, places: Vec<usize>, key: impl Fn(&'s Term) -> K) -> Vec<(K, Vec<usize>)> {
        let mut groups: Vec<(K, Vec<usize>)> = Vec::new();
        for place in places {
            let own = key(&self.terms[place]);
            match groups.iter_mut().find(|(known, _)| *known == own) {
                Some((_, places)) => places.push(place),
                None => groups.push((own, vec![place])),
            }
        }
        groups
    }

    /// The views of the terms with `augment`.
    fn augmented(&self, batch: &Shown) -> Vec<View> {
        let places = self.places(|term| !term.augment().is_empty());
        let groups = self.grouped(places, Term::augment).into_iter().enumerate();
        let views = groups.map(|(index, (_, terms))| View {
            shown: self.terms[terms[0]].augmented(batch, self.step),
            terms,
            prefix: format!("augmented {index} "),
        });
        views.collect()
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
