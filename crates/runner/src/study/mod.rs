//! A study: methods x bits x further keys x seeds, from one file to one page.
//!
//! ```text
//! experiments/<name>/study.toml -> Study -> cells -> runs -> results.jsonl (the ledger) -> rows -> page, tables, figures
//! ```
//! Processes and machines that share the folder share the work: each cell is claimed by one at a time.

mod axis;
mod cell;
mod children;
mod grid;
mod job;
mod ledger;
mod own_keys;
mod published;
mod select;
mod show;
mod slurm;
mod tally;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use blindfold_zoo::{near_matches, with_hint};
use serde::Deserialize;
use toml::{Table, Value};

use self::axis::{combinations, read_axes};
use self::published::{Figure, Scope, read_published};
use self::slurm::Resources;
use crate::config::{Experiment, Wishes, check_once, check_plain, merge, read_table};
use crate::record::{Claims, Published};
use crate::{Project, Usage};

pub(crate) use axis::shorten;
pub use axis::{Axis, Choice};
pub use cell::Cell;
pub(crate) use children::Children;
pub use grid::Row;
pub(crate) use grid::{Grid, is_open};
pub(crate) use job::{Job, in_order, parted};
pub use ledger::{Entry, Ledger};
pub(crate) use select::Selection;
pub(crate) use show::{Showing, show, showing};
pub(crate) use slurm::{Collection, Launch};
pub(crate) use tally::{Tally, passes};
pub(crate) use work::{Ended, Worker};

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
    /// Further keys of the configuration with their values.
    pub axes: Vec<Axis>,
    /// The method that the others are tested against.
    pub baseline: Option<String>,
    seeds: Vec<u64>,
    seeds_of: BTreeMap<String, Vec<u64>>,
    fast: bool,
    full: bool,
    /// At smoke size though its file does not say so: its runs and its page lie apart.
    smoke: bool,
    published: Vec<Figure>,
    /// What its tasks ask of Slurm.
    slurm: Resources,
    common: Table,
    folder: PathBuf,
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
    axes: Table,
    #[serde(default)]
    published: Table,
    #[serde(default)]
    baseline: Option<String>,
    #[serde(default)]
    fast: bool,
    #[serde(default)]
    full: bool,
    #[serde(default)]
    slurm: Resources,
}

impl Head {
    /// What is wrong beyond the form.
    fn fault(&self) -> Option<String> {
        for (key, empty) in [
            ("protocols", self.protocols.is_empty()),
            ("bits", self.bits.is_empty()),
            ("methods", self.methods.is_empty()),
            ("seeds", self.seeds.is_empty()),
        ] {
            if empty {
                return Some(format!("`study.{key}` is empty: name at least one"));
            }
        }
        for (key, names) in [("protocols", &self.protocols), ("bits", &self.bits), ("methods", &self.methods)] {
            if let Err(Usage(twice)) = check_once(&format!("`study.{key}`"), names) {
                return Some(twice);
            }
        }
        let known = |method: &String| self.methods.contains(method);
        let hint = |method: &str| {
            let near = near_matches(method, self.methods.iter().map(String::as_str));
            near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default()
        };
        if let Some(stranger) = self.seeds_of.keys().find(|method| !known(method)) {
            return Some(format!("`study.seeds_of.{stranger}`: `study.methods` does not name it{}", hint(stranger)));
        }
        if let Some((method, _)) = self.seeds_of.iter().find(|(_, seeds)| seeds.is_empty()) {
            return Some(format!(
                "`study.seeds_of.{method}` is empty: name at least one, or leave the method out of `study.methods`"
            ));
        }
        if let Some(stranger) = self.baseline.as_ref().filter(|method| !known(method)) {
            return Some(format!("`study.baseline`: `study.methods` does not name `{stranger}`{}", hint(stranger)));
        }
        if self.fast && self.full {
            return Some("`study.fast` and `study.full` exclude each other: keep one".to_owned());
        }
        self.slurm.fault()
    }
}

/// Whether a `[study]` table has the form that [`Study::read`] takes: its JSON schema is found by asking this.
pub(crate) fn check_head(head: Value) -> Result<(), String> {
    head.try_into::<Head>().map(|_| ()).map_err(|error| error.to_string())
}

