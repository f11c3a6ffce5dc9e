//! A network with its plan and its grids.

use std::collections::BTreeMap;

use blindfold_zoo::{Layer, Network, Node, fold_batch_norms};
use burn::tensor::{Tensor, TensorData};

use super::calibrator::Calibrator;
use super::state::QuantizedState;
use super::tap::FakeQuantTap;
use crate::error::QuantError;
use crate::grid::Grid;
use crate::plan::{Plan, Target};
use crate::precision::Precision;
use crate::samples::Samples;

/// A network that is run with fake quantization: floating-point parameters, a plan, and the grids of its calibration.
///
/// Weights whose estimator follows them (min-max) get their grids from the current weights in every forward pass; the
/// others, and all activations, keep the grids of the calibration.
#[derive(Debug, Clone)]
pub struct QuantizedNetwork {
    /// The network, with its parameters in floating point; batch norms folded where the plan's protocol says so.
    pub network: Network,
    /// What is quantized, and how.
    pub plan: Plan,
    /// Grids of weights that calibration has frozen, by layer.
    pub weights: BTreeMap<String, Grid>,
    /// Grids of activations, by site.
    pub activations: BTreeMap<String, Grid>,
    baked: bool,
}

impl QuantizedNetwork {
    /// Quantizes a network in floating point: weights first, then each activation site in the order of the network, on the
    /// values that reach it through everything quantized before it.
    ///
    /// # Errors
    /// [`QuantError::NoImages`] without batches; otherwise as [`Calibrator`].
    pub fn calibrate(
        network: Network,
        plan: Plan,
        images: impl Iterator<Item = Tensor<4>>,
    ) -> Result<Self, QuantError> {
        let mut calibrator = Calibrator::new(network, plan)?;
        for batch in images {
            calibrator.observe(batch)?;
        }
        calibrator.finish()
    }

    /// With the weights' frozen grids, but none for activations yet.
    pub(super) fn with_weight_grids(network: Network, plan: Plan) -> Result<Self, QuantError> {
        let network = plan.prepare(network)?;
        let mut quantized =
            Self { network, plan, weights: BTreeMap::new(), activations: BTreeMap::new(), baked: false };
        let mut frozen = BTreeMap::new();
        for node in quantized.network.nodes() {
            let Some((target, bits, weight)) = quantized.quantized_weight(node) else { continue };
            if !target.range.follows_weights() {
                let grid = Samples::of(weight, target.granularity.weight_axis())
                    .and_then(|samples| estimate(target, bits, &samples));
                frozen.insert(node.name.clone(), grid.map_err(|error| error.at(&node.name))?);
            }
        }
        quantized.weights = frozen;
        Ok(quantized)
    }

