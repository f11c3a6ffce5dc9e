//! The program `blindfold`: experiments from TOML files, reproducibly.
//!
//! ```text
//! TOML -> RunConfig -> pipeline (teacher, images, calibration, training, evaluation) -> run folder -> tables, curves
//! ```
//!
//! A program with plugins of its own calls [`run`] with `Registry::builtin()?.with_loss(my_loss::ENTRY)?`. What a plugin is
//! written with lies below this crate's name, so that the plugin's Cargo.toml names no other: [`distill`], [`synth`],
//! [`quant`], [`zoo`], [`burn`], [`rand`], [`rand_distr`] and [`toml`]. `docs/extending.md` leads there step by step.

mod analysis;
mod axis;
mod board;
mod causes;
mod commands;
pub mod config;
pub mod data;
pub mod device;
mod evaluate;
mod interrupt;
pub mod pipeline;
mod plot;
mod project;
pub mod record;
mod registry;
mod report;
mod schema;
pub mod study;
mod teachers;
mod terminal_chart;
mod usage;

/// The code of the page that leads to a plugin.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/extending.md")]
mod extending {}

pub use blindfold_distill as distill;
pub use blindfold_quant as quant;
pub use blindfold_synth as synth;
pub use blindfold_zoo as zoo;
pub use burn;
pub use commands::run;
pub use project::Project;
pub use rand;
pub use rand_distr;
pub use registry::Registry;
pub use schema::schema;
pub use toml;
pub use usage::Usage;