impl Study {
    /// The study of that name, `experiments/<name>/study.toml`.
    ///
    /// # Errors
    /// An unknown name, with those that there are; unknown keys.
    pub fn read(project: &Project, name: &str) -> Result<Self> {
        check_plain("study", name)?;
        let folder = project.root().join("experiments").join(name);
        let path = folder.join("study.toml");
        if !path.is_file() {
            let known = study_names(project)?;
            let near = near_matches(name, known.iter().map(String::as_str));
            let message = format!(
                "there is no study `{name}`{}: {} is not a file; there are: {}",
                near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default(),
                path.display(),
                known.join(", ")
            );
            return Err(Usage(message).into());
        }
        let wrong = |what: String| Usage(format!("{}: {what}", path.display()));
        let mut table = read_table(&path)?;
        let head = table.remove("study").unwrap_or(Value::Table(Table::new()));
        let mut head: Head = head
            .try_into()
            .map_err(|error: toml::de::Error| wrong(format!("[study]: {}", with_hint(error.to_string().trim()))))?;
        if let Some(fault) = head.fault() {
            return Err(wrong(fault).into());
        }
        if let Some(fault) = own_keys::fault(&table) {
            return Err(wrong(fault).into());
        }
        let axes = read_axes(std::mem::take(&mut head.axes)).map_err(|Usage(what)| wrong(what))?;
        let scope = Scope {
            methods: &head.methods,
            bits: &head.bits,
            protocols: &head.protocols,
            several_teachers: axes.iter().any(|axis| axis.sets("teacher")),
        };
        let published =
            read_published(std::mem::take(&mut head.published), &scope).map_err(|Usage(what)| wrong(what))?;
        let mut common = read_table(&project.configs().join(&head.base))?;
        merge(&mut common, table);
        Ok(Self {
            name: name.to_owned(),
            summary: head.summary,
            protocols: head.protocols,
            bits: head.bits,
            methods: head.methods,
            axes,
            baseline: head.baseline,
            seeds: head.seeds,
            seeds_of: head.seeds_of,
            fast: head.fast,
            full: head.full,
            smoke: false,
            published,
            slurm: head.slurm,
            common,
            folder,
        })
    }

    /// The study at its smoke size, for a quick look. Its runs, its ledger and its page lie apart from those of the
    /// study itself, in `results/studies/<name>+fast/`; a study that is written at that size is left as it is.
    pub fn at_smoke_size(self, project: &Project) -> Self {
        if self.fast {
            return self;
        }
        let folder = project.results().join("studies").join(format!("{}+fast", self.name));
        Self { fast: true, full: false, smoke: true, folder, ..self }
    }

    /// Where its ledger, page and pictures lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its ledger lies.
    pub fn ledger(&self) -> PathBuf {
        self.folder.join("results.jsonl")
    }

    /// Where its page lies.
    pub fn page(&self) -> PathBuf {
        self.folder.join("README.md")
    }

    /// Who works on which of its cells.
    pub fn claims(&self) -> Claims {
        claims_of(&self.folder)
    }

    /// The published number that stands beside a cell.
    pub fn published(&self, cell: &Cell) -> Option<&Published> {
        self.published.iter().find_map(|figure| figure.of(cell))
    }

    /// Every run: seed by seed of a method, method by method at a place on the axes, place by place within a bit width
    /// within a protocol.
    ///
    /// # Errors
    /// Unknown methods, bits and keys.
    pub fn cells(&self, project: &Project) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for protocol in &self.protocols {
            for bits in &self.bits {
                for combination in combinations(&self.axes) {
                    let experiment = self.of(protocol, bits, &combination)?;
                    let sets: Vec<String> = combination.iter().flat_map(|(_, choice)| choice.sets()).collect();
                    let wishes = Wishes { fast: self.fast, full: self.full, sets: &sets };
                    let axes: Vec<(String, String)> =
                        combination.iter().map(|(axis, choice)| (axis.name.clone(), choice.label.clone())).collect();
                    let place: String = axes.iter().map(|(name, label)| format!(" {name}={label}")).collect();
                    for method in &self.methods {
                        for &seed in self.seeds_of.get(method).unwrap_or(&self.seeds) {
                            let config = experiment
                                .resolve(project, method, seed, wishes)
                                .with_context(|| format!("study {}, {method}{place}", self.name))?;
                            cells.push(Cell {
                                protocol: protocol.clone(),
                                bits: bits.clone(),
                                method: method.clone(),
                                axes: axes.clone(),
                                variant: format!("{method}{place}"),
                                config,
                            });
                        }
                    }
                }
            }
        }
        let mut ids = BTreeSet::new();
        match cells.iter().map(Cell::id).find(|id| !ids.insert(id.clone())) {
            Some(twice) => {
                Err(Usage(format!("study {}: two cells are called {twice}: name each seed once", self.name)).into())
            }
            None => Ok(cells),
        }
    }

    fn of(&self, protocol: &str, bits: &str, combination: &[(&Axis, &Choice)]) -> Result<Experiment> {
        let wrong = || Usage(format!("study {}: bits `{bits}`: write them as w4a8", self.name));
        let (weight, activation) = bits.strip_prefix('w').and_then(|bits| bits.split_once('a')).ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        let mut name = format!("{}-{protocol}-{bits}", self.name);
        name.extend(combination.iter().map(|(axis, choice)| axis.part(choice)));
        if self.smoke {
            name.push_str("+fast");
        }
        shorten(&mut name);
        let mut table = self.common.clone();
        let own = Table::from_iter([
            (
                "experiment".to_owned(),
                Value::Table(Table::from_iter([
                    ("name".to_owned(), Value::String(name)),
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

/// The claims of what is kept in that folder.
fn claims_of(folder: &Path) -> Claims {
    Claims::at(folder.join(".claims"))
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

#[cfg(test)]
mod tests;