    /// The tap that quantizes while [`Self::network`] (or another of the same graph) runs.
    pub fn tap(&self) -> FakeQuantTap<'_> {
        FakeQuantTap::new(self)
    }

    /// Logits `[batch, classes]` of images `[batch, channel, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.run(images, &mut self.tap())
    }

    /// The same plan and grids with another network of the same graph, such as one that was trained further.
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// The same function, faster to evaluate: weights quantized once, and batch norms folded into the quantized weights.
    ///
    /// Without gradients, on the plain device. Folding scales each output channel of a weight, so that it still has at most
    /// `2^bits` values, and changes results by rounding alone.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn for_evaluation(&self) -> Result<Self, QuantError> {
        let baked = self.bake()?;
        Ok(Self { network: fold_batch_norms(baked.network), ..baked })
    }

    /// Whether weights are stored quantized (see [`Self::for_evaluation`]).
    pub fn is_baked(&self) -> bool {
        self.baked
    }

    /// Without gradients, weights replaced by their quantized values.
    pub(super) fn bake(&self) -> Result<Self, QuantError> {
        let network = self.network.clone().frozen();
        if self.baked {
            return Ok(Self { network, ..self.clone() });
        }
        let mut fault = None;
        let network = network.map_layers(|name, layer| match self.quantized_values(name, &layer) {
            Ok(Some(weight)) => layer.with_weight(weight),
            Ok(None) => layer,
            Err(error) => {
                fault.get_or_insert(error.at(name));
                layer
            }
        });
        match fault {
            Some(error) => Err(error),
            None => Ok(Self { network, baked: true, ..self.clone() }),
        }
    }

    /// `x^` of a layer's weight, if the plan quantizes it.
    fn quantized_values(&self, name: &str, layer: &Layer) -> Result<Option<Tensor<4>>, QuantError> {
        let (Some((target, bits)), Some(weight)) = (self.weight_target(name), layer.weight()) else { return Ok(None) };
        let (shape, device) = (weight.dims(), weight.device());
        let samples = Samples::of(weight, target.granularity.weight_axis())?;
        let values = self.weight_grid(target, bits, &samples)?.fake_quantize_values(samples.values(), shape)?;
        Ok(Some(Tensor::from_data(TensorData::new(values, shape), &device)))
    }

    /// The integer codes of every quantized weight in row-major order, by layer in the network's order.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn codes_of_weights(&self) -> Result<Vec<(String, Vec<i16>)>, QuantError> {
        let mut codes = Vec::new();
        for node in self.network.nodes() {
            let Some((target, bits, weight)) = self.quantized_weight(node) else { continue };
            let layer = Samples::of(weight, target.granularity.weight_axis()).and_then(|samples| {
                let grid = self.weight_grid(target, bits, &samples)?;
                let maps = (0..samples.groups()).map(|group| grid.map(if grid.groups() == 1 { 0 } else { group }));
                Ok(samples
                    .iter()
                    .zip(maps)
                    .flat_map(|(values, map)| values.iter().map(move |&x| map.code(x) as i16))
                    .collect())
            });
            codes.push((node.name.clone(), layer.map_err(|error| error.at(&node.name))?));
        }
        Ok(codes)
    }

    /// What a checkpoint has to hold.
    pub fn state(&self) -> QuantizedState {
        QuantizedState {
            parameters: self.network.state(),
            weights: self.weights.clone(),
            activations: self.activations.clone(),
        }
    }

    /// A quantized network from its plan, a network of the same architecture, and a checkpoint's state.
    ///
    /// # Errors
    /// [`QuantError::OtherGrids`] when the grids are not those of the plan; [`QuantError::Weights`] for other parameters.
    pub fn from_state(network: Network, plan: Plan, state: QuantizedState) -> Result<Self, QuantError> {
        let network = plan.prepare(network)?.with_state(state.parameters)?;
        let restored = Self { network, plan, weights: state.weights, activations: state.activations, baked: false };
        let frozen = restored.plan.weights().filter(|target| target.is_quantized() && !target.range.follows_weights());
        check_names(frozen, &restored.weights)?;
        check_names(restored.plan.activations().filter(|target| target.is_quantized()), &restored.activations)?;
        Ok(restored)
    }

    /// This network with a checkpoint's state.
    ///
    /// # Errors
    /// As [`Self::from_state`].
    pub fn with_state(self, state: QuantizedState) -> Result<Self, QuantError> {
        let network = self.network.with_state(state.parameters)?;
        check_names(self.plan.activations().filter(|target| target.is_quantized()), &state.activations)?;
        let frozen = self.plan.weights().filter(|target| target.is_quantized() && !target.range.follows_weights());
        check_names(frozen, &state.weights)?;
        Ok(Self { network, weights: state.weights, activations: state.activations, ..self })
    }

    /// The plan for the weight of that layer, if it has to be quantized in a forward pass.
    pub(crate) fn weight_target(&self, name: &str) -> Option<(&Target, u8)> {
        if self.baked {
            return None;
        }
        let target = self.plan.weight(name)?;
        Some((target, target.precision.bits()?))
    }

    /// The grid of a layer's current weights.
    pub(crate) fn weight_grid(&self, target: &Target, bits: u8, samples: &Samples) -> Result<Grid, QuantError> {
        match self.weights.get(&target.name) {
            Some(grid) => Ok(grid.clone()),
            None => estimate(target, bits, samples),
        }
    }

    fn quantized_weight(&self, node: &Node) -> Option<(&Target, u8, Tensor<4>)> {
        let (target, bits) = self.weight_target(&node.name)?;
        Some((target, bits, node.layer.weight()?))
    }
}

fn estimate(target: &Target, bits: u8, samples: &Samples) -> Result<Grid, QuantError> {
    let mut observer = target.range.observer(target.quantizer.clone(), bits);
    observer.observe(samples)?;
    target.quantizer.grid(&observer.ranges()?, bits, target.granularity.weight_axis())
}

fn check_names<'a>(
    planned: impl Iterator<Item = &'a Target>,
    grids: &BTreeMap<String, Grid>,
) -> Result<(), QuantError> {
    let mut unused: BTreeMap<&String, &Grid> = grids.iter().collect();
    let fits = |target: &Target, grid: &Grid| target.precision == Precision::Int(grid.bits());
    let missing: Vec<String> = planned
        .filter(|target| !unused.remove(&target.name).is_some_and(|grid| fits(target, grid)))
        .map(|target| target.name.clone())
        .collect();
    let unused: Vec<String> = unused.into_keys().cloned().collect();
    if missing.is_empty() && unused.is_empty() { Ok(()) } else { Err(QuantError::OtherGrids { missing, unused }) }
}
