//! Residual networks for 32x32 images.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Architecture, swap_prefix};
use crate::{ConfigError, Entry, Network, NetworkBuilder, NodeId, Op, defaults_of, parse};

/// How a block whose shape changes passes its input on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// Every second pixel, zero channels on both sides: no parameters.
    A,
    /// 1x1 convolution and batch norm.
    B,
}

/// The `[architecture]` table of `kind = "resnet"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// Number of weighted layers: 20, 32, 44, 56, 110 (any `6 n + 2`).
    pub depth: usize,
    /// Option A or B of the paper.
    pub shortcut: Shortcut,
    /// Channels of the three stages.
    pub widths: [usize; 3],
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { depth: 20, shortcut: Shortcut::A, widths: [16, 32, 64], channels: 3, classes: 10 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Architecture>, ConfigError> {
    let config: ResNetConfig = parse(table)?;
    if config.depth < 8 || !(config.depth - 2).is_multiple_of(6) {
        return Err(ConfigError::invalid("depth", config.depth, "write 6 n + 2, such as 20, 32, 44, 56 or 110"));
    }
    if config.classes == 0 || config.channels == 0 || config.widths.contains(&0) {
        return Err(ConfigError::invalid("classes, channels, widths", 0, "all of them must be positive"));
    }
    if config.shortcut == Shortcut::A && config.widths.windows(2).any(|pair| pair[1] < pair[0]) {
        return Err(ConfigError::invalid(
            "widths",
            format!("{:?}", config.widths),
            "option A cannot narrow: use shortcut = \"b\"",
        ));
    }
    Ok(Box::new(ResNet(config)))
}

#[derive(Debug)]
struct ResNet(ResNetConfig);

impl Architecture for ResNet {
    fn build(&self, device: &Device, seed: u64) -> Network {
        let config = &self.0;
        let mut graph = NetworkBuilder::new(device, seed);
        graph.conv("conv1", 0, [config.widths[0], config.channels, 3], 1, 1, false);
        graph.batch_norm("bn1", graph.last(), config.widths[0]);
        let mut last = graph.op("relu1", &[graph.last()], Op::Relu);
        let mut width = config.widths[0];
        for (stage, &out) in config.widths.iter().enumerate() {
            for unit in 0..(config.depth - 2) / 6 {
                let stride = if stage > 0 && unit == 0 { 2 } else { 1 };
                last = self.unit(&mut graph, &format!("layer{}.{unit}", stage + 1), last, [width, out], stride);
                width = out;
            }
        }
        graph.op("avgpool", &[last], Op::GlobalAvgPool);
        graph.op("flatten", &[graph.last()], Op::Flatten);
        graph.linear("linear", graph.last(), config.classes, width);
        graph.finish(&format!("resnet{}", config.depth), [config.channels, 32, 32], config.classes)
    }

    fn schemes(&self) -> Vec<fn(&str) -> Option<String>> {
        vec![|name| Some(name.to_owned()), torchvision, pytorchcv]
    }
}

impl ResNet {
    fn unit(
        &self,
        graph: &mut NetworkBuilder<'_>,
        name: &str,
        input: NodeId,
        [from, to]: [usize; 2],
        stride: usize,
    ) -> NodeId {
        let first = graph.last() + 1;
        graph.conv(&format!("{name}.conv1"), input, [to, from, 3], stride, 1, false);
        graph.batch_norm(&format!("{name}.bn1"), graph.last(), to);
        graph.op(&format!("{name}.relu1"), &[graph.last()], Op::Relu);
        graph.conv(&format!("{name}.conv2"), graph.last(), [to, to, 3], 1, 1, false);
        let body = graph.batch_norm(&format!("{name}.bn2"), graph.last(), to);
        let shortcut = if from == to && stride == 1 {
            input
        } else if self.0.shortcut == Shortcut::A {
            let before = (to - from) / 2;
            let op = Op::PadShortcut { stride, before, after: to - from - before };
            graph.op(&format!("{name}.shortcut"), &[input], op)
        } else {
            graph.conv(&format!("{name}.downsample.0"), input, [to, from, 1], stride, 0, false);
            graph.batch_norm(&format!("{name}.downsample.1"), graph.last(), to)
        };
        graph.op(&format!("{name}.add"), &[body, shortcut], Op::Add);
        let output = graph.op(&format!("{name}.relu2"), &[graph.last()], Op::Relu);
        graph.block(name, first, input);
        output
    }
}

/// `fc` for the classifier; `shortcut.0`, `shortcut.1` for option B.
fn torchvision(name: &str) -> Option<String> {
    let name = swap_prefix(name, "fc.", "linear.").unwrap_or_else(|| name.to_owned());
    Some(name.replace(".shortcut.", ".downsample."))
}

/// `features.init_block.conv`, `features.stage1.unit1.body.conv1.conv`, `features.stage2.unit1.identity_conv.bn`, `output`.
fn pytorchcv(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("features.init_block.") {
        return swap_prefix(rest, "conv.", "conv1.").or_else(|| swap_prefix(rest, "bn.", "bn1."));
    }
    if let Some(name) = swap_prefix(name, "output.", "linear.") {
        return Some(name);
    }
    let (stage, rest) = name.strip_prefix("features.stage")?.split_once(".unit")?;
    let (unit, rest) = rest.split_once('.')?;
    let unit = unit.parse::<usize>().ok()?.checked_sub(1)?;
    let rest = match rest.strip_prefix("identity_conv.") {
        Some(rest) => {
            swap_prefix(rest, "conv.", "downsample.0.").or_else(|| swap_prefix(rest, "bn.", "downsample.1."))?
        }
        None => {
            let (index, rest) = rest.strip_prefix("body.conv")?.split_once('.')?;
            let (kind, rest) = rest.split_once('.')?;
            format!("{kind}{index}.{rest}")
        }
    };
    Some(format!("layer{stage}.{unit}.{rest}"))
}

/// The registry's entry.
pub const ENTRY: Entry<dyn Architecture> = Entry {
    name: "resnet",
    summary: "CIFAR residual network of 6n+2 layers, option-A or option-B shortcuts",
    source: "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2",
    defaults: defaults_of::<ResNetConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_counts_are_the_paper_s() {
        for (depth, millions) in [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)] {
            let network = ResNet(ResNetConfig { depth, ..Default::default() }).build(&Device::flex(), 0);
            let count: usize = network
                .state()
                .iter()
                .filter(|(name, _)| !name.contains("running"))
                .map(|(_, data)| data.num_elements())
                .sum();
            assert!((count as f64 / 1e6 - millions).abs() < 0.03, "resnet{depth}: {count}");
        }
    }

    #[test]
    fn both_foreign_schemes_name_every_parameter() {
        let network = ResNet(ResNetConfig { shortcut: Shortcut::B, ..Default::default() }).build(&Device::flex(), 0);
        let known: Vec<String> = network.state().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            pytorchcv("features.stage2.unit1.identity_conv.bn.running_var").unwrap(),
            "layer2.0.downsample.1.running_var"
        );
        for foreign in [
            "features.init_block.conv.weight",
            "features.init_block.bn.bias",
            "features.stage3.unit3.body.conv2.bn.running_mean",
            "features.stage3.unit1.identity_conv.conv.weight",
            "output.bias",
        ] {
            assert!(known.contains(&pytorchcv(foreign).unwrap()), "{foreign}");
        }
        assert!(known.contains(&torchvision("layer2.0.shortcut.1.weight").unwrap()));
        assert!(known.contains(&torchvision("fc.weight").unwrap()));
    }

    #[test]
    fn a_wrong_depth_is_refused() {
        let table = toml::Table::from_iter([("depth".to_owned(), toml::Value::Integer(21))]);
        assert!(build(table).unwrap_err().to_string().starts_with("`depth`: 21 is not valid"));
    }
}
