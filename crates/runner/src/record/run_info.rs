//! run.json: what a run is, where it runs, how far it is.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::clock::rfc3339;
use super::git::{Git, host_name};

const BURN: &str = "0.22.1";

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// A process works on it, or was killed while doing so.
    Running,
    /// Stopped by the user; it resumes.
    Interrupted,
    /// Ended by an error; it resumes from its last checkpoint.
    Failed,
    /// Done; its folder is not written again.
    Completed,
}

/// Versions of what computed the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This program.
    pub blindfold: String,
    /// The tensor library.
    pub burn: String,
    /// The least Rust version that the program was built with.
    pub rust: String,
}

impl Versions {
    /// Of this program.
    pub fn current() -> Self {
        Self {
            blindfold: env!("CARGO_PKG_VERSION").to_owned(),
            burn: BURN.to_owned(),
            rust: env!("CARGO_PKG_RUST_VERSION").to_owned(),
        }
    }
}

/// What names a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunIdentity {
    /// Such as `cifar100-w4a8`.
    pub experiment: String,
    /// Such as `zeroq-kd`.
    pub method: String,
    /// The one seed.
    pub seed: u64,
    /// The device with its adapter, such as `flex`.
    pub device: String,
}

/// The content of run.json. What is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of this layout.
    pub schema: u32,
    /// How far the run is.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// When it ended, was interrupted or failed.
    pub ended: Option<String>,
    /// Such as `cifar100-w4a8`.
    pub experiment: String,
    /// Such as `zeroq-kd`.
    pub method: String,
    /// The one seed.
    pub seed: u64,
    /// The device with its adapter.
    pub device: String,
    /// SHA-256 of the resolved configuration.
    pub config_sha256: String,
    /// The code.
    pub git: Option<Git>,
    /// The program and its library.
    pub versions: Versions,
    /// The machine's name.
    pub host: Option<String>,
    /// Threads that the machine runs at once.
    pub cores: Option<usize>,
    /// SHA-256 of the teacher's state.
    pub teacher_sha256: Option<String>,
    /// SHA-256 of the pixels of the test set, where there is one.
    pub dataset_sha256: Option<String>,
    /// Content hash of the images that were calibrated or fitted on.
    pub images_sha256: Option<String>,
    /// Images that went through a network, the forward and backward pass of one image counted once.
    pub image_passes: Option<u64>,
    /// Seconds by phase, over all lives of the run.
    pub wall_seconds: BTreeMap<String, f64>,
    /// Times that the run was taken up again.
    pub resumed: u32,
}

impl RunInfo {
    /// Of a run that begins now; `work_tree` is where the code is looked for.
    pub(crate) fn begin(identity: &RunIdentity, config_sha256: &str, work_tree: &Path) -> Self {
        Self {
            schema: 1,
            status: Status::Running,
            error: None,
            started: rfc3339(SystemTime::now()),
            ended: None,
            experiment: identity.experiment.clone(),
            method: identity.method.clone(),
            seed: identity.seed,
            device: identity.device.clone(),
            config_sha256: config_sha256.to_owned(),
            git: Git::of(work_tree),
            versions: Versions::current(),
            host: host_name(),
            cores: available_parallelism().ok().map(NonZero::get),
            teacher_sha256: None,
            dataset_sha256: None,
            images_sha256: None,
            image_passes: None,
            wall_seconds: BTreeMap::new(),
            resumed: 0,
        }
    }

    /// Adds seconds to a phase.
    pub fn add_wall(&mut self, phase: &str, seconds: f64) {
        *self.wall_seconds.entry(phase.to_owned()).or_default() += seconds;
    }

    /// Seconds over all phases.
    pub fn total_wall(&self) -> f64 {
        self.wall_seconds.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_burn_is_the_one_in_the_lock_file() {
        let mut folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        while !folder.join("Cargo.lock").exists() {
            folder = folder.parent().unwrap();
        }
        let lock: toml::Table = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap().parse().unwrap();
        let packages = lock["package"].as_array().unwrap();
        if let Some(burn) = packages.iter().find(|package| package["name"].as_str() == Some("burn")) {
            assert_eq!(burn["version"].as_str(), Some(BURN));
        }
    }

    #[test]
    fn what_is_unknown_is_null() {
        let identity = RunIdentity { experiment: "e".into(), method: "m".into(), seed: 7, device: "flex".into() };
        let mut info = RunInfo::begin(&identity, "abc", &std::env::temp_dir());
        info.add_wall("synth", 1.5);
        info.add_wall("synth", 2.0);
        info.add_wall("eval", 1.0);
        assert_eq!(info.total_wall(), 4.5);
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!((json["status"].as_str(), json["teacher_sha256"].is_null()), (Some("RUNNING"), true));
        assert_eq!(json["versions"]["rust"].as_str(), Some(env!("CARGO_PKG_RUST_VERSION")));
        assert_eq!(serde_json::from_value::<RunInfo>(json).unwrap(), info);
    }
}
