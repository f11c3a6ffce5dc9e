//! Learned quantizers in a network: started, used, and frozen.

use blindfold_zoo::{ConfigError, Node};
use burn::tensor::Tensor;

use super::quantized::QuantizedNetwork;
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::learned::{
    GroupStatistics, LearnedParameters, LearnedQuantizer, LearnedSite, LearnedState, LearnedValues, SiteParameters,
};
use crate::plan::Target;
use crate::samples::{Samples, host_values};

/// The learned quantizer of one tensor with its parameters.
#[derive(Clone, Copy)]
pub(super) struct LearnedAt<'a> {
    quantizer: &'a dyn LearnedQuantizer,
    parameters: &'a SiteParameters,
}

impl LearnedAt<'_> {
    /// As [`SiteParameters::forward`].
    pub(super) fn forward(self, x: Tensor<4>) -> Result<Tensor<4>, QuantError> {
        self.parameters.forward(self.quantizer, x)
    }

    fn codec(self, weights: Option<&Samples>) -> Result<Codec, QuantError> {
        self.parameters.codec(self.quantizer, weights)
    }
}

impl QuantizedNetwork {
    /// With the learned quantizers that the plan names at their start, computed from the weights as they are and from
    /// what calibration saw of the activations. A plan that names none leaves everything as it is.
    ///
    /// # Errors
    /// [`QuantError::Config`] for a network converted for evaluation, activations without a calibration, and quantizers
    /// that are not for a tensor or not for the device; with the layer's name the quantizers' own.
    pub fn with_learned(self) -> Result<Self, QuantError> {
        if !self.plan.has_learned() {
            return Ok(self);
        }
        if self.baked {
            let fix = "start them on the network that the calibration gave, and convert it for evaluation afterwards";
            return Err(ConfigError::invalid("learned", "a network converted for evaluation", fix).into());
        }
        let mut sites = Vec::new();
        for node in self.network.nodes() {
            let started = [self.start_weight(node), self.start_activation(node)];
            for site in started {
                sites.extend(site.map_err(|error| error.at(&node.name))?);
            }
        }
        Ok(Self { learned: Some(LearnedParameters::new(sites)), ..self })
    }

    /// The same function with plain codecs in the place of learned quantizers: weights are replaced by what they are
    /// quantized to. Without gradients, on the plain device.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] and [`QuantError::Grid`] with the layer's name for weights and parameters that diverged.
    pub fn frozen_learned(&self) -> Result<Self, QuantError> {
        let source = self.clone().frozen();
        let mut result = Self { learned: None, ..source.clone() };
        for node in source.network.nodes() {
            let weight = source.frozen_weight(node).map_err(|error| error.at(&node.name))?;
            if let Some((values, codec)) = weight {
                result = result.with_layer_weight(&node.name, values, codec)?;
            }
            if let Some(learned) = source.learned_at(Role::Activation, &node.name) {
                let codec = learned.codec(None).map_err(|error| error.at(&node.name))?;
                result.activations.insert(node.name.clone(), codec);
            }
        }
        Ok(result)
    }

    /// What learned quantizers add to the loss: `sum d / 2 * p^2` over the parameters that decay. None where none does.
    pub fn learned_penalty(&self) -> Option<Tensor<1>> {
        let of = |role: Role, target: &Target| {
            let learned = self.learned_at(role, &target.name)?;
            learned.parameters.penalty(learned.quantizer)
        };
        let weights = self.plan.weights().filter_map(|target| of(Role::Weight, target));
        let activations = self.plan.activations().filter_map(|target| of(Role::Activation, target));
        weights.chain(activations).reduce(|sum, term| sum + term)
    }

    /// Network and learned quantizers on the autodiff device, with gradients for all that is trained.
    pub fn trainable(self) -> Self {
        let learned = self.learned.map(LearnedParameters::trainable);
        Self { network: self.network.trainable(), learned, ..self }
    }

    /// Network and learned quantizers without gradients, on the plain device.
    pub fn frozen(self) -> Self {
        let learned = self.learned.map(LearnedParameters::frozen);
        Self { network: self.network.frozen(), learned, ..self }
    }

