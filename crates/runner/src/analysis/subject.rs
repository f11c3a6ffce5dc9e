//! Which student is analysed, and where its page goes.

use std::path::PathBuf;

use anyhow::Result;
use blindfold_quant::QuantizedNetwork;

use crate::config::RunConfig;
use crate::pipeline::{Context, Prepared, is_run_of, trained};
use crate::record::{RunFolder, Status};

/// A student with the folder that its analysis is written to.
pub(crate) struct Subject {
    /// The student: the finished run's, or the one before any training.
    pub(crate) student: QuantizedNetwork,
    /// What it is, in words.
    pub(crate) what: String,
    /// `analysis/` of the run folder; `results/analysis/<experiment>/<method>/seed-<n>` where there is no such run.
    pub(crate) folder: PathBuf,
}

impl Subject {
    /// The trained student of a finished run of this very configuration, else the calibrated and fitted one.
    ///
    /// # Errors
    /// A damaged run.json or checkpoint.
    pub(crate) fn of(context: &Context, config: &RunConfig, prepared: &Prepared) -> Result<Self> {
        let place =
            |root: PathBuf| RunFolder::path_of(&root, &config.experiment.name, &config.method.name, config.seed);
        let (run, apart) = (place(context.project.runs()), place(context.project.results().join("analysis")));
        let untrained = |folder: PathBuf, why: String| Self {
            student: prepared.student.clone(),
            what: format!("{}{why}", before_training(config)),
            folder,
        };
        if !run.join("run.json").is_file() {
            let why = match config.distill {
                Some(_) => format!(", before its training: there is no run at {}", run.display()),
                None => String::new(),
            };
            return Ok(untrained(apart, why));
        }
        let info = RunFolder::read_info(&run)?;
        if !is_run_of(context, config, &run, &info)? {
            return Ok(untrained(apart, format!(" (the run at {} has another configuration)", run.display())));
        }
        let folder = run.join("analysis");
        if config.distill.is_none() {
            return Ok(untrained(folder, String::new()));
        }
        let unfinished = || format!(", before its training: the run at {} is not finished", run.display());
        if info.status != Status::Completed {
            return Ok(untrained(folder, unfinished()));
        }
        match trained(context, config, prepared, &run)? {
            Some(student) => Ok(Self { student, what: "the trained network of the finished run".to_owned(), folder }),
            None => Ok(untrained(folder, unfinished())),
        }
    }
}

fn before_training(config: &RunConfig) -> String {
    match config.fit.steps.is_empty() {
        true => "the calibrated network".to_owned(),
        false => format!("the network fitted by {}", config.fit.steps.join(", ")),
    }
}
