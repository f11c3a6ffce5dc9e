//! The `[quant]` table.

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use super::choice::PluginChoice;
use super::dynamic::Dynamic;
use super::layer_override::LayerOverride;
use super::protocol::Protocol;
use crate::audit::Role;
use crate::families::Families;
use crate::granularity::Granularity;
use crate::precision::Precision;
use crate::ste::Ste;

/// How a network is quantized. What is left out takes the protocol's choice.
///
/// ```toml
/// protocol = "gdfq"
/// weight_bits = 4
/// activation_bits = 8
/// weight.range = "mse"
/// activation.range = { kind = "percentile", percentile = 99.99 }
/// [[layer]]
/// match = "layer3.*"
/// weight_bits = 8
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantConfig {
    /// Whose conventions to follow.
    pub protocol: Protocol,
    /// Bits of weights.
    pub weight_bits: Precision,
    /// Bits of activations.
    pub activation_bits: Precision,
    /// Bits at the first and last layer; only for `brecq`, where it is 8 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_last_bits: Option<Precision>,
    /// Gradient of fake quantization.
    pub ste: Ste,
    /// Format of weights.
    #[serde(skip_serializing_if = "FormatConfig::is_empty")]
    pub weight: FormatConfig,
    /// Format of activations.
    #[serde(skip_serializing_if = "FormatConfig::is_empty")]
    pub activation: FormatConfig,
    /// Rewrites of the network in floating point before it is quantized, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<PluginChoice>,
    /// Exceptions by name, later ones over earlier ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layer: Vec<LayerOverride>,
}

impl Default for QuantConfig {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            weight_bits: Precision::Int(8),
            activation_bits: Precision::Int(8),
            first_last_bits: None,
            ste: Ste::default(),
            weight: FormatConfig::default(),
            activation: FormatConfig::default(),
            passes: Vec::new(),
            layer: Vec::new(),
        }
    }
}

/// Number format, quantizer, range estimator and granularity, each optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatConfig {
    /// Number format plugin; absent: uniform integers by `quantizer` and `range`. The layers that a protocol keeps at 8 bits
    /// stay uniform integers unless a `[[quant.layer]]` table names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<PluginChoice>,
    /// Quantizer plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantizer: Option<PluginChoice>,
    /// Range estimator plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<PluginChoice>,
    /// Which values share a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<Granularity>,
    /// Activations alone: ranges are found while the network runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<Dynamic>,
    /// Learned quantizer plugin, for training: what the other keys choose is what training begins from. With one bit and
    /// no `format` that is the format `binary`. The layers that a protocol keeps at 8 bits have none unless a
    /// `[[quant.layer]]` table names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<PluginChoice>,
}

impl FormatConfig {
    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what has no meaning for such a tensor, and would be left unread.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with a key of this table.
    pub(super) fn check(&self, role: Role) -> Result<(), ConfigError> {
        let refused = |key: &str, found: String, fix: &str| Err(ConfigError::invalid(key, found, fix));
        match (role, self.dynamic, self.granularity) {
            (Role::Weight, Some(dynamic), _) => {
                let fix = "weights are there before the network runs: leave it out, or write it under `activation`";
                refused("dynamic", format!("`{dynamic}`"), fix)
            }
            (Role::Weight, _, Some(Granularity::PerGroup(0))) => {
                refused("granularity", "per-group = 0".to_owned(), "write at least 1 value a group")
            }
            (Role::Activation, _, Some(Granularity::PerGroup(size))) => {
                let fix = "groups are for weights: write \"per-tensor\" or \"per-channel\"";
                refused("granularity", format!("per-group = {size}"), fix)
            }
            _ => Ok(()),
        }
    }

    /// Refuses plugins that there are not, and keys and values that they do not take.
    fn check_plugins(&self, families: &Families) -> Result<(), ConfigError> {
        if let Some(choice) = &self.format {
            families.formats.build(&choice.kind, choice.options.clone()).map_err(|error| error.within("format"))?;
        }
        if let Some(choice) = &self.quantizer {
            families
                .quantizers
                .build(&choice.kind, choice.options.clone())
                .map_err(|error| error.within("quantizer"))?;
        }
        if let Some(choice) = &self.range {
            families.ranges.build(&choice.kind, choice.options.clone()).map_err(|error| error.within("range"))?;
        }
        if let Some(choice) = &self.learned {
            families.learned.build(&choice.kind, choice.options.clone()).map_err(|error| error.within("learned"))?;
        }
        Ok(())
    }

