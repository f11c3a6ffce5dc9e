//! Weights fitted under the constraint of any number format.

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::alternation::{Alternation, Problem, Projection, project_with};
use super::engine::{Fitted, Method, reconstruct};
use super::flow::select;
use super::loss::reconstruction;
use super::settings::{BATCH, ITERATIONS, count, positive};
use super::soft_tap::SoftTap;
use super::task::Task;
use super::units::Stretch;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::samples::{Samples, host_values};
use crate::step::{FitRequest, FittingStep, Stage};

/// Table of [`Admm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmmConfig {
    /// What is fitted together: `layer` or `block`.
    pub by: Stretch,
    /// Steps of the optimizer for each unit, in all rounds together.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// Steps of the optimizer between two projections.
    pub steps: usize,
    /// Learning rate, in steps of the weight's levels.
    pub lr: f64,
    /// Weight of the constraint in the first round, as a multiple of the curvature of the loss.
    pub rho: f64,
    /// The same in the last round.
    pub rho_end: f64,
}

impl Default for AdmmConfig {
    fn default() -> Self {
        Self { by: Stretch::Layer, iterations: ITERATIONS, batch: BATCH, steps: 20, lr: 0.1, rho: 0.1, rho_end: 10.0 }
    }
}

/// Weights that are drawn to where the output of their layer stays close, and to the levels of their number format, in
/// turn.
///
/// ```text
/// min f(W)  with W on levels,     f(W) = (1 / (B H W)) sum (y - y~(W))^2
/// W <- a few steps of Adam on  f(W) + (r / 2) ||W - G + U||^2
/// G <- the format fitted to W + U, and W + U on its levels
/// U <- (U + W - G) / q,   r <- q r,   r from rho to rho_end times 2 f(G_0) / ||G_0 - W_0||^2
/// ```
/// from the weights and their nearest levels `G_0`. The levels are fitted anew in each round by the layer's own number
/// format, or its range estimator and quantizer, so that any set of levels will do. The result is the `G` of the round
/// whose output was closest.
///
/// # Range
/// No unit's error is above that of the levels it came with.
///
/// # Source
/// Leng et al., Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM, AAAI 2018 (recalled, not read).
///
/// # Differences from the source
/// The loss is the reconstruction of a layer or block on synthetic images, where the source has the training loss.
/// `rho` and `lr` are relative to the curvature and the levels, `rho` grows, Adam stands for extragradient steps, the
/// levels are the number format's own fit rather than an alternating least-squares one, and the best round is kept.
///
/// # Errors
/// [`QuantError::NoImages`], [`QuantError::Cancelled`], [`QuantError::NotFinite`] with the unit; the number formats'
/// own.
#[derive(Debug, Clone)]
pub struct Admm {
    by: Stretch,
    batch: usize,
    alternation: Alternation,
}

impl Admm {
    /// The step of a table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn new(config: &AdmmConfig) -> Result<Self, ConfigError> {
        let AdmmConfig { by, iterations, batch, steps, lr, rho, rho_end } = *config;
        for (key, value) in [("iterations", iterations), ("batch", batch), ("steps", steps)] {
            count(key, value)?;
        }
        for (key, value) in [("lr", lr), ("rho", rho), ("rho_end", rho_end)] {
            positive(key, value)?;
        }
        if rho_end < rho {
            return Err(ConfigError::invalid("rho_end", rho_end, format!("write a number from `rho` = {rho} up")));
        }
        let rounds = iterations.div_ceil(steps);
        Ok(Self { by, batch, alternation: Alternation { rounds, steps, lr, rho, rho_end } })
    }
}

impl FittingStep for Admm {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        reconstruct("admm", self, request, student)
    }
}

impl Method for Admm {
    fn stretch(&self) -> Stretch {
        self.by
    }

