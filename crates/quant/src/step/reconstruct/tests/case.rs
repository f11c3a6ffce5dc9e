//! A small network that steps fit.

use blindfold_zoo::{Network, NoTap};
use burn::tensor::Tensor;

use super::super::flow::Flow;
use super::super::units::{Stretch, units};
use super::recorded::Recorded;
use super::ternary::TERNARY;
use crate::error::QuantError;
use crate::families::Families;
use crate::network::{Calibrator, QuantizedNetwork};
use crate::plan::{Plan, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::samples::host_values;
use crate::step::{FitRequest, FittingStep, Stage};
use crate::testing::{images, small};

/// A network, its quantized student before calibration, and images.
pub(super) struct Case {
    pub(super) teacher: Network,
    pub(super) student: QuantizedNetwork,
    pub(super) images: Tensor<4>,
}

impl Case {
    pub(super) fn new(protocol: Protocol, bits: u8, change: impl Fn(&mut QuantConfig)) -> Self {
        Self::of(small(11), 24, protocol, bits, change)
    }

    pub(super) fn of(
        network: Network,
        count: usize,
        protocol: Protocol,
        bits: u8,
        change: impl Fn(&mut QuantConfig),
    ) -> Self {
        let images = images(&network, count, 5);
        let bits = Precision::Int(bits);
        let mut config =
            QuantConfig { protocol, weight_bits: bits, activation_bits: Precision::Int(4), ..Default::default() };
        change(&mut config);
        let mut families = Families::builtin();
        families.formats = families.formats.with(TERNARY).unwrap();
        let plan = Plan::new(&config, &network, &families).unwrap();
        let teacher = plan.prepare(network.clone()).unwrap();
        Self { teacher, student: QuantizedNetwork::with_weights(network, plan).unwrap(), images }
    }

    pub(super) fn calibrated(&self, student: QuantizedNetwork) -> QuantizedNetwork {
        let mut calibrator = Calibrator::of(student).unwrap();
        calibrator.observe(self.images.clone()).unwrap();
        calibrator.finish().unwrap()
    }

    /// The student as a step of that stage gets it.
    pub(super) fn at(&self, stage: Stage) -> QuantizedNetwork {
        match stage {
            Stage::Weights => self.student.clone(),
            Stage::Network => self.calibrated(self.student.clone()),
        }
    }

    pub(super) fn fit(
        &self,
        step: &dyn FittingStep,
        student: QuantizedNetwork,
        progress: &mut Recorded,
    ) -> Result<QuantizedNetwork, QuantError> {
        step.fit(FitRequest { teacher: &self.teacher, images: &self.images, seed: 7, progress }, student)
    }

    pub(super) fn logit_error(&self, student: &QuantizedNetwork) -> f64 {
        let host = |logits: Tensor<2>| logits.inner().into_data().try_to_vec::<f32>().unwrap();
        let (found, wanted) =
            (host(student.forward(self.images.clone())), host(self.teacher.forward(self.images.clone())));
        found.iter().zip(&wanted).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / wanted.len() as f64
    }

    /// Each unit's name and error in a fitted network, on what that network passes to it, and the error there of the
    /// network in which that unit alone is as it came: from the networks, and not from what was told.
    fn errors_of_units(
        &self,
        came: &QuantizedNetwork,
        fitted: &QuantizedNetwork,
        by: Stretch,
    ) -> Vec<(String, f64, f64)> {
        let (teacher, images) = (&self.teacher, self.images.clone().inner());
        let layers = came.weight_tensors().unwrap();
        let mut float = Flow::new(teacher, &images, &mut NoTap);
        let mut quantized = Flow::new(&fitted.network, &images, &mut fitted.tap());
        let mut errors = Vec::new();
        for unit in units(teacher, by) {
            let inputs = quantized.at(&teacher.reads_of(unit.nodes.clone()));
            let target = host_values(float.advance(teacher, &unit, &mut NoTap));
            let mut back = fitted.clone();
            for node in &teacher.nodes()[unit.nodes.clone()] {
                if let Some(layer) = layers.iter().find(|layer| layer.name == node.name) {
                    back = back.with_layer_weight(&node.name, layer.values.clone(), layer.codec.clone()).unwrap();
                }
                if let Some(codec) = came.activations.get(&node.name) {
                    back.activations.insert(node.name.clone(), codec.clone());
                }
            }
            let error = |student: &QuantizedNetwork| {
                let output = student.network.run_stretch(unit.nodes.clone(), inputs.clone(), &mut student.tap());
                let squares = host_values(output).into_iter().zip(&target).map(|(a, b)| f64::from(a - b).powi(2));
                squares.sum::<f64>() / target.len() as f64
            };
            errors.push((unit.name.clone(), error(fitted), error(&back)));
            quantized.advance(&fitted.network, &unit, &mut fitted.tap());
        }
        errors
    }

    /// That no unit of the fitted network errs more than as it came, and that the errors told are those.
    pub(super) fn check_units(&self, name: &str, came: &QuantizedNetwork, fitted: &QuantizedNetwork, told: &Recorded) {
        let by = if ["adaround", "admm"].contains(&name) { Stretch::Layer } else { Stretch::Block };
        let errors = self.errors_of_units(came, fitted, by);
        let (before, hard) = (told.errors("before"), told.errors("hard"));
        assert_eq!((before.len(), hard.len()), (errors.len(), errors.len()), "{name}");
        for ((unit, found, nearest), (before, hard)) in errors.into_iter().zip(before.into_iter().zip(hard)) {
            // The errors told are sums in f32.
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b;
            assert!(found <= nearest * (1.0 + 1e-4), "{name}, {unit}: {found}, and {nearest} as it came");
            assert!(close(found, hard), "{name}, {unit}: {found}, told {hard}");
            assert!(close(nearest, before), "{name}, {unit}: {nearest} as it came, told {before}");
        }
    }
}
