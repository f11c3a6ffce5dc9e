//! Experiment files: finding them, and resolving them into the configuration of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blindfold_zoo::{near_matches, with_hint};
use serde::Deserialize;
use toml::{Table, Value};

use super::files::{names, read_table, take_table};
use super::folder_name::check_plain;
use super::merge::{merge, set_key};
use super::method::{method_path, read_method_table, with_budget};
use super::once::check_once;
use super::run_config::RunConfig;
use super::source::{change_source, is_source, source_of};
use crate::Usage;
use crate::project::Project;
use crate::record::Published;

/// An experiment file with its base merged in: methods and seeds, and all tables that runs are made from.
#[derive(Debug, Clone)]
pub struct Experiment {
    name: String,
    methods: Vec<String>,
    seeds: Vec<u64>,
    published: std::collections::BTreeMap<String, Published>,
    fast: Table,
    per_method: Table,
    common: Table,
    /// The folder `methods/` beside the file, whose methods come before those of configs/methods/.
    beside: Option<PathBuf>,
    /// A resolved run's config.toml given in place of an experiment: its one method's tables are in `common`.
    resolved: bool,
}

/// What the command line asks of a configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// With the experiment's `[fast]` table.
    pub fast: bool,
    /// With the method's `[budget.full]` table: the paper's sizes.
    pub full: bool,
    /// Keys set by hand, as `key=value`.
    pub sets: &'a [String],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedTable {
    drop: f64,
    source: String,
}

impl Experiment {
    /// Reads `configs/<name>.toml`, or the file at `name` if it ends in `.toml` (also a run's own config.toml).
    ///
    /// # Errors
    /// An unknown name with near matches; what is wrong in which file.
    pub fn read(project: &Project, name: &str) -> Result<Self> {
        let path =
            if name.ends_with(".toml") { PathBuf::from(name) } else { project.configs().join(format!("{name}.toml")) };
        if !path.is_file() {
            let known = experiment_names(project)?;
            let near = near_matches(name, known.iter().map(String::as_str));
            let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
            return Err(Usage(format!(
                "there is no experiment `{name}`{hint}: {} is not a file; `blindfold list experiments` shows all",
                path.display()
            ))
            .into());
        }
        let own = read_table(&path)?;
        let mut table = Table::new();
        if let Some(base) = own.get("experiment").and_then(|experiment| experiment.get("base")).and_then(Value::as_str)
        {
            let base_path = path.parent().unwrap_or(Path::new(".")).join(base);
            let base = read_table(&base_path)?;
            if base.get("experiment").and_then(|experiment| experiment.get("base")).is_some() {
                return Err(Usage(format!("{}: a base cannot have a base itself", base_path.display())).into());
            }
            merge(&mut table, base);
        }
        merge(&mut table, own);
        let beside = path.parent().map(|folder| folder.join("methods"));
        let is_method =
            |method: &str| file_beside(beside.as_deref(), method).is_some() || method_path(project, method).is_file();
        let experiment = Self::checked(table, is_method).with_context(|| path.display().to_string())?;
        if !experiment.resolved {
            check_plain("`experiment.name`", &experiment.name).with_context(|| path.display().to_string())?;
        }
        Ok(Self { beside, ..experiment })
    }

    /// An experiment from its table, the base merged in.
    ///
    /// # Errors
    /// Missing and wrong keys.
    pub fn from_table(table: Table) -> Result<Self> {
        Self::checked(table, |_| false)
    }

