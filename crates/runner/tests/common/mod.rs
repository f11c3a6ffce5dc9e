//! A small project of its own in a temporary folder: one experiment on a small random network.
#![allow(dead_code)] // Each test file uses a part of it.

pub mod study;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use blindfold_zoo::{Family, architecture, write_safetensors};
use burn::tensor::Device;

pub struct Bench {
    pub folder: tempfile::TempDir,
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const EXPERIMENT: &str = r#"
[experiment]
name = "small"
summary = "a small experiment"
methods = ["zeroq", "zeroq-kd", "brecq", "real"]
seeds = [1]

[teacher]
name = "small"
file = "TEACHER"
architecture = { kind = "resnet", depth = 8, widths = [4, 6, 8] }
normalization = { mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }

[data]
name = "shapes10"
limit = 40

[quant]
protocol = "gdfq"
weight_bits = 4
activation_bits = 4

[evaluation]
batch = 20
held_out = { source = "zeroq", count = 8, iterations = 2 }

[methods.zeroq.images]
count = 8
batch = 8
iterations = 5

[methods.zeroq-kd.images]
count = 24
batch = 8
iterations = 4

[methods.zeroq-kd.distill]
epochs = 6
batch = 4
lr = 1e-3
log_every = 1

[methods.brecq.images]
count = 16
batch = 8
iterations = 3

[methods.brecq.fit]
brecq = { iterations = 60, batch = 4 }
activation-steps = { iterations = 40, batch = 4 }

[methods.real.images]
count = 8
"#;

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configs = folder.path().join("configs");
        std::fs::create_dir_all(configs.join("methods")).unwrap();
        for method in ["zeroq", "zeroq-kd", "brecq", "real"] {
            let name = format!("{method}.toml");
            std::fs::copy(repository().join("configs/methods").join(&name), configs.join("methods").join(name))
                .unwrap();
        }
        let teacher = folder.path().join("small.safetensors");
        let table: toml::Table = "depth = 8\nwidths = [4, 6, 8]".parse().unwrap();
        let family = Family::new("architecture", architecture::BUILTIN).unwrap();
        let network = family.build("resnet", table).unwrap().build(&Device::flex(), 3);
        std::fs::write(&teacher, write_safetensors(&network.state(), &BTreeMap::new()).unwrap()).unwrap();
        let text = EXPERIMENT.replace("TEACHER", teacher.to_str().unwrap());
        std::fs::write(configs.join("small.toml"), text).unwrap();
        Self { folder }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blindfold"));
        command.args(arguments).current_dir(self.folder.path()).env("BLINDFOLD_DATA", self.folder.path().join("data"));
        command.env_remove("BLINDFOLD_ROOT");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn folder_of(&self, results: &str, method: &str) -> PathBuf {
        self.folder.path().join(results).join("runs/small").join(method).join("seed-1")
    }
}

pub fn text(output: &Output) -> (Option<i32>, String, String) {
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), read(&output.stdout), read(&output.stderr))
}

/// Waits for something that is sure to come, and fails if it does not.
pub fn until(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if there() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}
