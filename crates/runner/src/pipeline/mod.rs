//! From a configuration to a finished run folder.
//!
//! ```text
//! teacher -> images (cached) -> passes, plan -> quantized student -> [fitted] -> [trained] -> evaluation -> run folder
//! ```

mod cache;
mod check;
mod checkpoint;
mod context;
mod fit;
mod images;
mod keeper;
pub(crate) mod log;
mod quantize;
mod run;
mod samples;
mod stage;
mod trained;

pub(crate) use cache::CacheSlot;
pub use check::check_plugins;
pub use context::Context;
pub(crate) use quantize::{Prepared, quantized};
#[cfg(test)]
pub(crate) use run::wordless;
pub use run::{Outcome, run_once};
pub(crate) use run::{image_slots, is_run_of, ledger_identity};
pub(crate) use trained::trained;