    fn fit(&self, task: &Task<'_>, random: &mut Stream) -> Result<Fitted, QuantError> {
        let device = task.device();
        let (mut start, mut levels) = (Vec::new(), Vec::new());
        for layer in &task.layers {
            let values = Tensor::from_data(TensorData::new(layer.values.clone(), layer.shape), &device);
            levels.push(project_with(layer.codec.clone(), values.clone(), layer.view)?);
            start.push(values);
        }
        let mut unit = UnitLoss { task, random, batch: self.batch };
        let found = self.alternation.run(start, levels, &mut unit)?;
        let soft = unit.mean_error(&found.weights);
        let mut student = task.student.clone();
        for (layer, Projection { values, codec }) in task.layers.iter().zip(found.best) {
            student = student.with_layer_weight(&layer.name, host_values(values), codec)?;
        }
        Ok(Fitted { student, soft })
    }
}

/// The reconstruction of a unit as a function of its weights.
struct UnitLoss<'a, 't> {
    task: &'a Task<'t>,
    random: &'a mut Stream,
    batch: usize,
}

impl UnitLoss<'_, '_> {
    fn tap(&self, weights: &[Tensor<4>]) -> SoftTap<'_> {
        let named: BTreeMap<String, Tensor<4>> =
            self.task.layers.iter().map(|layer| layer.name.clone()).zip(weights.iter().cloned()).collect();
        SoftTap::new(self.task.student, named, Vec::new(), None)
    }

    /// See [`Task::error`].
    fn mean_error(&self, weights: &[Tensor<4>]) -> f64 {
        self.task.error(&self.task.student.network, &mut self.tap(weights))
    }
}

impl Problem for UnitLoss<'_, '_> {
    fn loss(&mut self, weights: &[Tensor<4>]) -> Tensor<1> {
        let batch = self.task.draw(self.random, self.batch);
        let known = self.task.inputs.iter().map(|(id, value)| (*id, select(value, &batch).autodiff())).collect();
        let (network, nodes) = (&self.task.student.network, self.task.unit.nodes.clone());
        let output = network.run_stretch(nodes, known, &mut self.tap(weights));
        reconstruction(output, select(&self.task.target, &batch), 2.0)
    }

    fn project(&self, index: usize, values: Tensor<4>) -> Result<Projection, QuantError> {
        let layer = self.task.layers[index];
        let fit = || -> Result<Projection, QuantError> {
            let samples = Samples::of(values.clone().reshape(layer.view), layer.axis)?;
            project_with(layer.target.codec(&samples, layer.bits, layer.axis)?, values, layer.view)
        };
        fit().map_err(|error| error.at(&layer.name))
    }

    /// In the measure of the loss: summed over channels.
    fn error(&self, weights: &[Tensor<4>]) -> f64 {
        let [_, channels, _, _] = self.task.target.dims();
        self.mean_error(weights) * channels as f64
    }

    fn cancelled(&self) -> bool {
        self.task.progress.cancelled()
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "admm",
    summary: "weights and their levels drawn together by ADMM on the layers' outputs, for any number format",
    source: "Leng et al., Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM, AAAI 2018 (recalled, not read)",
    defaults: defaults_of::<AdmmConfig>,
    build: |table| Ok(Box::new(Admm::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_meaning_are_refused_with_their_key() {
        let plain = AdmmConfig::default();
        for (key, config) in [
            ("iterations", AdmmConfig { iterations: 0, ..plain.clone() }),
            ("steps", AdmmConfig { steps: 0, ..plain.clone() }),
            ("lr", AdmmConfig { lr: 0.0, ..plain.clone() }),
            ("rho", AdmmConfig { rho: f64::NAN, ..plain.clone() }),
            ("rho_end", AdmmConfig { rho_end: 0.05, ..plain.clone() }),
        ] {
            let error = Admm::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")), "{error}");
        }
        let config: AdmmConfig = toml::from_str("by = \"block\"\nsteps = 8").unwrap();
        assert_eq!(Admm::new(&config).unwrap().alternation.rounds, 125);
    }
}
