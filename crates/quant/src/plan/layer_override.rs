//! Exceptions to the protocol.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use super::config::FormatConfig;
use crate::audit::Role;
use crate::precision::Precision;

/// One `[[quant.layer]]` table: other bits or formats for the layers whose names fit a pattern.
///
/// `weight_*` applies to convolutions and linear layers, `activation_*` to the sites at which the protocol quantizes. A
/// pattern without `*` and `?` that names another node makes its output a site: `match = "input"`, `activation_bits = 8`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerOverride {
    /// Names, with `*` for any characters and `?` for one.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Bits of weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bits: Option<Precision>,
    /// Bits of activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_bits: Option<Precision>,
    /// Format of weights.
    #[serde(default, skip_serializing_if = "FormatConfig::is_empty")]
    pub weight: FormatConfig,
    /// Format of activations.
    #[serde(default, skip_serializing_if = "FormatConfig::is_empty")]
    pub activation: FormatConfig,
}

impl LayerOverride {
    /// An exception for that pattern which changes nothing yet.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            weight_bits: None,
            activation_bits: None,
            weight: FormatConfig::default(),
            activation: FormatConfig::default(),
        }
    }

    /// Refuses a table that changes nothing, and keys that have no meaning for their tensor.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.changes_weights() && !self.changes_activations() {
            let fix = "say what is different there: weight_bits, activation_bits, weight or activation";
            return Err(ConfigError::invalid("match", &self.pattern, fix));
        }
        self.weight.check(Role::Weight).map_err(|error| error.within("weight"))?;
        self.activation.check(Role::Activation).map_err(|error| error.within("activation"))
    }

    pub(crate) fn changes_weights(&self) -> bool {
        self.weight_bits.is_some() || !self.weight.is_empty()
    }

    pub(crate) fn changes_activations(&self) -> bool {
        self.activation_bits.is_some() || !self.activation.is_empty()
    }
}
