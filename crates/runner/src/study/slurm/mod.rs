//! Studies on a Slurm cluster.
//!
//! ```text
//! cells to do -> Launch -> results/studies/<name>/slurm/<n>/ (cells.txt, task.sh) -> sbatch: arrays, one task a cell
//! run folders, squeue, sacct -> Collection -> ledger, states
//! ```
//! The tasks are ordinary `--cell` processes: what keeps two of them from one cell or one set of images are the study's
//! claims, not Slurm's order. That order only saves waiting, so that nothing is lost where Slurm or a task breaks it.

mod array;
mod client;
mod collection;
mod launch;
mod queue;
mod resources;
mod script;
mod submission;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Study;
use crate::Project;

pub(crate) use collection::Collection;
pub(crate) use launch::Launch;
pub(crate) use resources::Resources;

/// Where the submissions of a study lie, a numbered folder each.
fn folder_of(project: &Project, study: &Study) -> Result<PathBuf> {
    let name = if study.smoke { format!("{}+fast", study.name) } else { study.name.clone() };
    let folder = project.results().join("studies").join(name).join("slurm");
    std::path::absolute(&folder).with_context(|| folder.display().to_string())
}
