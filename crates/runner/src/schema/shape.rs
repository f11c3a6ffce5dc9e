//! The JSON schema of a value, found by asking the parser that reads it.

use serde_json::{Map, Value as Json, json};
use toml::{Table, Value};

use super::answer::{Answer, STRANGER, pair, table};
use super::family::Family;
use super::member::{Member, closed, tagged};

/// How a value at one place is read.
pub(super) type Question<'a> = dyn Fn(Value) -> Answer + 'a;

/// Finds schemas by asking, apart from what is known beforehand.
pub(super) struct Shapes<'a> {
    /// All plugin families.
    pub(super) families: &'a [Family],
    /// Places that have a schema of their own, since what stands there is read later than its table:
    /// `quant.weight.range`.
    pub(super) places: &'a [(String, Json)],
}

/// Where the schema of a plugin family stands.
pub(super) fn reference(family: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{}", family.replace(' ', "-")) })
}

impl Shapes<'_> {
    /// The schema of the value at a place.
    pub(super) fn of(&self, place: &str, ask: &Question<'_>, default: Option<&Value>) -> Json {
        if let Some((_, known)) = self.places.iter().find(|(known, _)| known == place) {
            return known.clone();
        }
        let found =
            self.table(place, ask, default).or_else(|| self.text(place, ask)).or_else(|| self.array(place, ask));
        with_default(found.unwrap_or_else(|| scalar(ask)), default)
    }

    fn table(&self, place: &str, ask: &Question<'_>, default: Option<&Value>) -> Option<Json> {
        match ask(table(STRANGER, true)) {
            Answer::Keys(keys) => Some(self.object(place, &keys, ask, default)),
            Answer::Missing(tag) => self.variants(place, &tag, ask, default),
            Answer::Read => Some(match ask(table("kind", STRANGER)) {
                Answer::Family(family) => reference(&family),
                _ => json!({ "type": "object" }),
            }),
            _ if ask(Value::Table(Table::new())).is_read() => {
                let each = self.of(&format!("{place}.*"), &|value| ask(table(STRANGER, value)), None);
                Some(json!({ "type": "object", "additionalProperties": each }))
            }
            // A plugin by its name or as a table, of a family that is looked up later.
            _ if ask(pair(("kind", STRANGER), (STRANGER, Value::Boolean(true)))).is_read() => {
                Some(json!({ "type": ["string", "object"] }))
            }
            _ => None,
        }
    }

    fn object(&self, place: &str, keys: &[String], ask: &Question<'_>, default: Option<&Value>) -> Json {
        let own = default.and_then(Value::as_table);
        let shape = |key: &String| {
            let default = own.and_then(|own| own.get(key));
            self.of(&format!("{place}.{key}"), &|value| ask(table(key, value)), default)
        };
        closed(keys.iter().map(|key| (key.clone(), shape(key))).collect())
    }

    /// A table that its key `tag` chooses the form of.
    fn variants(&self, place: &str, tag: &str, ask: &Question<'_>, default: Option<&Value>) -> Option<Json> {
        let names = match ask(table(tag, STRANGER)) {
            Answer::Variants(names) => names,
            Answer::Family(family) => return Some(reference(&family)),
            Answer::Read => return Some(json!({ "type": "object", "required": [tag] })),
            answer => return answer.is_read().then(|| json!({ "type": "object" })),
        };
        let own = default.and_then(Value::as_table);
        let member = |name: String| {
            let keys = match ask(pair((tag, name.as_str()), (STRANGER, Value::Boolean(true)))) {
                Answer::Keys(keys) => keys,
                _ => Vec::new(),
            };
            let own = own.filter(|own| own.get(tag).and_then(Value::as_str) == Some(name.as_str()));
            let shape = |key: &String| {
                let default = own.and_then(|own| own.get(key));
                self.of(
                    &format!("{place}.{key}"),
                    &|value| ask(pair((tag, name.as_str()), (key.as_str(), value))),
                    default,
                )
            };
            let keys = keys.iter().map(|key| (key.clone(), shape(key))).collect();
            Member { summary: String::new(), keys, name }
        };
        let members: Vec<Member> = names.into_iter().map(member).collect();
        Some(tagged(tag, &members, &[]))
    }

    /// A text of a closed list; where some of its members hold values, those are tables of one key.
    fn text(&self, place: &str, ask: &Question<'_>) -> Option<Json> {
        let names = match ask(Value::String(STRANGER.to_owned())) {
            Answer::Variants(names) => names,
            Answer::Family(family) => {
                let known = self.families.iter().find(|known| known.name == family);
                return known.map(|known| json!({ "enum": known.names() }));
            }
            _ => return None,
        };
        let is_text = |name: &String| ask(Value::String(name.clone())).is_read();
        let (texts, holders): (Vec<String>, Vec<String>) = names.into_iter().partition(is_text);
        let shape = |name: &String| self.of(&format!("{place}.{name}"), &|value| ask(table(name, value)), None);
        let tables: Map<String, Json> = holders.iter().map(|name| (name.clone(), shape(name))).collect();
        let mut holder = closed(tables);
        holder["maxProperties"] = 1.into();
        Some(match (texts.is_empty(), holders.is_empty()) {
            (_, true) => json!({ "enum": texts }),
            (true, false) => holder,
            (false, false) => json!({ "anyOf": [{ "enum": texts }, holder] }),
        })
    }

    fn array(&self, place: &str, ask: &Question<'_>) -> Option<Json> {
        let length = match ask(Value::Array(Vec::new())) {
            Answer::Length(length) => Some(length),
            answer if answer.is_read() => None,
            _ => return None,
        };
        let count = length.unwrap_or(1);
        let items = self.of(&format!("{place}[]"), &|value| ask(Value::Array(vec![value; count])), None);
        Some(match length {
            Some(length) => json!({ "type": "array", "items": items, "minItems": length, "maxItems": length }),
            None => json!({ "type": "array", "items": items }),
        })
    }
}

