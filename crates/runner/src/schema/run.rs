//! The parser of a run's configuration, to be asked.

use blindfold_synth::PriorConfig;
use blindfold_zoo::catalogue;
use serde_json::{Map, Value as Json, json};
use toml::{Table, Value};

use super::answer::{Answer, STRANGER, table};
use super::family::Family;
use super::places::{BESIDE, BITS, places};
use super::shape::{Shapes, reference};
use crate::config::RunConfig;

/// A configuration with all tables, of which one is replaced to ask how it is read.
const BASE: &str = "
    seed = 1
    experiment = { name = 'x', summary = 'x' }
    method = { name = 'x', summary = 'x', source = 'x' }
    teacher = { name = 'x' }
    data = { name = 'x' }
    images = { source = 'x' }
    quant = {}
    allocate = {}
    distill = {}
";

/// Most bits that the schema tries.
const MOST_BITS: i64 = 64;

/// The parser of [`RunConfig`].
pub(super) struct Run {
    base: Table,
}

impl Run {
    pub(super) fn new() -> Self {
        Self { base: BASE.parse().expect("a test reads this constant") }
    }

    fn parse(&self, key: &str, value: Value) -> Result<RunConfig, String> {
        let mut whole = self.base.clone();
        whole.insert(key.to_owned(), value);
        Value::Table(whole).try_into().map_err(|error: toml::de::Error| error.to_string())
    }

    fn ask(&self, key: &str, value: Value) -> Answer {
        Answer::of(self.parse(key, value).map(|_| ()))
    }

    /// Its top-level keys with their schemas.
    pub(super) fn properties(&self, families: &[Family]) -> Map<String, Json> {
        let places = known(families);
        let shapes = Shapes { families, places: &places };
        let defaults = self.parse("seed", Value::Integer(1)).ok().and_then(|config| Table::try_from(config).ok());
        let keys = match self.ask(STRANGER, Value::Boolean(true)) {
            Answer::Keys(keys) => keys,
            _ => Vec::new(),
        };
        // Where the base says something, that is no default.
        let is_bare = |key: &str| self.base.get(key).is_none_or(|own| own.as_table().is_some_and(Table::is_empty));
        let shape = |key: &String| {
            let default = defaults.as_ref().and_then(|defaults| defaults.get(key)).filter(|_| is_bare(key));
            shapes.of(key, &|value| self.ask(key, value), default)
        };
        keys.iter().map(|key| (key.clone(), shape(key))).collect()
    }

    /// The keys that stand beside those of a family's members.
    pub(super) fn beside(&self, family: &str, families: &[Family]) -> Vec<(String, Json)> {
        let ask = |value: Value| match (family, value) {
            ("data set", Value::Table(own)) => self.ask("data", tagged("name", own)),
            ("loss", Value::Table(own)) => self.ask("distill", table("loss", Value::Array(vec![tagged("kind", own)]))),
            ("image prior", Value::Table(own)) => {
                let read: Result<PriorConfig, toml::de::Error> = tagged("kind", own).try_into();
                Answer::of(read.map(|_| ()).map_err(|error| error.to_string()))
            }
            (_, own) => self.ask("fit", own),
        };
        let shapes = Shapes { families, places: &[] };
        // What is no key of the table's own is taken for one of the plugin's, whatever it holds.
        let is_own = |key: &str| !(ask(table(key, true)).is_read() && ask(table(key, 1)).is_read());
        let keys = BESIDE.iter().find(|(name, _)| *name == family).map_or(&[][..], |(_, keys)| *keys);
        let own = keys.iter().copied().filter(|key| is_own(key));
        own.map(|key| (key.to_owned(), shapes.of(key, &|value| ask(table(key, value)), None))).collect()
    }

    /// The numbers of bits that there are.
    pub(super) fn bits(&self) -> Json {
        let is_read = |value: Value| self.parse("quant", table("weight_bits", value)).is_ok();
        let mut bits: Vec<Json> =
            (1..=MOST_BITS).filter(|bits| is_read(Value::Integer(*bits))).map(Json::from).collect();
        if is_read(Value::String("fp32".to_owned())) {
            bits.push("fp32".into());
        }
        json!({ "enum": bits })
    }
}

fn tagged(tag: &str, mut own: Table) -> Value {
    own.insert(tag.to_owned(), Value::String("x".to_owned()));
    Value::Table(own)
}

/// Places whose schema the configuration's parser does not know.
fn known(families: &[Family]) -> Vec<(String, Json)> {
    let of_families = places().into_iter().filter(|(_, family)| families.iter().any(|known| known.name == *family));
    let mut known: Vec<(String, Json)> = of_families.map(|(place, family)| (place, reference(family))).collect();
    known.extend(BITS.map(|place| (place.to_owned(), reference("bits"))));
    let teachers: Vec<String> = catalogue().into_keys().collect();
    let teacher = json!({ "anyOf": [{ "enum": teachers }, { "type": "string" }] });
    known.push(("teacher.name".to_owned(), teacher));
    if let Some(sinks) = families.iter().find(|family| family.name == "metric sink") {
        known.push(("experiment.sinks[]".to_owned(), json!({ "enum": sinks.names() })));
    }
    known
}
