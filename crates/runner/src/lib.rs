//! The program `blindfold`: experiments from TOML files, reproducibly.
//!
//! ```text
//! TOML -> RunConfig -> pipeline (teacher, images, calibration, training, evaluation) -> run folder -> tables, curves
//! ```
//!
//! A program with plugins of its own calls [`run`] with `Registry::builtin()?.with_loss(my_loss::ENTRY)?`.

mod analysis;
mod commands;
pub mod config;
pub mod data;
pub mod device;
mod evaluate;
mod interrupt;
pub mod pipeline;
mod project;
pub mod record;
mod registry;
pub mod study;
mod teachers;
mod usage;

pub use commands::run;
pub use project::Project;
pub use registry::Registry;
pub use usage::Usage;
