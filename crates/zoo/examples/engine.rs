//! Times the engine's inner operations on ResNet-20: `cargo run --release -p blindfold-zoo --example engine`.

use std::time::Instant;

use blindfold_zoo::{Family, architecture, fold_batch_norms};
use burn::tensor::{Device, Tensor};

fn main() {
    let family = Family::new("architecture", architecture::BUILTIN).expect("the built-in names differ");
    let network = family.build("resnet", toml::Table::new()).expect("the defaults are valid").build(&Device::flex(), 1);
    let folded = fold_batch_norms(network.clone());
    let images: Tensor<4> = Tensor::ones([256, 3, 32, 32], &Device::flex());
    for (name, network) in [("plain", &network), ("folded", &folded)] {
        for batch in [32, 256] {
            let images = images.clone().narrow(0, 0, batch);
            let mut times: Vec<f64> = (0..8)
                .map(|_| {
                    let start = Instant::now();
                    let _ = network.forward(images.clone()).into_data();
                    start.elapsed().as_secs_f64()
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("forward {name} batch {batch}: {:.0} images/s", batch as f64 / times[3]);
        }
    }
    let mut times: Vec<f64> = (0..8)
        .map(|_| {
            let start = Instant::now();
            let images = Tensor::<4>::ones([64, 3, 32, 32], &Device::flex().autodiff()).require_grad();
            let gradients = folded.forward(images.clone()).sum().backward();
            let _ = images.grad(&gradients).map(|gradient| gradient.into_data());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("forward and input gradient, folded, batch 64: {:.0} ms", 1e3 * times[3]);
}
