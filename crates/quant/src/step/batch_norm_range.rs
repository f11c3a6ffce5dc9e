//! Activation ranges without images.

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Entry, Layer, Network, Op, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, Stage};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::interval::Range;
use crate::moments::known_moments;
use crate::network::QuantizedNetwork;
use crate::pass::ChannelMoments;
use crate::plan::Target;

/// Table of [`BatchNormRange`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchNormRangeConfig {
    /// How many deviations a range reaches to both sides of the mean.
    pub n_sigma: f64,
}

impl Default for BatchNormRangeConfig {
    fn default() -> Self {
        Self { n_sigma: 6.0 }
    }
}

/// Replaces the grids of all activations by those of ranges that the batch norms lead to expect.
///
/// ```text
/// channel   [mean - n_sigma * deviation, mean + n_sigma * deviation]      as [`crate::channel_moments`] has them
/// ReLU      [0, max of what it reads],  ReLU6 at most 6
/// tensor    from the smallest minimum of its channels to the largest maximum
/// ```
/// Pooling, flattening and concatenation have the ranges of what they read. A sum of values that are not negative has 0
/// as its lower bound. The grid is the target's own quantizer's; sites with dynamic ranges are left as they are.
///
/// # Source
/// Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019 (data-free
/// activation ranges, `n = 6`).
///
/// # Differences from the source
/// Branches are added with their variances, as of independent values.
///
/// # Errors
/// [`QuantError::Config`] for a network without any batch norm, folded or not, and for an activation in a format
/// without a range; [`QuantError::Range`] with the site's name for statistics that are not finite.
#[derive(Debug, Clone)]
pub struct BatchNormRange {
    config: BatchNormRangeConfig,
}

/// Lower and upper bound of a channel.
type Bounds = (f64, f64);

impl BatchNormRange {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an `n_sigma` that is not positive.
    pub fn new(config: BatchNormRangeConfig) -> Result<Self, ConfigError> {
        if !(config.n_sigma > 0.0 && config.n_sigma.is_finite()) {
            return Err(ConfigError::invalid("n_sigma", config.n_sigma, "write a positive number, such as 6"));
        }
        Ok(Self { config })
    }

    /// The bounds of every channel of every node that has moments, by node name.
    fn bounds(&self, network: &Network, moments: &BTreeMap<String, ChannelMoments>) -> BTreeMap<String, Vec<Bounds>> {
        let mut known: BTreeMap<String, Vec<Bounds>> = BTreeMap::new();
        for node in network.nodes() {
            let Some(moments) = moments.get(&node.name) else { continue };
            let inputs: Vec<&Vec<Bounds>> =
                node.inputs.iter().filter_map(|&input| known.get(&network.node(input).name)).collect();
            let bounds = match inputs.first() {
                Some(first) if inputs.len() == node.inputs.len() => self.of_node(&node.layer, moments, &inputs, first),
                _ => self.spread(moments),
            };
            known.insert(node.name.clone(), bounds);
        }
        known
    }

    fn of_node(
        &self,
        layer: &Layer,
        moments: &ChannelMoments,
        inputs: &[&Vec<Bounds>],
        first: &[Bounds],
    ) -> Vec<Bounds> {
        let with_zero = |(low, high): Bounds| (low.min(0.0), high.max(0.0));
        if let Layer::ChannelSelect(select) = layer {
            return select.indices.iter().filter_map(|&index| first.get(index).copied()).collect();
        }
        match layer.op() {
            Some(Op::Relu) => first.iter().map(|(_, high)| (0.0, high.max(0.0))).collect(),
            Some(Op::Relu6) => first.iter().map(|(_, high)| (0.0, high.clamp(0.0, 6.0))).collect(),
            Some(Op::Concat) => inputs.iter().flat_map(|input| input.iter().copied()).collect(),
            Some(Op::AvgPool { padding, .. }) if padding > 0 => first.iter().copied().map(with_zero).collect(),
            Some(Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool) => first.to_vec(),
            Some(Op::Flatten) => {
                let area = moments.mean.len() / first.len().max(1);
                first.iter().flat_map(|&bounds| std::iter::repeat_n(bounds, area)).collect()
            }
            Some(Op::PadShortcut { before, after, .. }) => {
                let zeros = |count: usize| std::iter::repeat_n((0.0, 0.0), count);
                zeros(before).chain(first.iter().copied()).chain(zeros(after)).collect()
            }
            Some(Op::Add) if inputs.iter().all(|input| input.iter().all(|bounds| bounds.0 >= 0.0)) => {
                self.spread(moments).into_iter().map(|(low, high)| (low.max(0.0), high)).collect()
            }
            Some(
                Op::Add | Op::Input | Op::Upsample { .. } | Op::LeakyRelu { .. } | Op::Tanh | Op::Unflatten { .. },
            )
            | None => self.spread(moments),
        }
    }

