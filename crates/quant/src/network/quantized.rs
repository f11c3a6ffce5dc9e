//! A network with its plan and its grids.

use std::collections::BTreeMap;

use blindfold_zoo::{Network, Node, fold_batch_norms_where};
use burn::tensor::{Tensor, TensorData};

use super::calibrator::Calibrator;
use super::state::QuantizedState;
use super::tap::FakeQuantTap;
use super::weight::LayerWeight;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::learned::{GroupStatistics, LearnedParameters};
use crate::output_shift::with_biases_of;
use crate::pass::{ChannelMoments, Rewritten};
use crate::plan::{Plan, Target};
use crate::precision::Precision;
use crate::samples::Samples;

/// A network that is run with fake quantization: floating-point parameters, a plan, and the codecs of its calibration.
///
/// Weights whose estimator follows them (min-max) get their codecs from the current weights in every forward pass, unless a
/// fitting step has frozen them; the others, and all activations, keep the codecs of the calibration.
#[derive(Debug, Clone)]
pub struct QuantizedNetwork {
    /// The network, with its parameters in floating point; batch norms folded where the plan's protocol says so.
    pub network: Network,
    /// What is quantized, and how.
    pub plan: Plan,
    /// Codecs of weights that calibration or a fitting step has frozen, by layer.
    pub weights: BTreeMap<String, Codec>,
    /// Codecs of activations, by site; none for those with dynamic ranges.
    pub activations: BTreeMap<String, Codec>,
    /// What the batch norms that are folded away say of the outputs of the convolutions before them, by convolution.
    pub moments: BTreeMap<String, ChannelMoments>,
    /// Parameters of the learned quantizers, once they are [started](Self::with_learned): they then quantize in the place
    /// of the codecs.
    pub learned: Option<LearnedParameters>,
    /// What calibration saw at the activation sites with a learned quantizer, by site.
    pub statistics: BTreeMap<String, Vec<GroupStatistics>>,
    pub(super) calibrated: bool,
    pub(super) baked: bool,
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

    /// With the weights' frozen codecs, but none for activations yet: they pass in floating point until a [`Calibrator`] has
    /// [taken it up](Calibrator::of).
    ///
    /// # Errors
    /// [`QuantError::OtherNetwork`] for another plan's network, [`QuantError::NotFinite`] for broken weights (with the layer).
    pub fn with_weights(network: Network, plan: Plan) -> Result<Self, QuantError> {
        let moments = match plan.protocol().folds_batch_norms() {
            true => Rewritten::new(network.clone()).folded().moments,
            false => BTreeMap::new(),
        };
        let network = plan.prepare(network)?;
        let (weights, activations) = (BTreeMap::new(), BTreeMap::new());
        let mut quantized = Self {
            network,
            plan,
            weights,
            activations,
            moments,
            learned: None,
            statistics: BTreeMap::new(),
            calibrated: false,
            baked: false,
        };
        let mut frozen = BTreeMap::new();
        for node in quantized.network.nodes() {
            if quantized.weight_target(&node.name).is_none_or(|(target, _)| target.follows_weights()) {
                continue;
            }
            if let Some(weight) = quantized.layer_weight(node)? {
                frozen.insert(weight.name, weight.codec);
            }
        }
        quantized.weights = frozen;
        Ok(quantized)
    }

    /// The quantized weight of a node, if it has one.
    fn layer_weight(&self, node: &Node) -> Result<Option<LayerWeight>, QuantError> {
        let (Some((target, bits)), Some(weight)) = (self.weight_target(&node.name), node.layer.weight()) else {
            return Ok(None);
        };
        let shape = weight.dims();
        let (view, axis) = target.granularity.weight_view(shape);
        let weight = || -> Result<LayerWeight, QuantError> {
            let samples = Samples::of(weight.inner().reshape(view), axis)?;
            let codec = self.weight_codec(target, bits, &samples, axis)?;
            let values = samples.into_values();
            Ok(LayerWeight { name: node.name.clone(), target: target.clone(), bits, shape, view, axis, values, codec })
        };
        weight().map(Some).map_err(|error| error.at(&node.name))
    }

