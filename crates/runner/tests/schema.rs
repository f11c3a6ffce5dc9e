//! The JSON schema of the files: that it takes all of the repository's, and refuses what the program refuses.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod json_schema;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use blindfold::config::{Experiment, Wishes, experiment_names, method_names};
use blindfold::{Project, Registry, schema};
use blindfold_zoo::Family;
use serde_json::Value as Json;
use toml::{Table, Value};

static SCHEMA: LazyLock<Json> = LazyLock::new(|| schema(&Registry::builtin().unwrap()));

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    match folder.is_dir() {
        true => folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => Vec::new(),
    }
}

/// Every experiment, base, method and study of the repository, with those of its examples.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut folders = vec![root.join("configs"), root.join("configs/base"), root.join("configs/methods")];
    for example in entries(&root.join("examples")) {
        folders.extend([example.join("configs"), example.join("configs/methods")]);
    }
    let studies = entries(&root.join("experiments")).into_iter().map(|study| study.join("study.toml"));
    let files = folders.iter().flat_map(|folder| entries(folder)).chain(studies);
    files.filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending == "toml")).collect()
}

fn faults(value: impl serde::Serialize) -> Vec<String> {
    json_schema::faults(&SCHEMA, &SCHEMA, &serde_json::to_value(value).unwrap())
}

fn read(path: &Path) -> Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The schema knows only the plugins of this program; an example's own are its program's.
fn is_of_this_program(path: &Path) -> bool {
    !path.components().any(|part| part.as_os_str() == "examples")
}

#[test]
fn every_file_of_the_repository_is_valid() {
    let files = files();
    assert!(files.len() >= 40, "{files:?}");
    for path in files.into_iter().filter(|path| is_of_this_program(path)) {
        let faults = faults(read(&path));
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
    }
}

/// A way from a file's top to a key: keys, and the places of lists' elements.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    At(usize),
}

/// Whether the keys of this table are names that the writer chose.
fn is_free(table: &[Step]) -> bool {
    let keys: Vec<&str> = table
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::At(_) => None,
        })
        .collect();
    matches!(keys.as_slice(), ["methods"] | ["published"] | ["study", "seeds_of" | "axes" | "published", ..])
}

/// Every key of a value.
fn keys(value: &Value, at: &[Step]) -> Vec<Vec<Step>> {
    let deeper = |step: Step, inner: &Value| {
        let path = [at, &[step]].concat();
        let below = keys(inner, &path);
        (path, below)
    };
    match value {
        Value::Table(table) => table
            .iter()
            .flat_map(|(key, inner)| {
                let (path, mut below) = deeper(Step::Key(key.clone()), inner);
                if !is_free(at) {
                    below.push(path);
                }
                below
            })
            .collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, inner)| deeper(Step::At(index), inner).1).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes `keyx` for `key`.
fn misspell(value: &mut Value, path: &[Step]) {
    match (path, value) {
        ([Step::Key(key)], Value::Table(table)) => {
            let inner = table.remove(key).unwrap();
            table.insert(format!("{key}x"), inner);
        }
        ([Step::Key(key), rest @ ..], Value::Table(table)) => misspell(table.get_mut(key).unwrap(), rest),
        ([Step::At(index), rest @ ..], Value::Array(items)) => misspell(&mut items[*index], rest),
        _ => panic!("{path:?} leads nowhere"),
    }
}

