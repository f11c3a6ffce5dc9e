//! The parameters of a network's learned quantizers.

use std::collections::BTreeMap;

use blindfold_zoo::ops::substitute;
use blindfold_zoo::parameter_id;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{LearnedQuantizer, LearnedSite};
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// The parameters of all learned quantizers of a network: a Burn module, so that Burn's optimizers work on it.
///
/// Identifiers follow from the names of layers and parameters, so that optimizer states find them again after a restart.
#[derive(Module, Debug)]
pub struct LearnedParameters {
    sites: Vec<SiteParameters>,
}

/// The parameters of one tensor's quantizer.
#[derive(Module, Debug)]
pub struct SiteParameters {
    name: String,
    values: Vec<Param<Tensor<1>>>,
    #[module(skip)]
    site: LearnedSite,
}

/// Learned parameters as a checkpoint holds them, by layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedState {
    /// Of weights.
    pub weights: BTreeMap<String, LearnedValues>,
    /// Of outputs.
    pub activations: BTreeMap<String, LearnedValues>,
}

/// Learned parameters of one tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedValues {
    /// Number of groups.
    pub groups: usize,
    /// Whether values may be negative.
    pub signed: bool,
    /// Values by the parameter's name.
    pub values: BTreeMap<String, Vec<f32>>,
}

impl LearnedParameters {
    /// Those of these tensors.
    pub(crate) fn new(sites: Vec<SiteParameters>) -> Self {
        Self { sites }
    }

    /// Those of one tensor.
    pub(crate) fn get(&self, role: Role, name: &str) -> Option<&SiteParameters> {
        self.sites.iter().find(|site| site.site.role == role && site.name == name)
    }

    /// Whether there is nothing to optimise: no quantizer here has parameters.
    pub fn is_empty(&self) -> bool {
        self.sites.iter().all(|site| site.values.is_empty())
    }

    /// On the autodiff device, with gradients for all parameters.
    pub fn trainable(self) -> Self {
        let learning = |site: SiteParameters| {
            let values = site.values.into_iter().map(|value| value.set_require_grad(true)).collect();
            SiteParameters { values, ..site }
        };
        Self { sites: self.sites.into_iter().map(learning).collect() }.train()
    }

    /// Without gradients, on the plain device.
    pub fn frozen(self) -> Self {
        self.valid().no_grad()
    }
}

impl SiteParameters {
    /// Parameters of these values, in the quantizer's order, without gradients.
    ///
    /// # Errors
    /// [`QuantError::State`] for values that are not those of the quantizer's layout.
    pub(crate) fn new(
        name: &str,
        site: LearnedSite,
        quantizer: &dyn LearnedQuantizer,
        values: Vec<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, QuantError> {
        let layout = quantizer.layout(&site);
        if layout.len() != values.len() || layout.iter().zip(&values).any(|((_, size), values)| values.len() != *size) {
            let found: Vec<usize> = values.iter().map(Vec::len).collect();
            let reason = format!("has learned parameters of sizes {found:?} at `{name}` where {layout:?} belong");
            return Err(QuantError::State(reason));
        }
        let device = device.clone().inner();
        let parameter = |(parameter, values): (&'static str, Vec<f32>)| {
            let id = parameter_id(&format!("learned {} {name} {parameter}", site.role.name()));
            let count = values.len();
            let tensor = Tensor::from_data(TensorData::new(values, [count]), &device);
            Param::initialized(id, tensor).set_require_grad(false)
        };
        let values = layout.into_iter().map(|(name, _)| name).zip(values).map(parameter).collect();
        Ok(Self { name: name.to_owned(), values, site })
    }

    /// Those of a checkpoint.
    ///
    /// # Errors
    /// [`QuantError::State`] for values that are not those of the quantizer's layout.
    pub(crate) fn restored(
        name: &str,
        site: LearnedSite,
        quantizer: &dyn LearnedQuantizer,
        state: LearnedValues,
        device: &Device,
    ) -> Result<Self, QuantError> {
        let LearnedValues { mut values, .. } = state;
        let ordered: Vec<Vec<f32>> =
            quantizer.layout(&site).iter().filter_map(|(parameter, _)| values.remove(*parameter)).collect();
        if !values.is_empty() {
            let unknown: Vec<String> = values.into_keys().collect();
            return Err(QuantError::State(format!("has unknown learned parameters {unknown:?} at `{name}`")));
        }
        Self::new(name, site, quantizer, ordered, device)
    }

    /// As a checkpoint holds them.
    pub(crate) fn state(&self, quantizer: &dyn LearnedQuantizer) -> LearnedValues {
        let names = quantizer.layout(&self.site).into_iter().map(|(name, _)| name.to_owned());
        LearnedValues {
            groups: self.site.groups,
            signed: self.site.signed,
            values: names.zip(self.values_on_host()).collect(),
        }
    }

    /// What a tensor is quantized to, with gradients for it and for the parameters.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] for broken weights, [`QuantError::Grid`] for parameters that diverged,
    /// [`QuantError::Groups`] for a tensor of other groups.
    pub(crate) fn forward(&self, quantizer: &dyn LearnedQuantizer, x: Tensor<4>) -> Result<Tensor<4>, QuantError> {
        let found = self.site.axis.map_or(1, |axis| x.dims()[axis]);
        if found != self.site.groups {
            return Err(QuantError::Groups { expected: self.site.groups, found });
        }
        let plain = x.clone().inner();
        let weights = match self.site.role {
            Role::Weight => Some(Samples::of(plain.clone(), self.site.axis)?),
            Role::Activation => None,
        };
        let value = self.codec(quantizer, weights.as_ref())?.fake_quantize(plain);
        let parameters: Vec<Tensor<1>> = self.values.iter().map(Param::val).collect();
        if !(x.is_autodiff() || parameters.iter().any(Tensor::is_autodiff)) {
            return Ok(value);
        }
        let carrier = quantizer.carrier(x.autodiff(), &value, &parameters, weights.as_ref(), &self.site)?;
        Ok(substitute(carrier, value))
    }

    /// The codec of the parameters as they are; `weights` for a weight.
    ///
    /// # Errors
    /// As [`LearnedQuantizer::codec`].
    pub(crate) fn codec(
        &self,
        quantizer: &dyn LearnedQuantizer,
        weights: Option<&Samples>,
    ) -> Result<Codec, QuantError> {
        quantizer.codec(&self.values_on_host(), weights, &self.site)
    }

    /// `sum d / 2 * p^2` over the parameters that decay; none where none does.
    pub(crate) fn penalty(&self, quantizer: &dyn LearnedQuantizer) -> Option<Tensor<1>> {
        let layout = quantizer.layout(&self.site);
        let terms = layout.iter().zip(&self.values).filter_map(|((name, _), value)| {
            let decay = quantizer.decay(name, &self.site);
            (decay > 0.0).then(|| value.val().square().sum().mul_scalar(decay / 2.0))
        });
        terms.reduce(|sum, term| sum + term)
    }

    /// The parameters as they stand in a graph.
    #[cfg(test)]
    pub(crate) fn leaves(&self) -> Vec<Tensor<1>> {
        self.values.iter().map(Param::val).collect()
    }

    fn values_on_host(&self) -> Vec<Vec<f32>> {
        self.values.iter().map(|value| value.val().inner().into_data().iter::<f32>().collect()).collect()
    }
}
