//! Long trainings do not grow. In a program of its own, since it looks at the memory of the whole process.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

use blindfold::Registry;
use blindfold_distill::{StudentConfig, StudentTrainer};
use blindfold_quant::{Plan, Precision, QuantConfig, QuantizedNetwork};
use blindfold_synth::{NoProgress, Request};
use blindfold_zoo::Normalization;
use burn::tensor::Device;

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[cfg(target_os = "linux")]
fn memory_at_step_2000_is_that_at_step_200() {
    let registry = Registry::builtin().unwrap();
    let table = toml::toml! { depth = 8 widths = [4, 6, 8] };
    let teacher = registry.architectures.build("resnet", table).unwrap().build(&Device::flex(), 1);
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let noise = registry.sources.build("noise", toml::toml! { count = 8 }).unwrap();
    let request =
        Request { teacher: &teacher, normalization: &normalization, seed: 1, real: None, progress: &mut NoProgress };
    let images = noise.synthesize(request).unwrap();
    let config =
        QuantConfig { weight_bits: Precision::Int(4), activation_bits: Precision::Int(4), ..QuantConfig::default() };
    let plan = Plan::new(&config, &teacher, &registry.quant).unwrap();
    let student = QuantizedNetwork::calibrate(teacher.clone(), plan, images.batches(8, &Device::flex())).unwrap();
    let fit: StudentConfig = toml::from_str(
        "epochs = 20\niterations_per_epoch = 100\nbatch = 2\nlr = 1e-5\nlog_every = 10\ngradient_norms_every = 50\n\
         generator = { kind = 'gdfq', generator = { channels = 4, latent = 8 } }\n\
         [[loss]]\nkind = 'kl'\n[[loss]]\nkind = 'kl'\nperturb = 0.01\n[[loss]]\nkind = 'contrastive'\n",
    )
    .unwrap();
    let mut trainer = StudentTrainer::new(teacher, student, images, fit, &registry.plugins(), 1).unwrap();
    let mut early = 0.0;
    while !trainer.is_done() {
        trainer.step().unwrap();
        if trainer.position() == 200 {
            early = resident();
        }
    }
    let late = resident();
    assert!((late - early).abs() <= 0.05 * early, "{early:.1} MiB at step 200, {late:.1} MiB at step 2,000");
}
