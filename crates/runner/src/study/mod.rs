//! A study: methods x bits x seeds, from one file to one page.
//!
//! ```text
//! experiments/<name>/study.toml -> Study -> cells -> runs -> results.jsonl (the ledger) -> tables and figure in README.md
//! ```

mod figure;
mod ledger;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{Experiment, RunConfig, Wishes, merge, read_table};
use crate::{Project, Usage};

pub use figure::figure;
pub use ledger::{Entry, Ledger};
pub use report::{fill, report};

/// A study as its file says it.
#[derive(Debug, Clone)]
pub struct Study {
    /// The folder's name.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Protocols, one set of tables each.
    pub protocols: Vec<String>,
    /// Such as `w4a8`.
    pub bits: Vec<String>,
    /// Method files.
    pub methods: Vec<String>,
    seeds: Vec<u64>,
    seeds_of: BTreeMap<String, Vec<u64>>,
    full: bool,
    common: Table,
    folder: PathBuf,
}

/// One run of a study.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `gdfq` or `brecq`.
    pub protocol: String,
    /// Such as `w4a8`.
    pub bits: String,
    /// The method.
    pub method: String,
    /// Its configuration.
    pub config: RunConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    summary: String,
    base: String,
    protocols: Vec<String>,
    bits: Vec<String>,
    methods: Vec<String>,
    seeds: Vec<u64>,
    #[serde(default)]
    seeds_of: BTreeMap<String, Vec<u64>>,
    #[serde(default)]
    full: bool,
}

impl Study {
    /// The study of that name, `experiments/<name>/study.toml`.
    ///
    /// # Errors
    /// An unknown name, with those that there are; unknown keys.
    pub fn read(project: &Project, name: &str) -> Result<Self> {
        let folder = project.root().join("experiments").join(name);
        let path = folder.join("study.toml");
        if !path.is_file() {
            let known = study_names(project)?;
            let message = format!(
                "there is no study `{name}`: {} is not a file; there are: {}",
                path.display(),
                known.join(", ")
            );
            return Err(Usage(message).into());
        }
        let mut table = read_table(&path)?;
        let head = table.remove("study").unwrap_or(Value::Table(Table::new()));
        let head: Head =
            head.try_into().map_err(|error: toml::de::Error| Usage(format!("{}: [study]: {error}", path.display())))?;
        for (key, empty) in [
            ("protocols", head.protocols.is_empty()),
            ("bits", head.bits.is_empty()),
            ("methods", head.methods.is_empty()),
            ("seeds", head.seeds.is_empty()),
        ] {
            if empty {
                return Err(Usage(format!("{}: `study.{key}` is empty: name at least one", path.display())).into());
            }
        }
        if let Some(stranger) = head.seeds_of.keys().find(|method| !head.methods.contains(method)) {
            let message = format!("{}: `study.seeds_of.{stranger}`: `study.methods` does not name it", path.display());
            return Err(Usage(message).into());
        }
        let mut common = read_table(&project.configs().join(&head.base))?;
        merge(&mut common, table);
        Ok(Self {
            name: name.to_owned(),
            summary: head.summary,
            protocols: head.protocols,
            bits: head.bits,
            methods: head.methods,
            seeds: head.seeds,
            seeds_of: head.seeds_of,
            full: head.full,
            common,
            folder,
        })
    }

    /// Where its ledger lies.
    pub fn ledger(&self) -> PathBuf {
        self.folder.join("results.jsonl")
    }

    /// Where its page lies.
    pub fn page(&self) -> PathBuf {
        self.folder.join("README.md")
    }

    /// Where its figure lies.
    pub fn picture(&self, protocol: &str) -> PathBuf {
        self.folder.join(format!("{protocol}.svg"))
    }

    /// What the runs of one protocol and bit width are called.
    pub fn experiment(&self, protocol: &str, bits: &str) -> String {
        format!("{}-{protocol}-{bits}", self.name)
    }

    /// Every run, method by method within a bit width within a protocol; with `fast` at its smoke size.
    ///
    /// # Errors
    /// Unknown methods, bits and keys.
    pub fn cells(&self, project: &Project, fast: bool) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for protocol in &self.protocols {
            for bits in &self.bits {
                let experiment = self.of(protocol, bits)?;
                for method in &self.methods {
                    for &seed in self.seeds_of.get(method).unwrap_or(&self.seeds) {
                        let config = experiment
                            .resolve(project, method, seed, Wishes { fast, full: self.full, sets: &[] })
                            .with_context(|| format!("{} / {method}", experiment.name()))?;
                        let (protocol, bits, method) = (protocol.clone(), bits.clone(), method.clone());
                        cells.push(Cell { protocol, bits, method, config });
                    }
                }
            }
        }
        Ok(cells)
    }

    fn of(&self, protocol: &str, bits: &str) -> Result<Experiment> {
        let wrong = || Usage(format!("study {}: bits `{bits}`: write them as w4a8", self.name));
        let (weight, activation) = bits.strip_prefix('w').and_then(|bits| bits.split_once('a')).ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        let mut table = self.common.clone();
        let own = Table::from_iter([
            (
                "experiment".to_owned(),
                Value::Table(Table::from_iter([
                    ("name".to_owned(), Value::String(self.experiment(protocol, bits))),
                    ("summary".to_owned(), Value::String(self.summary.clone())),
                    ("methods".to_owned(), Value::Array(self.methods.iter().cloned().map(Value::String).collect())),
                ])),
            ),
            (
                "quant".to_owned(),
                Value::Table(Table::from_iter([
                    ("protocol".to_owned(), Value::String(protocol.to_owned())),
                    ("weight_bits".to_owned(), Value::Integer(number(weight)?)),
                    ("activation_bits".to_owned(), Value::Integer(number(activation)?)),
                ])),
            ),
        ]);
        merge(&mut table, own);
        Experiment::from_table(table)
    }
}

/// The names of all studies.
///
/// # Errors
/// When the folder cannot be listed.
pub fn study_names(project: &Project) -> Result<Vec<String>> {
    let folder = project.root().join("experiments");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("study.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
