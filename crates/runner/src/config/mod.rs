//! Experiments as TOML: files, merging, and the typed result.

mod experiment;
mod folder_name;
mod merge;
mod once;
mod run_config;

pub(crate) use experiment::read_table;
pub use experiment::{Experiment, Wishes, experiment_names, method_names, read_method, read_method_table};
pub(crate) use folder_name::check_plain;
pub use merge::{merge, set_key};
pub(crate) use once::check_once;
pub use run_config::{
    DataTable, EvaluationTable, ExperimentTable, FitTable, MethodTable, RunConfig, SourceTable, TeacherTable,
};
