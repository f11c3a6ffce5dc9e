//! The JSON schema of the files that the program reads, so that editors complete and check them.
//!
//! ```text
//! parser + wrong value -> Answer (keys, variants, family, form) -> Shapes -> JSON schema
//! ```
//! No key is listed here that a parser knows: unknown fields and variants are errors that name the known ones, and a
//! value of another form is an error, so that the parsers themselves are asked. What they do not know, since the
//! program looks it up later, stands in `places`. Plugins from outside are asked like those that come with Blindfold.

mod answer;
mod descriptions;
mod family;
mod member;
mod places;
mod run;
mod shape;

use serde_json::{Map, Value as Json, json};
use toml::Value;

use self::answer::Answer;
use self::family::Family;
use self::member::{Member, closed};
use self::run::Run;
use self::shape::{Shapes, reference};
use crate::Registry;
use crate::study::check_head;

/// The JSON schema (draft 2020-12) of experiment, base, method and study files and of a run's own config.toml, with the
/// keys of all plugins of the registry.
///
/// Every key is allowed to be absent, since files are merged over one another. It knows names and forms, not ranges:
/// that `evaluation.every` is at least 1, the program says.
pub fn schema(registry: &Registry) -> Json {
    let families = Family::all(registry);
    let run = Run::new();
    let mut definitions = Map::from_iter([("bits".to_owned(), run.bits())]);
    let (mut sources, mut steps) = (Map::new(), Map::new());
    for family in families.iter().filter(|family| family.name != "metric sink") {
        let members = Member::all(family, &families);
        let beside = run.beside(family.name, &families);
        let own = || members.iter().map(|member| (member.name.clone(), member.table())).collect();
        let schema = match family.name {
            "fitting step" => {
                steps = own();
                fit(family, &steps, beside)
            }
            _ => family.schema(&members, &beside),
        };
        if family.name == "image source" {
            sources = own();
        }
        definitions.insert(family.name.replace(' ', "-"), schema);
    }
    let mut properties = run.properties(&families);
    experiment_file(&mut properties);
    for (key, shape) in &mut properties {
        if shape.get("properties").is_some() {
            definitions.insert(key.clone(), std::mem::replace(shape, reference(key)));
        }
    }
    definitions.insert("tables".to_owned(), closed(properties.clone()));
    let mut of_method = properties.clone();
    of_method.insert("budget".to_owned(), budget());
    definitions.insert("method-tables".to_owned(), closed(of_method));
    definitions.insert("fast".to_owned(), fast(properties.clone(), sources, steps));
    properties.extend(file_tables());
    properties.insert("study".to_owned(), study(&families));
    let mut whole = closed(properties);
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    whole["title"] = "Blindfold".into();
    whole["description"] = "An experiment, a method or a study; made by `blindfold config --schema`.".into();
    whole["$defs"] = Json::Object(definitions);
    descriptions::describe(&mut whole);
    whole
}

/// The `[fit]` table.
fn fit(family: &Family, steps: &Map<String, Json>, beside: Vec<(String, Json)>) -> Json {
    let mut properties = steps.clone();
    properties.extend(beside);
    let mut schema = closed(properties);
    schema["properties"]["steps"]["items"] = json!({ "enum": family.names() });
    schema
}

/// What an experiment file's `[experiment]` has beside what is left of it in a run.
fn experiment_file(properties: &mut Map<String, Json>) {
    let Some(Json::Object(own)) = properties.get_mut("experiment").and_then(|table| table.get_mut("properties")) else {
        return;
    };
    let seed = json!({ "type": "integer", "minimum": 0 });
    own.insert("base".to_owned(), json!({ "type": "string" }));
    own.insert("methods".to_owned(), json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }));
    own.insert("seeds".to_owned(), json!({ "type": "array", "items": seed, "minItems": 1 }));
}

/// The `[fast]` table: as the others, but `images` by source (`"*"` for all others) and `fit` by step.
fn fast(mut properties: Map<String, Json>, mut sources: Map<String, Json>, mut steps: Map<String, Json>) -> Json {
    sources.insert("*".to_owned(), reference("image source"));
    properties.insert("images".to_owned(), closed(sources));
    steps.insert("images".to_owned(), json!({ "type": "integer", "minimum": 0 }));
    properties.insert("fit".to_owned(), closed(steps));
    closed(properties)
}

/// Tables that files have and runs do not.
fn file_tables() -> [(String, Json); 4] {
    let published = json!({
        "type": "object",
        "properties": { "drop": { "type": "number" }, "source": { "type": "string" } },
        "required": ["drop", "source"],
        "additionalProperties": false,
    });
    [
        ("fast", reference("fast")),
        ("methods", json!({ "type": "object", "additionalProperties": reference("method-tables") })),
        ("published", json!({ "type": "object", "additionalProperties": published })),
        ("budget", budget()),
    ]
    .map(|(key, shape)| (key.to_owned(), shape))
}

/// The `[budget]` table of a method.
fn budget() -> Json {
    let properties = json!({ "short": { "type": "string" }, "full": reference("tables") });
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The `[study]` table of a study file.
fn study(families: &[Family]) -> Json {
    let base: toml::Table = "summary = 'x'\nbase = 'x'\nprotocols = []\nbits = []\nmethods = []\nseeds = []"
        .parse()
        .expect("a test reads this constant");
    let ask = |value: Value| {
        let Value::Table(own) = value else { return Answer::Refused };
        let mut whole = base.clone();
        whole.extend(own);
        Answer::of(check_head(Value::Table(whole)))
    };
    Shapes { families, places: &[] }.of("study", &ask, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_there() {
        let mut schema = schema(&Registry::builtin().unwrap());
        assert_eq!(descriptions::describe(&mut schema), Vec::<&str>::new());
        assert!(schema["$defs"]["quant"]["properties"]["weight_bits"]["description"].is_string());
    }

    #[test]
    fn every_reference_has_its_definition_and_no_place_is_unknown() {
        let schema = schema(&Registry::builtin().unwrap());
        fn visit(node: &Json, definitions: &Json) {
            if let Some(target) = node.get("$ref").and_then(Json::as_str) {
                let name = target.strip_prefix("#/$defs/").unwrap();
                assert!(definitions.get(name).is_some(), "{target}");
            }
            match node {
                Json::Object(keys) => keys.values().for_each(|value| visit(value, definitions)),
                Json::Array(items) => items.iter().for_each(|item| visit(item, definitions)),
                _ => {}
            }
        }
        visit(&schema, &schema["$defs"]);
        assert_eq!(schema["$defs"]["bits"]["enum"], json!([1, 2, 3, 4, 5, 6, 7, 8, 16, "fp32"]));
        let quantizer = &schema["$defs"]["quant"]["properties"]["weight"]["properties"]["quantizer"];
        assert_eq!(quantizer["$ref"], "#/$defs/quantizer");
        assert_eq!(schema["$defs"]["distill"]["properties"]["loss"]["items"]["$ref"], "#/$defs/loss");
        assert_eq!(schema["$defs"]["loss"]["properties"]["weight"]["type"], "number");
        assert_eq!(schema["$defs"]["evaluation"]["properties"]["every"]["default"], 1);
        assert!(schema["$defs"]["method"]["properties"]["name"].get("default").is_none());
    }
}
