//! Experiments as TOML: files, merging, and the typed result.

mod experiment;
mod files;
mod folder_name;
mod merge;
mod method;
mod once;
mod run_config;
mod source;

pub use experiment::{Experiment, Wishes, experiment_names};
pub(crate) use files::read_table;
pub(crate) use folder_name::check_plain;
pub use merge::{merge, set_key};
pub use method::{method_names, read_method, read_method_table};
pub(crate) use once::check_once;
pub use run_config::{
    DataTable, EvaluationTable, ExperimentTable, FitTable, MethodTable, RunConfig, SourceTable, TeacherTable,
};
