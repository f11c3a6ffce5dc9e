//! The prediction difference of a unit, beside that of a network run as a whole.

use std::collections::BTreeSet;

use blindfold_zoo::{FeatureTap, Site, Stream, Tap, Taps};
use burn::tensor::Tensor;

use super::super::engine::{Fitted, Method, reconstruct};
use super::super::flow::{indices_of, select};
use super::super::optimize::Outlook;
use super::super::settings::Prediction;
use super::super::task::Task;
use super::case::Case;
use super::recorded::Recorded;
use crate::error::QuantError;
use crate::network::FakeQuantTap;
use crate::plan::Protocol;
use crate::step::reconstruct::units::Stretch;
use crate::step::{FitRequest, Stage};

const TEMPERATURE: f64 = 3.0;
const WEIGHT: f64 = 2.5;

/// Fake quantization of some nodes alone.
struct Partly<'a> {
    quantization: FakeQuantTap<'a>,
    nodes: BTreeSet<String>,
}

impl Tap for Partly<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        if self.nodes.contains(&site.node.name) { self.quantization.weight(site, weight) } else { weight }
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.nodes.contains(&site.node.name) { self.quantization.output(site, output) } else { output }
    }
}

fn host(logits: Tensor<2>) -> Vec<f64> {
    logits.inner().into_data().iter::<f32>().map(f64::from).collect()
}

/// `WEIGHT mean_b KL(softmax(z / T) || softmax(z~ / T))` by its definition.
fn divergence(teacher: &[f64], student: &[f64], classes: usize) -> f64 {
    let softened = |row: &[f64]| -> Vec<f64> {
        let sum: f64 = row.iter().map(|z| (z / TEMPERATURE).exp()).sum();
        row.iter().map(|z| (z / TEMPERATURE).exp() / sum).collect()
    };
    let images = teacher.chunks(classes).zip(student.chunks(classes));
    let sum: f64 = images
        .map(|(teacher, student)| {
            softened(teacher).iter().zip(softened(student)).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
        })
        .sum();
    WEIGHT * sum / (teacher.len() / classes) as f64
}

/// Measures, and fits nothing.
struct Probe<'a>(&'a Case, std::cell::RefCell<Vec<(f64, f64)>>);

impl Method for Probe<'_> {
    fn stretch(&self) -> Stretch {
        Stretch::Block
    }

    fn needs_logits(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _random: &mut Stream) -> Result<Fitted, QuantError> {
        let Self(case, seen) = self;
        let prediction = Prediction { weight: WEIGHT, temperature: TEMPERATURE };
        let outlook = Outlook::new(&prediction, task).unwrap();
        let chosen: Vec<usize> = (0..case.images.dims()[0]).rev().step_by(2).collect();
        let batch = indices_of(&chosen, &task.target);
        let inputs = task.inputs.iter().map(|(id, value)| (*id, select(value, &batch))).collect();
        let mut features = FeatureTap::new(outlook.names());
        let network = &task.student.network;
        let mut quantization = task.student.tap();
        let output =
            network.run_stretch(task.unit.nodes.clone(), inputs, &mut Taps(vec![&mut quantization, &mut features]));
        let found = f64::from(outlook.loss(task, output, features, &batch).into_scalar::<f32>());
        let nodes = network.nodes()[..task.unit.nodes.end].iter().map(|node| node.name.clone()).collect();
        let mut partly = Partly { quantization: task.student.tap(), nodes };
        let images = select(&case.images, &batch);
        let whole = network.run(images.clone(), &mut partly);
        let classes = whole.dims()[1];
        let expected = divergence(&host(case.teacher.forward(images)), &host(whole), classes);
        seen.borrow_mut().push((found, expected));
        Ok(Fitted { student: task.student.clone(), soft: 0.0 })
    }
}

#[test]
fn it_is_that_of_the_network_quantized_up_to_the_unit_and_in_floating_point_behind_it() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let case = Case::new(protocol, 2, |_| ());
        let probe = Probe(&case, Default::default());
        let student = case.at(Stage::Network);
        let progress = &mut Recorded::default();
        let request = FitRequest { teacher: &case.teacher, images: &case.images, seed: 7, progress };
        reconstruct("probe", &probe, request, student).unwrap();
        let seen = probe.1.into_inner();
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().filter(|(_, expected)| *expected > 1e-3).count() >= 3, "{protocol}: {seen:?}");
        for (unit, (found, expected)) in seen.into_iter().enumerate() {
            assert!((found - expected).abs() < 1e-3 * expected + 1e-6, "{protocol}, unit {unit}: {found}, {expected}");
        }
    }
}
