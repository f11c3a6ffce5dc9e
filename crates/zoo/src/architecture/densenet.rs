//! Densely connected networks for 32x32 images.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Architecture, swap_prefix};
use crate::{ConfigError, Entry, Network, NetworkBuilder, NodeId, Op, defaults_of, parse};

/// The `[architecture]` table of `kind = "densenet-bc"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenseNetConfig {
    /// Number of weighted layers: `6 n + 4`.
    pub depth: usize,
    /// Channels that each layer adds.
    pub growth: usize,
    /// Share of the channels that a transition keeps.
    pub reduction: f64,
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for DenseNetConfig {
    fn default() -> Self {
        Self { depth: 100, growth: 12, reduction: 0.5, channels: 3, classes: 10 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Architecture>, ConfigError> {
    let config: DenseNetConfig = parse(table)?;
    if config.depth < 10 || !(config.depth - 4).is_multiple_of(6) {
        return Err(ConfigError::invalid("depth", config.depth, "write 6 n + 4, such as 40, 100 or 190"));
    }
    if !(config.reduction > 0.0 && config.reduction <= 1.0) {
        return Err(ConfigError::invalid("reduction", config.reduction, "write a share above 0, at most 1"));
    }
    if config.classes == 0 || config.channels == 0 || config.growth == 0 {
        return Err(ConfigError::invalid("classes, channels, growth", 0, "all of them must be positive"));
    }
    Ok(Box::new(DenseNet(config)))
}

#[derive(Debug)]
struct DenseNet(DenseNetConfig);

impl Architecture for DenseNet {
    fn build(&self, device: &Device, seed: u64) -> Network {
        let config = &self.0;
        let mut graph = NetworkBuilder::new(device, seed);
        let mut width = 2 * config.growth;
        let mut last = graph.conv("conv1", 0, [width, config.channels, 3], 1, 1, false);
        for stage in 1..=3 {
            for unit in 0..(config.depth - 4) / 6 {
                last = self.unit(&mut graph, &format!("block{stage}.layer.{unit}"), last, width);
                width += config.growth;
            }
            if stage < 3 {
                let kept = (width as f64 * config.reduction).floor() as usize;
                let name = format!("trans{stage}");
                graph.batch_norm(&format!("{name}.bn1"), last, width);
                graph.op(&format!("{name}.relu"), &[graph.last()], Op::Relu);
                graph.conv(&format!("{name}.conv1"), graph.last(), [kept, width, 1], 1, 0, false);
                last = graph.op(
                    &format!("{name}.pool"),
                    &[graph.last()],
                    Op::AvgPool { kernel: 2, stride: 2, padding: 0 },
                );
                width = kept;
            }
        }
        graph.batch_norm("bn1", last, width);
        graph.op("relu", &[graph.last()], Op::Relu);
        graph.op("avgpool", &[graph.last()], Op::GlobalAvgPool);
        graph.op("flatten", &[graph.last()], Op::Flatten);
        graph.linear("fc", graph.last(), config.classes, width);
        graph.finish(
            &format!("densenet-bc{}-{}", config.depth, config.growth),
            [config.channels, 32, 32],
            config.classes,
        )
    }

    fn schemes(&self) -> Vec<fn(&str) -> Option<String>> {
        vec![|name| Some(name.to_owned()), pytorchcv]
    }
}

impl DenseNet {
    fn unit(&self, graph: &mut NetworkBuilder<'_>, name: &str, input: NodeId, width: usize) -> NodeId {
        let (first, growth) = (graph.last() + 1, self.0.growth);
        graph.batch_norm(&format!("{name}.bn1"), input, width);
        graph.op(&format!("{name}.relu1"), &[graph.last()], Op::Relu);
        graph.conv(&format!("{name}.conv1"), graph.last(), [4 * growth, width, 1], 1, 0, false);
        graph.batch_norm(&format!("{name}.bn2"), graph.last(), 4 * growth);
        graph.op(&format!("{name}.relu2"), &[graph.last()], Op::Relu);
        graph.conv(&format!("{name}.conv2"), graph.last(), [growth, 4 * growth, 3], 1, 1, false);
        let output = graph.op(&format!("{name}.concat"), &[input, graph.last()], Op::Concat);
        graph.block(name, first, input);
        output
    }
}

/// `features.init_block`, `features.stage1.unit1.conv1.bn`, `features.stage2.trans2.conv`, `features.post_activ.bn`, `output`.
fn pytorchcv(name: &str) -> Option<String> {
    for (from, to) in [("features.init_block.", "conv1."), ("features.post_activ.bn.", "bn1."), ("output.", "fc.")] {
        if let Some(name) = swap_prefix(name, from, to) {
            return Some(name);
        }
    }
    let (stage, rest) = name.strip_prefix("features.stage")?.split_once('.')?;
    if let Some((trans, rest)) = rest.strip_prefix("trans").and_then(|rest| rest.split_once('.')) {
        let trans = trans.parse::<usize>().ok()?.checked_sub(1)?;
        let rest = rest.strip_prefix("conv.").unwrap_or(rest);
        let (kind, rest) = rest.split_once('.')?;
        return Some(format!("trans{trans}.{kind}1.{rest}"));
    }
    let (unit, rest) = rest.strip_prefix("unit")?.split_once('.')?;
    let unit = unit.parse::<usize>().ok()?.checked_sub(1)?;
    let (index, rest) = rest.strip_prefix("conv")?.split_once('.')?;
    let (kind, rest) = rest.split_once('.')?;
    Some(format!("block{stage}.layer.{unit}.{kind}{index}.{rest}"))
}

/// The registry's entry.
pub const ENTRY: Entry<dyn Architecture> = Entry {
    name: "densenet-bc",
    summary: "CIFAR DenseNet with bottlenecks and compression: pre-activation batch norms, concatenation",
    source: "Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017, section 3",
    defaults: defaults_of::<DenseNetConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_100_growth_12_has_the_paper_s_0_8_million_parameters() {
        let network = DenseNet(DenseNetConfig::default()).build(&Device::flex(), 0);
        let count: usize = network
            .state()
            .iter()
            .filter(|(name, _)| !name.contains("running"))
            .map(|(_, data)| data.num_elements())
            .sum();
        assert!((760_000..800_000).contains(&count), "{count}");
    }

    #[test]
    fn the_pytorchcv_scheme_names_parameters() {
        let network = DenseNet(DenseNetConfig::default()).build(&Device::flex(), 0);
        let known: Vec<String> = network.state().into_iter().map(|(name, _)| name).collect();
        for foreign in [
            "features.init_block.weight",
            "features.stage1.unit1.conv1.bn.weight",
            "features.stage3.unit16.conv2.conv.weight",
            "features.stage2.trans2.conv.bn.running_mean",
            "features.post_activ.bn.bias",
            "output.weight",
        ] {
            let name = pytorchcv(foreign).unwrap();
            assert!(known.contains(&name), "{foreign} -> {name}");
        }
    }
}
