//! `blindfold bench`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use blindfold_distill::{StudentConfig, StudentTrainer};
use blindfold_quant::{FitRequest, Plan, Precision, QuantConfig, QuantizedNetwork, Silent};
use blindfold_synth::{ImageSet, NoProgress, Request};
use blindfold_zoo::{Network, NetworkBuilder, Normalization, Op, fold_batch_norms};
use burn::tensor::{Device, Tensor};
use clap::{Args, value_parser};

use super::{Place, print};
use crate::Registry;
use crate::evaluate::{Probe, logits};
use crate::record::Console;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Repetitions of each measurement; the median is printed.
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(1..))]
    repeat: u32,
    #[command(flatten)]
    place: Place,
}

pub(super) fn bench(registry: Registry, args: &BenchArgs) -> Result<ExitCode> {
    let context = args.place.context(registry, Console::silent())?;
    let device = &context.device.device;
    let network = context.registry.architectures.build("resnet", toml::Table::new())?.build(device, 1);
    let normalization = Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let noise = |count: usize| -> Result<ImageSet> {
        let table = toml::Table::from_iter([("count".to_owned(), toml::Value::Integer(count as i64))]);
        let source = context.registry.sources.build("noise", table)?;
        let request = Request {
            teacher: &network,
            normalization: &normalization,
            seed: 1,
            real: None,
            progress: &mut NoProgress,
        };
        Ok(source.synthesize(request)?)
    };

    let images = noise(512)?;
    let folded = fold_batch_norms(network.clone());
    let evaluation = median(args.repeat, || {
        logits(|images| folded.forward(images), &Probe::Synthetic(&images), 50, device);
        Ok(())
    })?;

    // One step is the difference of a long and a short synthesis: what is set up once does not count.
    let (short, long) = (2, 12);
    let synthesis = |iterations: i64| {
        let table = toml::toml! { count = 64 batch = 64 };
        let mut table = table;
        table.insert("iterations".to_owned(), toml::Value::Integer(iterations));
        context.registry.sources.build("zeroq", table)
    };
    let time = |iterations: i64| -> Result<f64> {
        let source = synthesis(iterations)?;
        let began = Instant::now();
        source.synthesize(Request {
            teacher: &network,
            normalization: &normalization,
            seed: 1,
            real: None,
            progress: &mut NoProgress,
        })?;
        Ok(began.elapsed().as_secs_f64())
    };
    let mut steps: Vec<f64> = Vec::new();
    for _ in 0..args.repeat.div_ceil(2) {
        steps.push((time(long)? - time(short)?) / (long - short) as f64);
    }
    let zeroq = middle(steps);

    let config =
        QuantConfig { weight_bits: Precision::Int(4), activation_bits: Precision::Int(4), ..QuantConfig::default() };
    let plan = Plan::new(&config, &network, &context.registry.quant)?;
    let student = QuantizedNetwork::calibrate(network.clone(), plan, noise(64)?.batches(64, device))?;
    let fit: StudentConfig = toml::from_str(
        "epochs = 1000\nbatch = 128\nlog_every = 0\n[[loss]]\nkind = 'kl'\ntemperature = 20.0\n[[loss]]\nkind = 'cross-entropy'\ntarget = 'teacher-argmax'\n",
    )?;
    let squant = context.registry.quant.steps.build("squant", toml::Table::new())?;
    let rounding = |network: &Network| -> Result<f64> {
        let plan = Plan::new(&config, network, &context.registry.quant)?;
        let student = QuantizedNetwork::with_weights(network.clone(), plan)?;
        let zeros = images_of(network, device);
        median(args.repeat, || {
            let request = FitRequest { teacher: network, images: &zeros, seed: 1, progress: &mut Silent };
            squant.fit(request, student.clone())?;
            Ok(())
        })
    };
    let (small, large) = (rounding(&network)?, rounding(&resnet18(device))?);
    let plugins = context.registry.plugins();
    let mut trainer = StudentTrainer::new(network.clone(), student, noise(256)?, fit, &plugins, 1)?;
    trainer.step()?;
    let distill = median(args.repeat, || {
        trainer.step()?;
        device.sync().map_err(|error| anyhow::anyhow!("{error:?}"))
    })?;

    let threads = rayon::current_num_threads();
    let images_per_s = images.len() as f64 / evaluation;
    if args.json {
        let value = serde_json::json!({
            "evaluation_images_per_s": images_per_s,
            "zeroq_step_ms": 1e3 * zeroq,
            "distill_step_ms": 1e3 * distill,
            "squant_ms": 1e3 * small,
            "squant_resnet18_ms": 1e3 * large,
            "device": context.device.name,
            "threads": threads,
        });
        print(&format!("{value}\n"));
    } else {
        print(&format!("ResNet-20, 32x32, {} ({threads} threads)\n", context.device.name));
        print(&format!("  evaluation             {images_per_s:8.0} images/s\n"));
        print(&format!("  ZeroQ step, batch 64   {:8.1} ms\n", 1e3 * zeroq));
        print(&format!("  distill step, 128      {:8.1} ms\n", 1e3 * distill));
        print(&format!("  SQuant, all weights    {:8.1} ms\n", 1e3 * small));
        print(&format!("  SQuant, ResNet-18      {:8.1} ms (11.7 million weights)\n", 1e3 * large));
    }
    Ok(ExitCode::SUCCESS)
}

/// A network with the weights' shapes of ImageNet's ResNet-18 (He et al. 2016, table 1).
fn resnet18(device: &Device) -> Network {
    let mut graph = NetworkBuilder::new(device, 1);
    let mut last = graph.conv("conv1", 0, [64, 3, 7], 2, 3, false);
    let mut width = 64;
    for (stage, out) in [64, 128, 256, 512].into_iter().enumerate() {
        for unit in 0..2 {
            let name = format!("layer{}.{unit}", stage + 1);
            let stride = if stage > 0 && unit == 0 { 2 } else { 1 };
            let first = graph.conv(&format!("{name}.conv1"), last, [out, width, 3], stride, 1, false);
            let body = graph.conv(&format!("{name}.conv2"), first, [out, out, 3], 1, 1, false);
            let shortcut = match stride {
                1 => last,
                _ => graph.conv(&format!("{name}.downsample"), last, [out, width, 1], stride, 0, false),
            };
            last = graph.op(&format!("{name}.add"), &[body, shortcut], Op::Add);
            width = out;
        }
    }
    let pool = graph.op("avgpool", &[last], Op::GlobalAvgPool);
    graph.linear("fc", pool, 1000, width);
    graph.finish("resnet18", [3, 224, 224], 1000)
}

/// One image of zeros, for steps that look at none.
fn images_of(network: &Network, device: &Device) -> Tensor<4> {
    let [channels, height, width] = network.input_shape();
    Tensor::zeros([1, channels, height, width], device)
}

fn median(repeat: u32, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..repeat {
        let began = Instant::now();
        run()?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(middle(times))
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
