//! One run of a study.

use crate::config::RunConfig;

/// One run of a study.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `gdfq` or `brecq`.
    pub protocol: String,
    /// Such as `w4a8`.
    pub bits: String,
    /// The method.
    pub method: String,
    /// Its place on each further axis of the study: the axis' name and the value's label.
    pub axes: Vec<(String, String)>,
    /// The method with that place, such as `zeroq images.count=64`: a row of a table.
    pub variant: String,
    /// Its configuration.
    pub config: RunConfig,
}

impl Cell {
    /// What the study knows the run by, and where its folder lies below the run folders.
    pub fn id(&self) -> String {
        format!("{}/{}/seed-{}", self.config.experiment.name, self.method, self.config.seed)
    }

    /// The run in words.
    pub fn words(&self) -> String {
        format!("{} / {} / seed {}", self.config.experiment.name, self.method, self.config.seed)
    }
}