    /// As [`Self::from_table`]; `is_method` knows methods that the experiment does not name but can run all the same, and
    /// so may have a table for.
    fn checked(mut table: Table, is_method: impl Fn(&str) -> bool) -> Result<Self> {
        let resolved = table.contains_key("method");
        let mut experiment = take_table(&mut table, "experiment")?;
        experiment.remove("base");
        let Some(Value::String(name)) = experiment.get("name").cloned() else {
            return Err(
                Usage("`experiment.name` is missing: write the file's name without its ending".to_owned()).into()
            );
        };
        let methods: Vec<String> = match experiment.remove("methods") {
            Some(value) => value.try_into().context("`experiment.methods`").map_err(Usage::of)?,
            None => Vec::new(),
        };
        let seeds: Vec<u64> = match experiment.remove("seeds") {
            Some(value) => value.try_into().context("`experiment.seeds`").map_err(Usage::of)?,
            None => table.get("seed").and_then(Value::as_integer).map(|seed| vec![seed as u64]).unwrap_or(vec![1]),
        };
        let methods =
            match (resolved, table.get("method").and_then(|method| method.get("name")).and_then(Value::as_str)) {
                (true, Some(method)) => vec![method.to_owned()],
                _ => methods,
            };
        if seeds.is_empty() {
            return Err(Usage("`experiment.seeds` is empty: name at least one, such as [1]".to_owned()).into());
        }
        if methods.is_empty() {
            return Err(
                Usage("`experiment.methods` is empty: name at least one, such as [\"zeroq\"]".to_owned()).into()
            );
        }
        check_once("`experiment.methods`", &methods)?;
        check_once("`experiment.seeds`", &seeds)?;
        let published: std::collections::BTreeMap<String, PublishedTable> =
            Value::Table(take_table(&mut table, "published")?)
                .try_into()
                .context("in `published`")
                .map_err(Usage::of)?;
        if let Some((method, figure)) = published.iter().find(|(_, figure)| !figure.drop.is_finite()) {
            let message = format!("`published.{method}.drop` is {}: write points of top-1, such as 2.5", figure.drop);
            return Err(Usage(message).into());
        }
        let published: std::collections::BTreeMap<String, Published> =
            published.into_iter().map(|(method, p)| (method, Published { drop: p.drop, source: p.source })).collect();
        let fast = take_table(&mut table, "fast")?;
        let per_method = take_table(&mut table, "methods")?;
        check_named("methods", per_method.keys().filter(|method| !is_method(method)), &methods)?;
        check_named("published", published.keys(), &methods)?;
        table.insert("experiment".to_owned(), Value::Table(experiment));
        Ok(Self { name, methods, seeds, published, fast, per_method, common: table, beside: None, resolved })
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its methods in order.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// Its seeds.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// Published drops by method.
    pub fn published(&self) -> &std::collections::BTreeMap<String, Published> {
        &self.published
    }

    /// One line about it.
    pub fn summary(&self) -> &str {
        self.common
            .get("experiment")
            .and_then(|experiment| experiment.get("summary"))
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// The configuration of one run: experiment < method file < `[methods.<name>]` < `[budget.full]` of the two where asked
    /// for < `[fast]` < `--set` < seed.
    ///
    /// # Errors
    /// An unknown method with near matches; unknown or wrong keys.
    pub fn resolve(&self, project: &Project, method: &str, seed: u64, wishes: Wishes<'_>) -> Result<RunConfig> {
        let Wishes { fast, full, sets } = wishes;
        if self.resolved && !self.methods.iter().any(|known| known == method) {
            let near = near_matches(method, self.methods.iter().map(String::as_str));
            let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
            let message = format!("{} has no method `{method}`{hint}; it has: {}", self.name, self.methods.join(", "));
            return Err(Usage(message).into());
        }
        let mut table = self.table_of(project, method, full)?;
        if let Some(assignment) = sets.iter().rfind(|assignment| is_source(assignment)) {
            change_source(&mut table, assignment)?;
        }
        if fast {
            let mut fast = self.fast.clone();
            if !trains(&table) {
                fast.remove("distill");
            }
            let common_images = fast.remove("images");
            if let (Some(Value::Table(by_source)), Some(source)) = (common_images, source_of(&table))
                && let Some(Value::Table(own)) = by_source.get(&source).or_else(|| by_source.get("*"))
            {
                merge(&mut table, Table::from_iter([("images".to_owned(), Value::Table(own.clone()))]));
            }
            if let Some(Value::Table(by_step)) = fast.remove("fit") {
                let steps = steps_of(&table);
                let wanted = |key: &String| steps.contains(key) || (key == "images" && !steps.is_empty());
                let own = by_step.into_iter().filter(|(key, _)| wanted(key)).collect::<Table>();
                merge(&mut table, Table::from_iter([("fit".to_owned(), Value::Table(own))]));
            }
            merge(&mut table, fast);
        }
        for assignment in sets {
            if assignment.trim_start().starts_with("seed=") {
                return Err(Usage("--set seed: use --seed or --seeds".to_owned()).into());
            }
            if !trains(&table) && assignment.trim_start().starts_with("distill.") {
                return Err(self.untrained(project, method, assignment).into());
            }
            set_key(&mut table, assignment)?;
        }
        let whole = i64::try_from(seed).map_err(|_| {
            Usage(format!("seed {seed}: TOML holds whole numbers up to {}: write a smaller seed", i64::MAX))
        })?;
        table.insert("seed".to_owned(), Value::Integer(whole));
        let config: RunConfig = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            Usage(format!("{} / {method}: {}", self.name, with_hint(error.to_string().trim())))
        })?;
        config.validate().map_err(|error| Usage(format!("{} / {method}: {error}", self.name)))?;
        Ok(config)
    }

    /// The tables of a method's runs, before what the command line asks.
    fn table_of(&self, project: &Project, method: &str, full: bool) -> Result<Table> {
        let mut table = self.common.clone();
        if !self.resolved {
            let (path, mut own) = self.method_file(project, method)?;
            if let Some(Value::Table(exceptions)) = self.per_method.get(method) {
                merge(&mut own, exceptions.clone());
            }
            merge(&mut table, with_budget(own, &path, full)?);
        }
        Ok(table)
    }

