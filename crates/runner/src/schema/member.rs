//! Tables of which one key, the tag, says which form they have.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use toml::Value;

use super::answer::{Answer, STRANGER, table};
use super::family::{Family, Plugin};
use super::shape::Shapes;

/// A member of a plugin family, or a variant of an enumeration.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What the tag says.
    pub(super) name: String,
    /// One line; empty where there is none.
    pub(super) summary: String,
    /// Its own keys with their schemas.
    pub(super) keys: Vec<(String, Json)>,
}

impl Member {
    /// The members of a family, their keys found by asking their builds.
    pub(super) fn all(family: &Family, families: &[Family]) -> Vec<Self> {
        let shapes = Shapes { families, places: &[] };
        let member = |plugin: &Plugin| {
            let ask = |value: Value| match value {
                Value::Table(own) => Answer::of((plugin.build)(own)),
                _ => Answer::Refused,
            };
            let keys = match ask(table(STRANGER, true)) {
                Answer::Keys(keys) => keys,
                _ => plugin.defaults.keys().cloned().collect(),
            };
            let shape = |key: &String| shapes.of(key, &|value| ask(table(key, value)), plugin.defaults.get(key));
            let keys = keys.iter().map(|key| (key.clone(), shape(key))).collect();
            Self { name: plugin.name.to_owned(), summary: plugin.summary.to_owned(), keys }
        };
        family.members.iter().map(member).collect()
    }

    /// A table of its own keys alone.
    pub(super) fn table(&self) -> Json {
        closed(self.keys.iter().cloned().collect())
    }
}

/// A table of these keys and no others.
pub(super) fn closed(properties: Map<String, Json>) -> Json {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// One of the members' names, with their summaries for editors that show them.
pub(super) fn names(members: &[Member]) -> Json {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let summaries: Vec<&str> = members.iter().map(|member| member.summary.as_str()).collect();
    match summaries.iter().all(|summary| summary.is_empty()) {
        true => json!({ "enum": names }),
        false => json!({ "enum": names, "x-taplo": { "docs": { "enumValues": summaries } } }),
    }
}

/// A table whose key `tag` names one of the members, whose own keys then are its other keys; `common` stand beside
/// them all.
///
/// Without the tag, as in a table that is merged over another, the keys of all members are allowed.
pub(super) fn tagged(tag: &str, members: &[Member], common: &[(String, Json)]) -> Json {
    let mut uses: BTreeMap<&str, Vec<(&str, &Json)>> = BTreeMap::new();
    for member in members {
        for (key, shape) in &member.keys {
            uses.entry(key.as_str()).or_default().push((member.name.as_str(), shape));
        }
    }
    let mut properties: Map<String, Json> = uses.iter().map(|(key, uses)| ((*key).to_owned(), union(uses))).collect();
    properties.extend(common.iter().cloned());
    properties.insert(tag.to_owned(), names(members));
    let choices: Vec<Json> = members
        .iter()
        .map(|member| {
            let own = member.keys.iter().map(|(key, _)| key.as_str());
            let allowed: Vec<&str> =
                std::iter::once(tag).chain(common.iter().map(|(key, _)| key.as_str())).chain(own).collect();
            let several = |key: &str| uses.get(key).is_some_and(|uses| forms(uses).len() > 1);
            let exact: Map<String, Json> = member.keys.iter().filter(|(key, _)| several(key)).cloned().collect();
            json!({
                "if": { "properties": { tag: { "const": member.name } }, "required": [tag] },
                "then": { "propertyNames": { "enum": allowed }, "properties": exact },
            })
        })
        .collect();
    let mut schema = closed(properties);
    schema["allOf"] = Json::Array(choices);
    schema
}

/// A plugin as PluginChoice reads it: its name alone, or a table with its keys.
pub(super) fn choice(members: &[Member]) -> Json {
    json!({ "anyOf": [names(members), tagged("kind", members, &[])] })
}

/// The schema of a key that several members have.
fn union(uses: &[(&str, &Json)]) -> Json {
    let forms = forms(uses);
    let mut whole = match forms.as_slice() {
        [form] => form.clone(),
        _ => json!({ "anyOf": forms }),
    };
    let default = |shape: &Json| shape.get("default").cloned();
    let same = uses.windows(2).all(|pair| default(pair[0].1) == default(pair[1].1));
    let of = uses.iter().map(|(member, shape)| match default(shape).filter(|_| !same) {
        Some(default) => format!("`{member}` (default {default})"),
        None => format!("`{member}`"),
    });
    if let Json::Object(keys) = &mut whole {
        keys.insert("description".to_owned(), format!("of {}", of.collect::<Vec<_>>().join(", ")).into());
        if let Some(default) = uses.first().and_then(|(_, shape)| default(shape)).filter(|_| same) {
            keys.insert("default".to_owned(), default);
        }
    }
    whole
}

/// The different schemas among these, apart from their defaults.
fn forms(uses: &[(&str, &Json)]) -> Vec<Json> {
    let mut forms: Vec<Json> = Vec::new();
    for (_, shape) in uses {
        let mut form = (*shape).clone();
        if let Json::Object(keys) = &mut form {
            keys.remove("default");
        }
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}