    /// The number format of a tensor of so many bits; none where quantizer and range make uniform integers.
    pub(super) fn number_format(&self, precision: Precision) -> Option<PluginChoice> {
        let one_bit = self.learned.is_some() && precision == Precision::Int(1);
        self.format.clone().or_else(|| one_bit.then(|| PluginChoice::named("binary")))
    }

    /// This choice, completed by `other`.
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self {
            format: self.format.clone().or_else(|| other.format.clone()),
            quantizer: self.quantizer.clone().or_else(|| other.quantizer.clone()),
            range: self.range.clone().or_else(|| other.range.clone()),
            granularity: self.granularity.or(other.granularity),
            dynamic: self.dynamic.or(other.dynamic),
            learned: self.learned.clone().or_else(|| other.learned.clone()),
        }
    }
}

impl QuantConfig {
    /// Whether there are the plugins that the table names, also for single layers, and whether they take the keys that it
    /// sets for them: what can be said without a network.
    ///
    /// # Errors
    /// [`ConfigError`] with the key: unknown names with near matches, unknown keys, values out of range.
    pub fn check_plugins(&self, families: &Families) -> Result<(), ConfigError> {
        let check = |weight: &FormatConfig, activation: &FormatConfig| {
            weight.check_plugins(families).map_err(|error| error.within("weight"))?;
            activation.check_plugins(families).map_err(|error| error.within("activation"))
        };
        check(&self.weight, &self.activation)?;
        for (index, layer) in self.layer.iter().enumerate() {
            check(&layer.weight, &layer.activation).map_err(|error| error.within(&format!("layer[{index}]")))?;
        }
        Ok(())
    }

    /// The same with everything that was left out written down.
    pub fn resolved(&self) -> Self {
        let (weight, activation, first_last_bits) = match self.protocol {
            Protocol::Gdfq => (
                format("zeroq-affine", PluginChoice::named("min-max"), Granularity::PerChannel),
                format(
                    "zeroq-affine",
                    PluginChoice::named("min-max").with("include_zero", true),
                    Granularity::PerTensor,
                ),
                None,
            ),
            Protocol::Brecq => (
                format("brecq-affine", PluginChoice::named("mse"), Granularity::PerChannel),
                format("brecq-affine", PluginChoice::named("mse"), Granularity::PerTensor),
                Some(Precision::Int(8)),
            ),
        };
        Self {
            weight: self.weight.or(&weight),
            activation: self.activation.or(&activation),
            first_last_bits: self.first_last_bits.or(first_last_bits),
            ..self.clone()
        }
    }
}

fn format(quantizer: &str, range: PluginChoice, granularity: Granularity) -> FormatConfig {
    FormatConfig {
        quantizer: Some(PluginChoice::named(quantizer)),
        range: Some(range),
        granularity: Some(granularity),
        ..FormatConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_written() {
        let config: QuantConfig = toml::from_str(
            r#"
            protocol = "brecq"
            weight_bits = 4
            activation_bits = "fp32"
            ste = "clip-mask"
            weight.range = "min-max"
            activation.range = { kind = "percentile", percentile = 99.99 }
            [[layer]]
            match = "layer3.*"
            weight_bits = 8
            "#,
        )
        .unwrap();
        assert_eq!(
            (config.protocol, config.weight_bits, config.activation_bits),
            (Protocol::Brecq, Precision::Int(4), Precision::Float)
        );
        let resolved = config.resolved();
        assert_eq!(resolved.weight.range, Some(PluginChoice::named("min-max")));
        assert_eq!(resolved.weight.quantizer, Some(PluginChoice::named("brecq-affine")));
        assert_eq!(resolved.first_last_bits, Some(Precision::Int(8)));
        assert_eq!(resolved.resolved(), resolved);
        assert_eq!(toml::from_str::<QuantConfig>(&toml::to_string(&resolved).unwrap()).unwrap(), resolved);
    }

    #[test]
    fn unknown_keys_are_errors_that_name_the_known_ones() {
        let error = toml::from_str::<QuantConfig>("weight_bit = 4").unwrap_err().to_string();
        assert!(error.contains("weight_bit") && error.contains("weight_bits"), "{error}");
        assert!(toml::from_str::<QuantConfig>("weight.observer = \"mse\"").is_err());
    }
}