/// The schema of a value without parts; of anything where nothing is read.
fn scalar(ask: &Question<'_>) -> Json {
    let reads = |value: Value| ask(value).is_read();
    let mut types = Vec::new();
    let mut schema = Map::new();
    if reads(Value::Boolean(true)) {
        types.push("boolean");
    }
    if reads(Value::Float(0.5)) {
        types.push("number");
    } else if reads(Value::Integer(1)) {
        types.push("integer");
        if !reads(Value::Integer(-1)) {
            schema.insert("minimum".to_owned(), 0.into());
        }
    }
    if reads(Value::String(STRANGER.to_owned())) {
        types.push("string");
    }
    match types.as_slice() {
        [] => None,
        [one] => schema.insert("type".to_owned(), (*one).into()),
        several => schema.insert("type".to_owned(), several.into()),
    };
    Json::Object(schema)
}

fn with_default(mut shape: Json, default: Option<&Value>) -> Json {
    if let (Some(default), Json::Object(keys)) = (default.filter(|default| is_plain(default)), &mut shape) {
        keys.insert("default".to_owned(), json_of(default));
    }
    shape
}

/// Whether JSON can hold it, and a schema of its own says nothing more of it.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Table(_) => false,
        Value::Array(items) => items.iter().all(is_plain),
        Value::Float(number) => number.is_finite(),
        _ => true,
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Float(number) => short(*number).into(),
        Value::Array(items) => items.iter().map(json_of).collect(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

/// 0.1 of single precision as 0.1, not as the 0.10000000149011612 that it is.
fn short(number: f64) -> f64 {
    let single = number as f32;
    match f64::from(single) == number {
        true => single.to_string().parse().unwrap_or(number),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Everything {
        count: usize,
        offset: i64,
        rate: f32,
        flag: bool,
        name: Option<String>,
        betas: [f64; 2],
        list: Vec<u8>,
        inner: Option<Inner>,
        way: Option<Way>,
        kind: Option<Tagged>,
        by_name: std::collections::BTreeMap<String, Vec<bool>>,
        free: Table,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        from: f64,
        epochs: usize,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Way {
        Up,
        OneByOne(usize),
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Tagged {
        Constant {},
        Step {
            milestones: Vec<f64>,
            #[serde(default)]
            factor: f64,
        },
    }

    #[test]
    fn every_form_is_found() {
        let ask = |value: Value| {
            Answer::of(value.try_into::<Everything>().map(|_| ()).map_err(|error: toml::de::Error| error.to_string()))
        };
        let default = Value::try_from(Everything { rate: 0.1, ..Everything::default() }).unwrap();
        let schema = Shapes { families: &[], places: &[] }.of("", &ask, Some(&default));
        let property = |name: &str| schema["properties"][name].clone();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(property("count"), json!({ "type": "integer", "minimum": 0, "default": 0 }));
        assert_eq!(property("offset"), json!({ "type": "integer", "default": 0 }));
        assert_eq!(property("rate"), json!({ "type": "number", "default": 0.1 }));
        assert_eq!(property("flag"), json!({ "type": "boolean", "default": false }));
        assert_eq!(property("name"), json!({ "type": "string" }));
        let number = json!({ "type": "number" });
        assert_eq!(
            property("betas"),
            json!({ "type": "array", "items": number, "minItems": 2, "maxItems": 2, "default": [0.0, 0.0] })
        );
        let whole = json!({ "type": "integer", "minimum": 0 });
        assert_eq!(property("list"), json!({ "type": "array", "items": whole, "default": [] }));
        assert_eq!(property("inner")["properties"], json!({ "from": number, "epochs": whole }));
        assert_eq!(property("way")["anyOf"][0], json!({ "enum": ["up"] }));
        assert_eq!(property("way")["anyOf"][1]["properties"], json!({ "one-by-one": whole }));
        assert_eq!(property("kind")["properties"]["kind"], json!({ "enum": ["constant", "step"] }));
        assert_eq!(property("kind")["allOf"][0]["then"]["propertyNames"], json!({ "enum": ["kind"] }));
        assert_eq!(
            property("kind")["allOf"][1]["then"]["propertyNames"],
            json!({ "enum": ["kind", "milestones", "factor"] })
        );
        assert_eq!(property("by_name")["additionalProperties"]["items"], json!({ "type": "boolean" }));
        assert_eq!(property("free"), json!({ "type": "object" }));
    }
}
