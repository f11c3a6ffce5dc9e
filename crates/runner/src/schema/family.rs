//! All plugin families alike, whatever their members are for.

use serde_json::Value as Json;
use toml::Table;

use super::member::{Member, choice, tagged};
use crate::Registry;

/// A plugin family.
pub(super) struct Family {
    /// Such as `loss`.
    pub(super) name: &'static str,
    /// In the order of its registration.
    pub(super) members: Vec<Plugin>,
}

/// A member of a plugin family.
pub(super) struct Plugin {
    /// As TOML says it.
    pub(super) name: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// All keys that have a default.
    pub(super) defaults: Table,
    /// What is wrong with a table of its own.
    pub(super) build: Box<dyn Fn(Table) -> Result<(), String>>,
}

impl Family {
    /// All families of a registry.
    pub(super) fn all(registry: &Registry) -> Vec<Self> {
        let quant = &registry.quant;
        vec![
            Self::of(&registry.architectures),
            Self::of(&registry.data_sets),
            Self::of(&registry.sources),
            Self::of(&registry.statistics),
            Self::of(&registry.priors),
            Self::of(&registry.generators),
            Self::of(&registry.augmentations),
            Self::of(&quant.quantizers),
            Self::of(&quant.ranges),
            Self::of(&quant.formats),
            Self::of(&quant.learned),
            Self::of(&quant.sensitivities),
            Self::of(&quant.passes),
            Self::of(&quant.steps),
            Self::of(&registry.losses),
            Self::of(&registry.sinks),
        ]
    }

    fn of<T: ?Sized + 'static>(family: &blindfold_zoo::Family<T>) -> Self {
        let plugin = |entry: &blindfold_zoo::Entry<T>| {
            let build = entry.build;
            Plugin {
                name: entry.name,
                summary: entry.summary,
                defaults: (entry.defaults)(),
                build: Box::new(move |own| build(own).map(|_| ()).map_err(|error| error.to_string())),
            }
        };
        Self { name: family.name(), members: family.entries().iter().map(plugin).collect() }
    }

    /// The names of its members.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.members.iter().map(|member| member.name).collect()
    }

    /// How its members stand in a file: by a name alone or as a table, or as a table that a key says the member of.
    /// `common` are the keys that stand beside the member's own.
    pub(super) fn schema(&self, members: &[Member], common: &[(String, Json)]) -> Json {
        match self.name {
            "quantizer" | "range estimator" | "number format" | "learned quantizer" | "sensitivity" | "pass" => {
                choice(members)
            }
            "image source" => tagged("source", members, common),
            "data set" => tagged("name", members, common),
            _ => tagged("kind", members, common),
        }
    }
}
