//! What `[[quant.layer]]` tables make of a plan, before its plugins are built.

use blindfold_zoo::{ConfigError, Network, near_matches};

use super::choice::PluginChoice;
use super::config::{FormatConfig, QuantConfig};
use super::glob::Glob;
use super::layer_override::LayerOverride;
use crate::precision::Precision;

/// Precision and format of a tensor.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) precision: Precision,
    pub(super) format: FormatConfig,
    /// The table that said so last.
    pub(super) key: String,
}

/// All tensors of a plan.
pub(super) struct Drafts {
    pub(super) weights: Vec<Draft>,
    pub(super) activations: Vec<Draft>,
}

impl Drafts {
    /// With the exceptions of a resolved config, later ones over earlier ones.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for tables that fit nothing, change nothing or say what no tensor heeds.
    pub(super) fn with_exceptions(mut self, config: &QuantConfig, network: &Network) -> Result<Self, ConfigError> {
        let place = |index: usize| format!("layer[{index}]");
        for (index, exception) in config.layer.iter().enumerate() {
            let applied = exception.check().and_then(|()| self.apply(exception, &place(index), network, config));
            applied.map_err(|error| error.within(&place(index)))?;
        }
        for (index, exception) in config.layer.iter().enumerate() {
            self.check_heeded(exception).map_err(|error| error.within(&place(index)))?;
        }
        Ok(self)
    }

    fn apply(
        &mut self,
        exception: &LayerOverride,
        place: &str,
        network: &Network,
        config: &QuantConfig,
    ) -> Result<(), ConfigError> {
        let glob = Glob::new(&exception.pattern);
        if exception.changes_weights() {
            let key = format!("{place}.weight");
            let hits = change(&glob, &mut self.weights, exception.weight_bits, &exception.weight, &key);
            if hits == 0 {
                return Err(fits_nothing("layer with a weight", &exception.pattern, &self.weights));
            }
        }
        if exception.changes_activations() {
            let key = format!("{place}.activation");
            let named = network.find(&exception.pattern).filter(|_| glob.is_literal());
            if let Some(id) = named.filter(|_| self.activations.iter().all(|draft| draft.name != exception.pattern)) {
                let name = network.node(id).name.clone();
                let (precision, format) = (config.activation_bits, config.activation.clone());
                self.activations.push(Draft { name, precision, format, key: key.clone() });
            }
            let hits = change(&glob, &mut self.activations, exception.activation_bits, &exception.activation, &key);
            if hits == 0 {
                return Err(fits_nothing("activation site", &exception.pattern, &self.activations));
            }
        }
        Ok(())
    }

    /// Refuses a table of an exception that none of its tensors reads, once all exceptions are applied.
    fn check_heeded(&self, exception: &LayerOverride) -> Result<(), ConfigError> {
        let glob = Glob::new(&exception.pattern);
        let LayerOverride { weight, activation, .. } = exception;
        for (key, format, drafts) in [("weight", weight, &self.weights), ("activation", activation, &self.activations)]
        {
            let hits: Vec<&Draft> = drafts.iter().filter(|draft| glob.matches(&draft.name)).collect();
            if format.is_empty() || hits.is_empty() {
                continue;
            }
            if hits.iter().all(|draft| draft.precision == Precision::Float) {
                let fix = format!("write {key}_bits, a number of them, beside it, or leave the table out");
                return Err(ConfigError::invalid(key, "a table for what stays in floating point", fix));
            }
            let named = [("quantizer", &format.quantizer), ("range", &format.range)];
            let named = named.into_iter().find_map(|(key, choice)| choice.as_ref().map(|choice| (key, choice)));
            let own: Option<Vec<PluginChoice>> =
                hits.iter().map(|draft| draft.format.number_format(draft.precision)).collect();
            if let (Some((plugin, choice)), Some(own)) = (named, own) {
                let found =
                    format!("`{}` beside the number format `{}`, which takes its place", choice.kind, own[0].kind);
                let fix =
                    "leave it out, or name the format that is meant, such as { kind = \"uniform\", range = \"mse\" }";
                return Err(ConfigError::invalid(plugin, found, fix).within(key));
            }
        }
        Ok(())
    }
}

fn change(glob: &Glob, drafts: &mut [Draft], bits: Option<Precision>, format: &FormatConfig, key: &str) -> usize {
    let mut hits = 0;
    for draft in drafts.iter_mut().filter(|draft| glob.matches(&draft.name)) {
        draft.precision = bits.unwrap_or(draft.precision);
        draft.format = format.or(&draft.format);
        key.clone_into(&mut draft.key);
        hits += 1;
    }
    hits
}

fn fits_nothing(what: &str, pattern: &str, drafts: &[Draft]) -> ConfigError {
    let near = near_matches(pattern, drafts.iter().map(|draft| draft.name.as_str()));
    let names = if near.is_empty() {
        drafts.iter().take(8).map(|draft| draft.name.clone()).collect::<Vec<_>>().join(", ")
    } else {
        near.join(", ")
    };
    ConfigError::invalid(
        "match",
        pattern,
        format!("no {what} of this network has such a name; there are for example: {names}"),
    )
}