    /// `n_sigma` deviations to both sides of the mean.
    fn spread(&self, moments: &ChannelMoments) -> Vec<Bounds> {
        let pairs = moments.mean.iter().zip(&moments.deviation);
        pairs
            .map(|(&mean, &deviation)| {
                let reach = self.config.n_sigma * f64::from(deviation);
                (f64::from(mean) - reach, f64::from(mean) + reach)
            })
            .collect()
    }
}

/// The grid of a site whose channels have these bounds.
fn codec(target: &Target, bits: u8, channels: &[Bounds]) -> Result<Codec, QuantError> {
    let axis = target.granularity.activation_axis();
    let range = |(low, high): Bounds| Range::new(low as f32, high as f32);
    let ranges = match axis {
        Some(_) => channels.iter().copied().map(range).collect::<Result<Vec<Range>, QuantError>>()?,
        None => {
            let join = |a: Bounds, b: &Bounds| (a.0.min(b.0), a.1.max(b.1));
            vec![range(channels.iter().fold((f64::INFINITY, f64::NEG_INFINITY), join))?]
        }
    };
    Ok(target.quantizer.grid(&ranges, bits, axis)?.into())
}

impl FittingStep for BatchNormRange {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn fit(&self, request: FitRequest<'_>, mut student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { teacher, progress, .. } = request;
        let moments = known_moments("batch-norm-range", teacher, &student.moments)?;
        let bounds = self.bounds(teacher, &moments);
        let sites: Vec<(Target, u8)> = student
            .plan
            .activations()
            .filter(|target| target.dynamic.is_none())
            .filter_map(|target| Some((target.clone(), target.precision.bits()?)))
            .collect();
        for (index, (target, bits)) in sites.iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            if let Some((name, _)) = &target.format {
                let fix = "a range needs a uniform integer format: leave `activation.format` out, or the step";
                return Err(ConfigError::invalid("batch-norm-range", format!("activations as {name}"), fix).into());
            }
            let channels = bounds.get(&target.name).ok_or_else(|| QuantError::OtherNetwork {
                network: teacher.name().to_owned(),
                missing: vec![target.name.clone()],
            })?;
            let codec = codec(target, *bits, channels).map_err(|error| error.at(&target.name))?;
            student.activations.insert(target.name.clone(), codec);
            progress.unit(index + 1, sites.len(), &[]);
        }
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "batch-norm-range",
    summary: "activation ranges of so many deviations around the means that batch norms tell, without images",
    source: "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019",
    defaults: defaults_of::<BatchNormRangeConfig>,
    build: |table| Ok(Box::new(BatchNormRange::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::super::Silent;
    use super::*;
    use crate::architectures::{build, mobile};
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::pass::Rewritten;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, plain, small};

    fn student(network: &Network, protocol: Protocol, granularity: Granularity) -> QuantizedNetwork {
        let bits = Precision::Int(8);
        let mut config = QuantConfig { protocol, weight_bits: bits, activation_bits: bits, ..Default::default() };
        config.activation.granularity = Some(granularity);
        let plan = Plan::new(&config, network, &Families::builtin()).unwrap();
        let batch = images(network, 2, 8);
        QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap()
    }

    fn fit(teacher: &Network, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let step = BatchNormRange::new(BatchNormRangeConfig::default()).unwrap();
        let zeros = Tensor::<4>::zeros([1, 3, 12, 12], &teacher.device());
        step.fit(FitRequest { teacher, images: &zeros, seed: 1, progress: &mut Silent }, student)
    }

    /// Smallest and largest value that a group of a site can have.
    fn ends(student: &QuantizedNetwork, site: &str, group: usize) -> (f64, f64) {
        let (low, high) = student.activations[site].uniform().unwrap().map(group).representable();
        (f64::from(low), f64::from(high))
    }

    fn statistics(network: &Network, name: &str) -> Vec<(f64, f64)> {
        let Layer::BatchNorm2d(norm) = &network.node(network.find(name).unwrap()).layer else { panic!("{name}") };
        let host = |values: Tensor<1>| values.into_data().iter::<f32>().map(f64::from).collect::<Vec<f64>>();
        host(norm.beta.val()).into_iter().zip(host(norm.gamma.val())).collect()
    }

    #[test]
    fn after_a_batch_norm_ranges_are_those_of_the_formula() {
        let network = small(31);
        let tops: Vec<f64> = statistics(&network, "bn1").iter().map(|(beta, gamma)| beta + 6.0 * gamma.abs()).collect();
        let largest = tops.iter().fold(0.0f64, |largest, top| largest.max(*top));
        let whole = fit(&network, student(&network, Protocol::Gdfq, Granularity::PerTensor)).unwrap();
        let (low, high) = ends(&whole, "relu1", 0);
        let step = largest / 255.0;
        assert!(low.abs() < step && (high - largest).abs() < step, "[{low}, {high}], not [0, {largest}]");
        let each = fit(&network, student(&network, Protocol::Gdfq, Granularity::PerChannel)).unwrap();
        for (channel, top) in tops.iter().enumerate() {
            let (low, high) = ends(&each, "relu1", channel);
            assert!(low.abs() < top / 255.0 && (high - top).abs() < top / 255.0, "{channel}: [{low}, {high}] {top}");
        }
        assert_eq!(whole.activations.len(), 5);
    }

    #[test]
    fn sums_have_the_deviation_of_both_branches() {
        let network = small(32);
        let fitted = fit(&network, student(&network, Protocol::Gdfq, Granularity::PerTensor)).unwrap();
        let moments = crate::moments::channel_moments(&network, &BTreeMap::new());
        let (body, shortcut) = (&moments["layer1.0.bn2"], &moments["relu1"]);
        let tops = (0..8).map(|channel| {
            let deviation = f64::from(body.deviation[channel]).hypot(f64::from(shortcut.deviation[channel]));
            f64::from(body.mean[channel]) + f64::from(shortcut.mean[channel]) + 6.0 * deviation
        });
        let largest = tops.fold(0.0, f64::max);
        let (low, high) = ends(&fitted, "layer1.0.relu2", 0);
        assert!(low.abs() < largest / 255.0 && (high - largest).abs() < largest / 255.0, "{high} {largest}");
    }

    #[test]
    fn a_relu6_ends_at_six_and_every_site_of_every_protocol_gets_a_range() {
        for network in [mobile(33), build("densenet-bc", "depth = 10", 33), build("resnet", "depth = 8", 33)] {
            for protocol in [Protocol::Gdfq, Protocol::Brecq] {
                let before = student(&network, protocol, Granularity::PerTensor);
                let rewritten = Rewritten::new(network.clone());
                let rewritten = if protocol.folds_batch_norms() { rewritten.folded() } else { rewritten };
                let mut with_moments = before.clone();
                with_moments.moments = rewritten.moments;
                let after = fit(&rewritten.network, with_moments).unwrap();
                assert_eq!(
                    after.activations.keys().collect::<Vec<_>>(),
                    before.activations.keys().collect::<Vec<_>>(),
                    "{protocol}"
                );
                for (site, codec) in &after.activations {
                    let node = rewritten.network.node(rewritten.network.find(site).unwrap());
                    if node.layer.op() == Some(Op::Relu6) {
                        assert!(ends(&after, site, 0).1 < 6.03, "{site}");
                    } else {
                        assert_ne!(codec, &before.activations[site], "{site} of {} keeps its range", network.name());
                    }
                }
            }
        }
    }

    #[test]
    fn without_batch_norms_there_are_no_ranges() {
        let network = plain(34);
        let error = fit(&network, student(&network, Protocol::Gdfq, Granularity::PerTensor)).unwrap_err().to_string();
        assert!(error.contains("`plain` without any batch norm"), "{error}");
        assert!(BatchNormRange::new(BatchNormRangeConfig { n_sigma: 0.0 }).is_err());
    }
}