    /// Every quantized weight, in the network's order; those of learned quantizers as they would be frozen now.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn weight_tensors(&self) -> Result<Vec<LayerWeight>, QuantError> {
        if self.learned.is_some() {
            return self.frozen_learned()?.weight_tensors();
        }
        self.network.nodes().iter().filter_map(|node| self.layer_weight(node).transpose()).collect()
    }

    /// With the weights of one layer replaced and its codec frozen. Values that the codec has decoded stay as they are.
    ///
    /// # Errors
    /// [`QuantError::OtherNetwork`] for a name that the plan does not quantize, [`QuantError::Groups`] for another number of
    /// values and a codec of another shape, with the layer's name.
    pub fn with_layer_weight(mut self, name: &str, values: Vec<f32>, codec: Codec) -> Result<Self, QuantError> {
        let layer = self.network.find(name).map(|id| self.network.node(id).layer.clone());
        let (Some((target, _)), Some(weight)) = (self.weight_target(name), layer.and_then(|layer| layer.weight()))
        else {
            let network = self.network.name().to_owned();
            return Err(QuantError::OtherNetwork { network, missing: vec![name.to_owned()] });
        };
        let (shape, device) = (weight.dims(), weight.device());
        let (view, _) = target.granularity.weight_view(shape);
        let expected = shape.iter().product::<usize>();
        if values.len() != expected {
            return Err(QuantError::Groups { expected, found: values.len() }.at(name));
        }
        codec.fake_quantize_values(&values, view).map_err(|error| error.at(name))?;
        let mut tensor = Some(Tensor::from_data(TensorData::new(values, shape), &device));
        self.network = self.network.map_layers(|node, layer| match (node == name).then(|| tensor.take()).flatten() {
            Some(tensor) => layer.with_weight(tensor),
            None => layer,
        });
        self.weights.insert(name.to_owned(), codec);
        Ok(self)
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
        let site = |name: &str| self.plan.activation(name).is_some_and(Target::is_quantized);
        let folds = |norm: &Node| !site(&norm.name) && !site(&self.network.node(norm.inputs[0]).name);
        Ok(Self { network: fold_batch_norms_where(baked.network.clone(), folds), ..baked })
    }

    /// Whether activations are quantized: before calibration they pass in floating point.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated
    }

    /// Whether weights are stored quantized (see [`Self::for_evaluation`]).
    pub fn is_baked(&self) -> bool {
        self.baked
    }

    /// Without gradients, weights replaced by their quantized values.
    pub(super) fn bake(&self) -> Result<Self, QuantError> {
        if self.learned.is_some() {
            return self.frozen_learned()?.bake();
        }
        let network = self.network.clone().frozen();
        if self.baked {
            return Ok(Self { network, ..self.clone() });
        }
        let mut quantized = BTreeMap::new();
        for weight in self.weight_tensors()? {
            let values = weight.quantized().map_err(|error| error.at(&weight.name))?;
            quantized.insert(weight.name, TensorData::new(values, weight.shape));
        }
        let device = network.device();
        let network = network.map_layers(|name, layer| match quantized.remove(name) {
            Some(data) => layer.with_weight(Tensor::from_data(data, &device)),
            None => layer,
        });
        Ok(Self { network, baked: true, ..self.clone() })
    }

    /// The codes of every quantized weight in row-major order, by layer in the network's order.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn codes_of_weights(&self) -> Result<Vec<(String, Vec<i32>)>, QuantError> {
        let codes = |weight: LayerWeight| {
            let codes = weight.codec.encode(&weight.values, weight.view).map_err(|error| error.at(&weight.name))?;
            Ok((weight.name, codes))
        };
        self.weight_tensors()?.into_iter().map(codes).collect()
    }

    /// What a checkpoint has to hold.
    pub fn state(&self) -> QuantizedState {
        QuantizedState {
            parameters: self.network.state(),
            weights: self.weights.clone(),
            activations: self.activations.clone(),
            calibrated: self.calibrated,
            learned: self.learned_state(),
            statistics: self.statistics.clone(),
        }
    }

    /// A quantized network from its plan, a network of the same architecture, and a checkpoint's state.
    ///
    /// # Errors
    /// [`QuantError::OtherGrids`] when the grids are not those of the plan; [`QuantError::Weights`] for other parameters;
    /// [`QuantError::State`] for other parameters of learned quantizers.
    pub fn from_state(network: Network, plan: Plan, state: QuantizedState) -> Result<Self, QuantError> {
        Self::with_weights(network, plan)?.with_state(state)
    }

    /// This network with a checkpoint's state.
    ///
    /// # Errors
    /// As [`Self::from_state`].
    pub fn with_state(self, state: QuantizedState) -> Result<Self, QuantError> {
        let QuantizedState { parameters, weights, activations, calibrated, learned, statistics } = state;
        let network = with_biases_of(self.network, &parameters).with_state(parameters)?;
        let restored = Self { network, weights, activations, calibrated, learned: None, statistics, ..self };
        restored.check_codecs()?;
        restored.with_learned_state(learned)
    }

    /// Whether there is a codec for all that needs one, of the right number of bits, and none for anything else.
    fn check_codecs(&self) -> Result<(), QuantError> {
        let weights = self.plan.weights().filter(|target| target.is_quantized());
        let frozen = weights.filter(|target| !target.follows_weights() || self.weights.contains_key(&target.name));
        check_names(frozen, &self.weights)?;
        if !self.calibrated {
            return Ok(());
        }
        let sites = self.plan.activations().filter(|target| target.is_quantized() && target.dynamic.is_none());
        check_names(sites, &self.activations)
    }

    /// The plan for the weight of that layer, if it has to be quantized in a forward pass.
    pub(crate) fn weight_target(&self, name: &str) -> Option<(&Target, u8)> {
        if self.baked {
            return None;
        }
        let target = self.plan.weight(name)?;
        Some((target, target.precision.bits()?))
    }

    /// The codec of a layer's current weights.
    pub(crate) fn weight_codec(
        &self,
        target: &Target,
        bits: u8,
        samples: &Samples,
        axis: Option<usize>,
    ) -> Result<Codec, QuantError> {
        match self.weights.get(&target.name) {
            Some(codec) => Ok(codec.clone()),
            None => target.codec(samples, bits, axis),
        }
    }
}

fn check_names<'a>(
    planned: impl Iterator<Item = &'a Target>,
    codecs: &BTreeMap<String, Codec>,
) -> Result<(), QuantError> {
    let mut unused: BTreeMap<&String, &Codec> = codecs.iter().collect();
    let fits = |target: &Target, codec: &Codec| match codec {
        Codec::Sum(_) => target.is_quantized(),
        codec => target.precision == Precision::Int(codec.bits()),
    };
    let missing: Vec<String> = planned
        .filter(|target| !unused.remove(&target.name).is_some_and(|codec| fits(target, codec)))
        .map(|target| target.name.clone())
        .collect();
    let unused: Vec<String> = unused.into_keys().cloned().collect();
    if missing.is_empty() && unused.is_empty() { Ok(()) } else { Err(QuantError::OtherGrids { missing, unused }) }
}