    /// The learned quantizer of a tensor, if it has been started.
    pub(super) fn learned_at(&self, role: Role, name: &str) -> Option<LearnedAt<'_>> {
        let parameters = self.learned.as_ref()?.get(role, name)?;
        let target = match role {
            Role::Weight => self.plan.weight(name)?,
            Role::Activation => self.plan.activation(name)?,
        };
        let (_, quantizer) = target.learned.as_ref()?;
        Some(LearnedAt { quantizer: quantizer.as_ref(), parameters })
    }

    /// The learned parameters as a checkpoint holds them.
    pub(super) fn learned_state(&self) -> Option<LearnedState> {
        self.learned.as_ref()?;
        let of = |role: Role, target: &Target| {
            let learned = self.learned_at(role, &target.name)?;
            Some((target.name.clone(), learned.parameters.state(learned.quantizer)))
        };
        let weights = self.plan.weights().filter_map(|target| of(Role::Weight, target)).collect();
        let activations = self.plan.activations().filter_map(|target| of(Role::Activation, target)).collect();
        Some(LearnedState { weights, activations })
    }

    /// With the learned parameters of a checkpoint, without gradients.
    pub(super) fn with_learned_state(self, state: Option<LearnedState>) -> Result<Self, QuantError> {
        let Some(LearnedState { mut weights, mut activations }) = state else { return Ok(self) };
        let mut sites = Vec::new();
        for node in self.network.nodes() {
            let name = &node.name;
            let mut restore = |place: Option<Place<'_>>, stored: Option<LearnedValues>| match (place, stored) {
                (Some(place), Some(stored)) => {
                    let site = place.site(stored.groups, stored.signed);
                    let device = self.network.device();
                    sites.push(SiteParameters::restored(name, site, place.quantizer, stored, &device)?);
                    Ok(())
                }
                (None, None) => Ok(()),
                (Some(_), None) => Err(QuantError::State(format!("lacks the learned parameters of `{name}`"))),
                (None, Some(_)) => {
                    Err(QuantError::State(format!("has learned parameters of `{name}`, where the plan has none")))
                }
            };
            restore(self.weight_place(node), weights.remove(name))?;
            restore(self.activation_place(node), activations.remove(name))?;
        }
        if let Some(name) = weights.into_keys().chain(activations.into_keys()).next() {
            let reason = format!("has learned parameters of `{name}`, which the network does not have");
            return Err(QuantError::State(reason));
        }
        Ok(Self { learned: Some(LearnedParameters::new(sites)), ..self })
    }

    fn start_weight(&self, node: &Node) -> Result<Option<SiteParameters>, QuantError> {
        let (Some(place), Some(target), Some(weight)) =
            (self.weight_place(node), self.plan.weight(&node.name), node.layer.weight())
        else {
            return Ok(None);
        };
        let (view, axis) = target.granularity.weight_view(weight.dims());
        let samples = Samples::of(weight.inner().reshape(view), axis)?;
        let statistics = GroupStatistics::of(&samples);
        self.started(node, place, &statistics, Some(&samples), true).map(Some)
    }

    fn start_activation(&self, node: &Node) -> Result<Option<SiteParameters>, QuantError> {
        let Some(place) = self.activation_place(node) else { return Ok(None) };
        let Some(statistics) = self.statistics.get(&node.name) else {
            let fix = "the start is computed from what a calibration sees: calibrate the network first";
            return Err(ConfigError::invalid("activation.learned", "a site without a calibration", fix).into());
        };
        let signed = statistics.iter().any(|group| group.min < 0.0);
        self.started(node, place, statistics, None, signed).map(Some)
    }

    fn started(
        &self,
        node: &Node,
        place: Place<'_>,
        statistics: &[GroupStatistics],
        weights: Option<&Samples>,
        signed: bool,
    ) -> Result<SiteParameters, QuantError> {
        let device = self.network.device();
        let site = place.site(statistics.len(), signed);
        place.quantizer.check_device(&device).map_err(|error| error.within("learned"))?;
        let values = place.quantizer.start(statistics, weights, &site)?;
        SiteParameters::new(&node.name, site, place.quantizer, values, &device)
    }

    /// The values of a weight quantized as learned, and a codec that keeps them.
    fn frozen_weight(&self, node: &Node) -> Result<Option<(Vec<f32>, Codec)>, QuantError> {
        let (Some(target), Some(weight)) = (self.plan.weight(&node.name), node.layer.weight()) else { return Ok(None) };
        let Some(learned) = self.learned_at(Role::Weight, &node.name) else { return Ok(None) };
        let (view, axis) = target.granularity.weight_view(weight.dims());
        let weight = weight.inner().reshape(view);
        let codec = match learned.codec(Some(&Samples::of(weight.clone(), axis)?))? {
            Codec::Codebook(book) => book.without_thresholds().into(),
            codec => codec,
        };
        Ok(Some((host_values(learned.forward(weight)?), codec)))
    }

    fn weight_place(&self, node: &Node) -> Option<Place<'_>> {
        let (target, weight) = (self.plan.weight(&node.name)?, node.layer.weight()?);
        Place::of(Role::Weight, target, target.granularity.weight_view(weight.dims()).1)
    }

    fn activation_place(&self, node: &Node) -> Option<Place<'_>> {
        let target = self.plan.activation(&node.name)?;
        Place::of(Role::Activation, target, target.granularity.activation_axis())
    }
}

/// Where a learned quantizer belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    quantizer: &'a dyn LearnedQuantizer,
    role: Role,
    bits: u8,
    axis: Option<usize>,
}

impl<'a> Place<'a> {
    fn of(role: Role, target: &'a Target, axis: Option<usize>) -> Option<Self> {
        let (_, quantizer) = target.learned.as_ref()?;
        Some(Self { quantizer: quantizer.as_ref(), role, bits: target.precision.bits()?, axis })
    }

    fn site(self, groups: usize, signed: bool) -> LearnedSite {
        let Self { role, bits, axis, .. } = self;
        LearnedSite { role, bits, axis, groups, signed }
    }
}
