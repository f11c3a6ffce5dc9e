//! Runs that nothing computed: folders with the outcomes and records that a test wants.
#![allow(dead_code)] // Each test file uses a part of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use blindfold::record::{
    METRICS_FILE, OpenRequest, Opened, Phase, Record, RunFolder, RunIdentity, Summary, config_hash,
};

/// A project without experiments, with results of its own.
pub struct Results {
    pub root: tempfile::TempDir,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub experiment: String,
    pub method: String,
    pub seed: u64,
    pub protocol: String,
    pub dataset: String,
    pub bits: String,
    pub teacher_sha256: Option<String>,
    pub records: Vec<Record>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// With a student of that top-1, of a teacher of 96 %.
    Completed(f64),
    Failed(&'a str),
    Killed,
}

impl Run {
    pub fn new(experiment: &str, method: &str, seed: u64) -> Self {
        Self {
            experiment: experiment.into(),
            method: method.into(),
            seed,
            protocol: "gdfq".into(),
            dataset: "shapes10".into(),
            bits: "W4A4".into(),
            teacher_sha256: None,
            records: Vec::new(),
        }
    }

    /// With these values of `student/top1`, one an epoch of ten steps and 20 seconds.
    pub fn top1(mut self, values: &[f64]) -> Self {
        self.records.extend(values.iter().enumerate().map(|(epoch, value)| {
            let epoch = epoch as u64;
            Record::new(Phase::Eval, 10 * epoch, 20.0 * epoch as f64)
                .at_epoch(epoch)
                .with("student/top1", *value)
                .with("student/agreement", *value - 1.0)
        }));
        self
    }

    fn config(&self) -> toml::Table {
        let text = format!(
            "seed = {}\n[experiment]\nname = {:?}\nsummary = 'made up'\n[method]\nname = {:?}\n\
             summary = 's'\nsource = 'none'\n\
             [teacher]\nname = 'resnet20'\n[data]\nname = {:?}\n[images]\nsource = 'zeroq'\ncount = 8\n\
             [quant]\nprotocol = {:?}\nweight_bits = 4\nactivation_bits = 4\n",
            self.seed, self.experiment, self.method, self.dataset, self.protocol
        );
        text.parse().unwrap()
    }
}

impl Results {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("configs/methods")).unwrap();
        Self { root }
    }

    /// Writes a run and returns its folder.
    pub fn add(&self, run: &Run, end: End<'_>) -> PathBuf {
        let path = RunFolder::path_of(&self.root.path().join("results/runs"), &run.experiment, &run.method, run.seed);
        let identity = RunIdentity {
            experiment: run.experiment.clone(),
            method: run.method.clone(),
            seed: run.seed,
            device: "flex".into(),
        };
        let config = run.config();
        let request = OpenRequest {
            identity: &identity,
            config: &config,
            config_hash: &config_hash(&config),
            overrides: "blindfold exp made-up",
            work_tree: Path::new("/"),
            fresh: false,
            remeasure: false,
        };
        let Opened::New(mut folder) = RunFolder::open(&path, request).unwrap() else {
            panic!("{} twice", path.display())
        };
        folder.update(|info| info.teacher_sha256.clone_from(&run.teacher_sha256)).unwrap();
        let lines: String = run.records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
        folder.write(METRICS_FILE, lines.as_bytes()).unwrap();
        match end {
            End::Completed(top1) => {
                let summary = Summary {
                    schema: 1,
                    experiment: run.experiment.clone(),
                    method: run.method.clone(),
                    seed: run.seed,
                    teacher: "resnet20".into(),
                    network: "resnet20".into(),
                    dataset: run.dataset.clone(),
                    protocol: run.protocol.clone(),
                    bits: run.bits.clone(),
                    uses_real_data: run.method.starts_with("real"),
                    agreement: Some(top1 - 1.0),
                    logit_mse: Some(0.25),
                    measured_on: Some("held-out synthetic images".into()),
                    wall_seconds: 20.0,
                    ..Summary::default()
                };
                folder.complete(&summary.with_accuracy([96.0, 99.0], [top1, 99.0])).unwrap();
            }
            End::Failed(reason) => {
                folder.fail(reason).unwrap();
            }
            End::Killed => drop(folder),
        }
        path
    }

    /// Exit code, stdout and stderr of the program in this project.
    pub fn blindfold(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blindfold"));
        command.args(arguments).current_dir(self.root.path()).env_remove("BLINDFOLD_ROOT");
        let output = command.output().unwrap();
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), read(&output.stdout), read(&output.stderr))
    }

    /// The same, of a command that works.
    pub fn works(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.blindfold(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// What a command says of the user's fault.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.blindfold(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }
}