    /// Why a key of the training is not set for a method that has none: the method would become another one under its
    /// name. All methods of the experiment that are like it are named at once.
    fn untrained(&self, project: &Project, method: &str, assignment: &str) -> Usage {
        let key = assignment.split('=').next().unwrap_or(assignment).trim();
        let alike = |other: &&String| self.table_of(project, other, false).is_ok_and(|table| !trains(&table));
        let others: Vec<&str> = self.methods.iter().filter(alike).map(String::as_str).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            [one] if *one == method => String::new(),
            _ => format!(" (of the methods of {} these do not: {})", self.name, others.join(", ")),
        };
        Usage(format!(
            "`{key}`: method `{method}` does not train{others}: leave the key out, leave the method out, or add \
             [distill] to its file or a whole `distill` table"
        ))
    }

    /// A method's file with its tables: of the folder `methods/` beside the experiment's file, else of the project.
    fn method_file(&self, project: &Project, method: &str) -> Result<(PathBuf, Table)> {
        match file_beside(self.beside.as_deref(), method) {
            Some(path) => read_table(&path).map(|table| (path, table)),
            None => Ok((method_path(project, method), read_method_table(project, method)?)),
        }
    }
}

/// A method's file in the folder `methods/` beside an experiment's file, if there is one.
fn file_beside(folder: Option<&Path>, method: &str) -> Option<PathBuf> {
    folder.map(|folder| folder.join(format!("{method}.toml"))).filter(|path| path.is_file())
}

/// Whether the keys of a table by methods are methods of the experiment.
fn check_named<'a>(table: &str, mut keys: impl Iterator<Item = &'a String>, methods: &[String]) -> Result<(), Usage> {
    let Some(stranger) = keys.find(|method| !methods.contains(method)) else { return Ok(()) };
    let near = near_matches(stranger, methods.iter().map(String::as_str));
    let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
    Err(Usage(format!("`{table}.{stranger}`: `experiment.methods` does not name it{hint}")))
}

fn steps_of(table: &Table) -> Vec<String> {
    let steps = table.get("fit").and_then(|fit| fit.get("steps")).and_then(Value::as_array);
    steps.into_iter().flatten().filter_map(|step| Some(step.as_str()?.to_owned())).collect()
}

fn trains(table: &Table) -> bool {
    table.contains_key("distill")
}

/// The names of all experiment files.
///
/// # Errors
/// When the folder cannot be listed.
pub fn experiment_names(project: &Project) -> Result<Vec<String>> {
    names(&project.configs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_experiment_is_said_before_anything_runs() {
        for (keys, words) in [
            ("methods = ['zeroq', 'zeroq']", "`experiment.methods` names `zeroq` twice"),
            ("methods = ['zeroq']\nseeds = [1, 2, 1]", "`experiment.seeds` names `1` twice"),
            (
                "methods = ['zeroq']\n[published.zerog]\ndrop = 1\nsource = 'A'",
                "`published.zerog`: `experiment.methods` does not name it (did you mean `zeroq`?)",
            ),
            ("methods = ['zeroq']\n[published.zeroq]\ndrop = nan\nsource = 'A'", "`published.zeroq.drop` is NaN"),
            ("methods = ['zeroq']\n[methods.zerog]", "`methods.zerog`: `experiment.methods` does not name it"),
        ] {
            let table = format!("[experiment]\nname = 'small'\n{keys}").parse().unwrap();
            let text = Experiment::from_table(table).unwrap_err().to_string();
            assert!(text.starts_with(words), "{text}");
        }
    }

    #[test]
    fn another_source_takes_the_keys_of_the_one_before_with_it() {
        let project = Project::find(None).unwrap();
        let experiment = Experiment::read(&project, "shapes10-w4a8").unwrap();
        let images = |sets: &[&str], fast: bool| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            let config = experiment.resolve(&project, "zeroq", 1, Wishes { fast, sets: &sets, ..Wishes::default() });
            config.unwrap().images
        };
        let own = images(&[], false);
        assert!(own.table.contains_key("iterations"));
        assert_eq!(images(&["images.source=zeroq"], false), own);
        let noise = images(&["images.source=noise"], false);
        assert_eq!((noise.source.as_str(), noise.table.len()), ("noise", 1));
        assert_eq!(noise.table.get("count"), own.table.get("count"));
        let both = images(&["images.source=real", "images.count=7"], false);
        assert_eq!((both.source.as_str(), both.table), ("real", Table::from_iter([("count".into(), 7.into())])));
        let turned = images(&["images.iterations=4", "images.source=zeroq", "images.source=genie-d"], false);
        assert_eq!(
            (turned.source.as_str(), turned.table.len()),
            ("genie-d", 2),
            "the last one, and what is set for it"
        );
        let cleared = ["images={}", "images.count=8", "images.iterations=9", "images.source=zeroq"];
        let own = Table::from_iter([("count".into(), 8.into()), ("iterations".into(), 9.into())]);
        assert_eq!(images(&cleared, false).table, own, "as an axis of a study writes it");
        let fast = images(&["images.source=noise"], true);
        assert_eq!(fast.table, Table::from_iter([("count".into(), 32.into())]), "the [fast] table is the new source's");
    }
}
