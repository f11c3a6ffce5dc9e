//! LeNet-5 for handwritten digits.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Architecture;
use crate::{ConfigError, Entry, Network, NetworkBuilder, Op, defaults_of, parse};

/// The `[architecture]` table of `kind = "lenet5"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeNetConfig {
    /// Side of an image: 28 or 32.
    pub side: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for LeNetConfig {
    fn default() -> Self {
        Self { side: 28, channels: 1, classes: 10 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Architecture>, ConfigError> {
    let config: LeNetConfig = parse(table)?;
    if config.side != 28 && config.side != 32 {
        return Err(ConfigError::invalid("side", config.side, "write 28 (padded to 32 by the first layer) or 32"));
    }
    if config.classes == 0 || config.channels == 0 {
        return Err(ConfigError::invalid("classes, channels", 0, "both must be positive"));
    }
    Ok(Box::new(LeNet(config)))
}

#[derive(Debug)]
struct LeNet(LeNetConfig);

impl Architecture for LeNet {
    fn build(&self, device: &Device, seed: u64) -> Network {
        let LeNetConfig { side, channels, classes } = self.0;
        let pool = Op::MaxPool { kernel: 2, stride: 2, padding: 0 };
        let mut graph = NetworkBuilder::new(device, seed);
        graph.conv("conv1", 0, [6, channels, 5], 1, (32 - side) / 2, true);
        graph.op("relu1", &[graph.last()], Op::Relu);
        graph.op("pool1", &[graph.last()], pool);
        graph.conv("conv2", graph.last(), [16, 6, 5], 1, 0, true);
        graph.op("relu2", &[graph.last()], Op::Relu);
        graph.op("pool2", &[graph.last()], pool);
        graph.op("flatten", &[graph.last()], Op::Flatten);
        graph.linear("fc1", graph.last(), 120, 400);
        graph.op("relu3", &[graph.last()], Op::Relu);
        graph.linear("fc2", graph.last(), 84, 120);
        graph.op("relu4", &[graph.last()], Op::Relu);
        graph.linear("fc3", graph.last(), classes, 84);
        graph.finish("lenet5", [channels, side, side], classes)
    }

    fn schemes(&self) -> Vec<fn(&str) -> Option<String>> {
        vec![|name| Some(name.to_owned())]
    }
}

/// The registry's entry.
pub const ENTRY: Entry<dyn Architecture> = Entry {
    name: "lenet5",
    summary: "LeNet-5 with ReLU and max pooling, for 28x28 or 32x32 images",
    source: "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 1998 \
             (with ReLU and max pooling in place of sigmoids and subsampling)",
    defaults: defaults_of::<LeNetConfig>,
    build,
};
