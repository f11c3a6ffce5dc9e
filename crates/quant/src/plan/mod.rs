//! What is to be done with every layer of a network.

mod choice;
mod config;
mod dynamic;
mod exceptions;
mod glob;
mod layer_override;
mod protocol;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Network, fold_batch_norms};

pub use choice::PluginChoice;
pub use config::{FormatConfig, QuantConfig};
pub use dynamic::Dynamic;
pub use glob::Glob;
pub use layer_override::LayerOverride;
pub use protocol::Protocol;
pub use target::Target;

use self::exceptions::{Draft, Drafts};
use crate::audit::Role;
use crate::error::QuantError;
use crate::families::Families;
use crate::precision::Precision;
use crate::ste::Ste;

/// Formats by layer: what a [`QuantConfig`] means for one network.
#[derive(Debug, Clone)]
pub struct Plan {
    protocol: Protocol,
    ste: Ste,
    weights: BTreeMap<String, Target>,
    activations: BTreeMap<String, Target>,
    order: Vec<String>,
}

impl Plan {
    /// The plan of a config for a network in floating point, with its batch norms (they are folded where the protocol says).
    ///
    /// # Errors
    /// [`QuantError::Config`]: unknown plugins, values out of range, patterns that fit nothing (with near matches), tables
    /// that no tensor heeds.
    pub fn new(config: &QuantConfig, network: &Network, families: &Families) -> Result<Self, QuantError> {
        let protocol = config.protocol;
        if protocol == Protocol::Gdfq && config.first_last_bits.is_some() {
            let fix = "protocol \"gdfq\" has the same bits in all layers: leave it out, or write [[quant.layer]] for single layers";
            return Err(ConfigError::invalid("first_last_bits", "a value", fix).into());
        }
        let config = config.resolved();
        let folded;
        let network = if protocol.folds_batch_norms() {
            folded = fold_batch_norms(network.clone());
            &folded
        } else {
            network
        };
        let bits = |plain: Precision, boundary: bool| match (plain, config.first_last_bits) {
            (Precision::Int(_), Some(bits)) if boundary => bits,
            _ => plain,
        };
        config.weight.check(Role::Weight).map_err(|error| error.within("weight"))?;
        config.activation.check(Role::Activation).map_err(|error| error.within("activation"))?;
        let draft = |place: &protocol::Place, plain: Precision, format: &FormatConfig, key: &str| {
            let mut format = format.clone();
            if place.boundary && config.first_last_bits.is_some() {
                (format.format, format.learned) = (None, None);
            }
            Draft {
                name: network.node(place.id).name.clone(),
                precision: bits(plain, place.boundary),
                format,
                key: key.to_owned(),
            }
        };
        let weights = protocol
            .weights(network)
            .iter()
            .map(|place| draft(place, config.weight_bits, &config.weight, "weight"))
            .collect();
        let activations = protocol
            .activations(network)
            .iter()
            .map(|place| draft(place, config.activation_bits, &config.activation, "activation"))
            .collect();
        let Drafts { weights, activations } = Drafts { weights, activations }.with_exceptions(&config, network)?;
        let build = |drafts: Vec<Draft>, role: Role| {
            drafts
                .into_iter()
                .map(|Draft { name, precision, format, key }| {
                    let target =
                        Target::new(&name, role, precision, &format, families).map_err(|error| error.within(&key))?;
                    Ok((name, target))
                })
                .collect::<Result<BTreeMap<String, Target>, ConfigError>>()
        };
        let (weights, activations) = (build(weights, Role::Weight)?, build(activations, Role::Activation)?);
        let order = network.nodes().iter().map(|node| node.name.clone()).collect();
        Ok(Self { protocol, ste: config.ste, weights, activations, order })
    }

    /// Whose conventions it follows.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The gradient of fake quantization.
    pub fn ste(&self) -> Ste {
        self.ste
    }

    /// The weight of that layer.
    pub fn weight(&self, name: &str) -> Option<&Target> {
        self.weights.get(name)
    }

    /// The output of that node.
    pub fn activation(&self, name: &str) -> Option<&Target> {
        self.activations.get(name)
    }

    /// All weights, in the network's order.
    pub fn weights(&self) -> impl Iterator<Item = &Target> {
        self.order.iter().filter_map(|name| self.weights.get(name))
    }

    /// All activation sites, in the network's order.
    pub fn activations(&self) -> impl Iterator<Item = &Target> {
        self.order.iter().filter_map(|name| self.activations.get(name))
    }

    /// Whether a learned quantizer is asked for anywhere: then the network is to be trained before it is what the plan says.
    pub fn has_learned(&self) -> bool {
        self.weights().chain(self.activations()).any(|target| target.learned.is_some())
    }

    /// The network as the plan wants it: batch norms folded where the protocol says so.
    ///
    /// # Errors
    /// [`QuantError::OtherNetwork`] when it lacks layers that the plan names.
    pub fn prepare(&self, network: Network) -> Result<Network, QuantError> {
        let network = if self.protocol.folds_batch_norms() { fold_batch_norms(network) } else { network };
        let names = self.weights().chain(self.activations()).map(|target| &target.name);
        let missing: Vec<String> = names.filter(|name| network.find(name).is_none()).cloned().collect();
        if missing.is_empty() {
            Ok(network)
        } else {
            Err(QuantError::OtherNetwork { network: network.name().to_owned(), missing })
        }
    }
}