#[test]
fn a_misspelt_key_is_refused_wherever_it_stands() {
    let mut tried = 0;
    for path in files() {
        let whole = Value::Table(read(&path));
        for key in keys(&whole, &[]) {
            let mut changed = whole.clone();
            misspell(&mut changed, &key);
            assert!(!faults(changed).is_empty(), "{}: {key:?} misspelt is not refused", path.display());
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn every_resolved_configuration_is_valid() {
    let project = Project::find(None).unwrap();
    let mut checked = 0;
    for name in experiment_names(&project).unwrap() {
        let experiment = Experiment::read(&project, &name).unwrap();
        // All methods on one experiment, and on the others their own.
        let methods = match name.as_str() {
            "shapes10-w4a8" => method_names(&project).unwrap(),
            _ => experiment.methods().to_vec(),
        };
        for method in methods {
            for wishes in [Wishes::default(), Wishes { fast: true, ..Wishes::default() }] {
                let config = experiment.resolve(&project, &method, 1, wishes).unwrap();
                let faults = faults(Table::try_from(&config).unwrap());
                assert!(faults.is_empty(), "{name} / {method}: {faults:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked}");
}

/// The defaults of every member are valid where its name stands beside them, and an unknown key there is not.
fn check_family<T: ?Sized + 'static>(family: &Family<T>, tag: &str) {
    let definition = &SCHEMA["$defs"][family.name().replace(' ', "-")];
    assert!(!family.entries().is_empty());
    for entry in family.entries() {
        let (node, mut table) = match family.name() {
            "fitting step" => (&definition["properties"][entry.name], (entry.defaults)()),
            _ => (definition, (entry.defaults)()),
        };
        if family.name() != "fitting step" {
            table.insert(tag.to_owned(), Value::String(entry.name.to_owned()));
        }
        let faults = |table: &Table| json_schema::faults(&SCHEMA, node, &serde_json::to_value(table).unwrap());
        assert!(faults(&table).is_empty(), "{} `{}`: {:?}", family.name(), entry.name, faults(&table));
        table.insert("no_such_key".to_owned(), Value::Boolean(true));
        assert!(!faults(&table).is_empty(), "{} `{}` takes any key", family.name(), entry.name);
    }
}

#[test]
fn every_plugin_has_its_own_keys_there() {
    let registry = Registry::builtin().unwrap();
    check_family(&registry.architectures, "kind");
    check_family(&registry.data_sets, "name");
    check_family(&registry.sources, "source");
    check_family(&registry.statistics, "kind");
    check_family(&registry.priors, "kind");
    check_family(&registry.generators, "kind");
    check_family(&registry.augmentations, "kind");
    check_family(&registry.losses, "kind");
    let quant = &registry.quant;
    check_family(&quant.quantizers, "kind");
    check_family(&quant.ranges, "kind");
    check_family(&quant.formats, "kind");
    check_family(&quant.learned, "kind");
    check_family(&quant.sensitivities, "kind");
    check_family(&quant.passes, "kind");
    check_family(&quant.steps, "");
}

#[test]
fn wrong_names_and_forms_are_refused_and_right_ones_are_not() {
    for text in [
        "quant.weight_bits = 9",
        "quant.weight_bits = 'fp16'",
        "quant.ste = 'none'",
        "quant.weight.granularity = { per-group = 'x' }",
        "quant.weight.range = 'percentil'",
        "quant.weight.range = { kind = 'kl', percentile = 99.0 }",
        "images.source = 'zerog'",
        "images = { source = 'noise', iterations = 5 }",
        "images.count = '8'",
        "images = { source = 'hast', prior = [{ kind = 'l3' }] }",
        "images = { source = 'hast', prior = [{ kind = 'l2', weight = '1' }] }",
        "images = { source = 'noise', prior = [] }",
        "methods.zeroq.images.counts = 8",
        "data.name = 'cifar'",
        "distill.loss = [{ kind = 'kl', tempreature = 1.0 }]",
        "distill.loss = [{ kind = 'kl', weight = '1' }]",
        "distill.optimizer = { kind = 'sgd', betas = [0.9, 0.99] }",
        "distill.optimizer = { kind = 'adam', betas = [0.9] }",
        "evaluation.batch = '50'",
        "evaluation.batch = -1",
        "allocate.solver = 'greedy'",
        "allocate.budget = { bits = 4.0 }",
        "fit.steps = ['squat']",
        "fit.squant.kernels = true",
        "experiment.sinks = ['jsonl', 'tensorbord']",
        "study.seeds_of = { minmax = 1 }",
        "fast.images.zerog = { count = 1 }",
        "budget.ful = {}",
        "methods.zeroq.budget.ful = {}",
    ] {
        let table: Table = text.parse().unwrap();
        assert!(!faults(table).is_empty(), "{text} is taken");
    }
    for text in [
        "quant.weight_bits = 'fp32'",
        "quant.weight_bits = 16",
        "quant.weight.granularity = { per-group = 64 }",
        "quant.weight.range = 'percentile'",
        "quant.weight.range = { kind = 'percentile', percentile = 99 }",
        "methods.zeroq.images.iterations = 8",
        "methods.zeroq.budget.full.images.count = 8",
        "images = { source = 'hast', prior = [{ kind = 'smoothness', weight = 0.5, kernel = 5 }] }",
        "distill.optimizer = { kind = 'adam', betas = [0.9, 0.99] }",
        "allocate.budget = { size_bits_per_weight = 4 }",
        "teacher = { name = 'mine', file = 'x.pth', architecture = { kind = 'resnet', depth = 32 } }",
        "study.seeds_of = { minmax = [1] }",
        "fast.fit.brecq.iterations = 10",
        "budget = { short = 'a tenth', full.images.count = 1024 }",
    ] {
        let table: Table = text.parse().unwrap();
        let faults = faults(table);
        assert!(faults.is_empty(), "{text}: {faults:?}");
    }
}

#[test]
fn the_committed_schema_is_the_programs() {
    let output = Command::new(env!("CARGO_BIN_EXE_blindfold")).args(["config", "--schema"]).output().unwrap();
    assert!(output.status.success());
    let printed: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, *SCHEMA);
    let committed = std::fs::read_to_string(root().join("configs/schema.json")).unwrap_or_default();
    let committed: Json = serde_json::from_str(&committed).unwrap_or_default();
    assert!(committed == printed, "configs/schema.json is old: run `just schema`");
}
