//! What batch norms say of every value in a network, without an image.

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Layer, Network, Node, Op};
use burn::tensor::Tensor;
use statrs::function::erf::erfc;

use crate::error::QuantError;
use crate::host_layer::HostLayer;
use crate::pass::ChannelMoments;
use crate::shapes::output_shapes;

/// Mean and deviation of each channel of each node's output over the data that the network was trained on, by node
/// name, from the batch norms in it and what was `folded` (see [`crate::Rewritten::moments`]).
///
/// Every value is taken to be Gaussian before a rectifier, and channels, positions and branches to be independent:
///
/// ```text
/// batch norm, folded convolution   mean beta, deviation |gamma|
/// ReLU                             mean       gamma phi(-beta / gamma) + beta (1 - Phi(-beta / gamma))
/// ReLU6                            the same, clipped at 6 as well; deviations likewise, from the second moment
/// other convolution, linear        mean       b + sum_k w_k E[x_k];   variance   sum_k w_k^2 Var[x_k]
/// addition                         means and variances add up
/// concatenation, channel choice, flattening   channel by channel
/// pooling                          mean and deviation of what is pooled
/// option-A shortcut                mean and deviation 0 of the channels it adds
/// images                           mean 0, deviation 1: those of normalised images
/// ```
/// Of what a generator's own operations (upsampling, leaky ReLU, tanh, unflattening) give, nothing is said.
///
/// What this leaves out: zero padding, the correlation between neighbouring positions (an average varies less than its
/// terms) and that a maximum is above the mean.
///
/// # Source
/// Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2.1 and
/// the appendix on the clipped normal distribution.
pub fn channel_moments(
    network: &Network,
    folded: &BTreeMap<String, ChannelMoments>,
) -> BTreeMap<String, ChannelMoments> {
    let shapes = output_shapes(network);
    let mut known: Vec<Option<Moments>> = Vec::with_capacity(shapes.len());
    for (node, shape) in network.nodes().iter().zip(&shapes) {
        let inputs: Option<Vec<&Moments>> = node.inputs.iter().map(|&input| known[input].as_ref()).collect();
        let stated = folded.get(&node.name).filter(|_| node.layer.has_weight()).map(Moments::stated);
        let moments = match (stated, inputs) {
            (Some(stated), _) => Some(stated),
            (None, Some(inputs)) => propagate(node, shape, &inputs),
            (None, None) => None,
        };
        known.push(moments.filter(|moments| moments.0.len() == shape[0]));
    }
    let named = network.nodes().iter().zip(known);
    named.filter_map(|(node, moments)| Some((node.name.clone(), ChannelMoments::from(moments?)))).collect()
}

/// As [`channel_moments`], for a step that cannot do without.
///
/// # Errors
/// [`QuantError::Config`] for a network without batch norms of which nothing was folded either.
pub(crate) fn known_moments(
    step: &str,
    network: &Network,
    folded: &BTreeMap<String, ChannelMoments>,
) -> Result<BTreeMap<String, ChannelMoments>, QuantError> {
    let stated = |node: &Node| matches!(node.layer, Layer::BatchNorm2d(_)) || folded.contains_key(&node.name);
    if network.nodes().iter().any(stated) {
        return Ok(channel_moments(network, folded));
    }
    let found = format!("the network `{}` without any batch norm, folded or not", network.name());
    let fix = "the step reads the statistics of batch norms: use one that looks at images instead";
    Err(ConfigError::invalid(step, found, fix).into())
}

/// Mean and variance of each channel.
#[derive(Debug, Clone, PartialEq)]
struct Moments(Vec<(f64, f64)>);

impl Moments {
    fn stated(moments: &ChannelMoments) -> Self {
        let pairs = moments.mean.iter().zip(&moments.deviation);
        Self(pairs.map(|(mean, deviation)| (f64::from(*mean), f64::from(*deviation).powi(2))).collect())
    }

    fn map(&self, each: impl Fn(f64, f64) -> (f64, f64)) -> Self {
        Self(self.0.iter().map(|&(mean, variance)| each(mean, variance)).collect())
    }
}

impl From<Moments> for ChannelMoments {
    fn from(moments: Moments) -> Self {
        let (mean, deviation) =
            moments.0.into_iter().map(|(mean, variance)| (mean as f32, variance.sqrt() as f32)).unzip();
        Self { mean, deviation, divisor: Vec::new() }
    }
}

/// The moments of a node's output from those of its inputs.
fn propagate(node: &Node, shape: &[usize; 3], inputs: &[&Moments]) -> Option<Moments> {
    let op = match &node.layer {
        Layer::BatchNorm2d(norm) => {
            let host =
                |values: Tensor<1>| values.inner().into_data().iter::<f32>().map(f64::from).collect::<Vec<f64>>();
            let pairs = host(norm.beta.val()).into_iter().zip(host(norm.gamma.val()));
            return Some(Moments(pairs.map(|(beta, gamma)| (beta, gamma * gamma)).collect()));
        }
        Layer::Conv2d(_) | Layer::Linear(_) => return weighted(&HostLayer::of(node)?, inputs.first()?),
        Layer::ChannelSelect(select) => {
            let pick = |&index: &usize| inputs.first()?.0.get(index).copied();
            return select.indices.iter().map(pick).collect::<Option<_>>().map(Moments);
        }
        Layer::Stateless(layer) => layer.op,
    };
    Some(match op {
        Op::Input => Moments(vec![(0.0, 1.0); shape[0]]),
        Op::Relu => inputs.first()?.map(|mean, variance| rectified(mean, variance, None)),
        Op::Relu6 => inputs.first()?.map(|mean, variance| rectified(mean, variance, Some(6.0))),
        Op::Add => {
            let mut sum = vec![(0.0, 0.0); shape[0]];
            for input in inputs {
                sum.iter_mut().zip(&input.0).for_each(|(sum, term)| *sum = (sum.0 + term.0, sum.1 + term.1));
            }
            Moments(sum)
        }
        Op::Concat => Moments(inputs.iter().flat_map(|input| input.0.iter().copied()).collect()),
        Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool => (*inputs.first()?).clone(),
        Op::Flatten => {
            let channels = &inputs.first()?.0;
            let area = shape[0].checked_div(channels.len())?;
            Moments(channels.iter().flat_map(|&moments| std::iter::repeat_n(moments, area)).collect())
        }
        Op::PadShortcut { before, after, .. } => {
            let zeros = |count: usize| std::iter::repeat_n((0.0, 0.0), count);
            Moments(zeros(before).chain(inputs.first()?.0.iter().copied()).chain(zeros(after)).collect())
        }
        Op::Upsample { .. } | Op::LeakyRelu { .. } | Op::Tanh | Op::Unflatten { .. } => return None,
    })
}

/// Those of a convolution or linear layer; an input channel may stand for several features side by side.
fn weighted(layer: &HostLayer, input: &Moments) -> Option<Moments> {
    let repeat = layer.inputs().checked_div(input.0.len())?;
    if repeat == 0 || repeat * input.0.len() != layer.inputs() {
        return None;
    }
    let mut moments: Vec<(f64, f64)> = match &layer.bias {
        Some(bias) => bias.iter().map(|bias| (*bias, 0.0)).collect(),
        None => vec![(0.0, 0.0); layer.outputs()],
    };
    for place in 0..layer.inputs() {
        let (mean, variance) = input.0[place / repeat];
        for (output, weights) in layer.readers(place) {
            let (sum, squares) = &mut moments[output];
            for weight in &layer.weight[weights] {
                *sum += weight * mean;
                *squares += weight * weight * variance;
            }
        }
    }
    Some(Moments(moments))
}

/// Mean and variance of `max(x, 0)`, or of `min(max(x, 0), cap)`, for a Gaussian `x`.
fn rectified(mean: f64, variance: f64, cap: Option<f64>) -> (f64, f64) {
    let deviation = variance.sqrt();
    if deviation <= 0.0 {
        return (mean.clamp(0.0, cap.unwrap_or(f64::INFINITY)), 0.0);
    }
    // The integrals of 1, t and t^2 times the standard normal density, from z on.
    let tail = |z: f64| {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let above = 0.5 * erfc(z / std::f64::consts::SQRT_2);
        (above, density, above + z * density)
    };
    let low = tail(-mean / deviation);
    let high = cap.map_or((0.0, 0.0, 0.0), |cap| tail((cap - mean) / deviation));
    let (zeroth, first, second) = (low.0 - high.0, low.1 - high.1, low.2 - high.2);
    let cap = cap.unwrap_or(0.0);
    let result = mean * zeroth + deviation * first + cap * high.0;
    let square = mean * mean * zeroth + 2.0 * mean * deviation * first + variance * second + cap * cap * high.0;
    (result, (square - result * result).max(0.0))
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::fold_batch_norms;

    use super::*;
    use crate::architectures::{all, mobile};
    use crate::pass::Rewritten;
    use crate::testing::{plain, small};

    #[test]
    fn rectified_moments_are_those_of_the_integral() {
        for (mean, deviation) in [(0.0, 1.0), (0.7, 1.3), (-1.2, 0.8), (5.5, 2.0), (-3.0, 0.5), (8.0, 0.4)] {
            for cap in [None, Some(6.0)] {
                let (mut first, mut second) = (0.0, 0.0);
                let step = 1e-3;
                for index in -12_000..=12_000 {
                    let z = f64::from(index) * step;
                    let weight = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * step;
                    let y = (mean + deviation * z).max(0.0).min(cap.unwrap_or(f64::INFINITY));
                    first += weight * y;
                    second += weight * y * y;
                }
                let (found, variance) = rectified(mean, deviation * deviation, cap);
                assert!((found - first).abs() < 1e-5, "{mean} {deviation} {cap:?}: {found} {first}");
                let expected = second - first * first;
                assert!((variance - expected).abs() < 1e-5, "{mean} {deviation} {cap:?}: {variance} {expected}");
            }
        }
        assert_eq!(rectified(-2.0, 0.0, None), (0.0, 0.0));
        assert_eq!(rectified(9.0, 0.0, Some(6.0)), (6.0, 0.0));
    }

    #[test]
    fn every_node_has_moments_for_every_channel() {
        for network in all(16) {
            let moments = channel_moments(&network, &BTreeMap::new());
            for (node, shape) in network.nodes().iter().zip(output_shapes(&network)) {
                let found = &moments[&node.name];
                assert_eq!((found.mean.len(), found.deviation.len()), (shape[0], shape[0]), "{}", node.name);
                assert!(found.mean.iter().chain(&found.deviation).all(|value| value.is_finite()), "{}", node.name);
            }
        }
    }

    #[test]
    fn folding_moves_the_moments_of_a_batch_norm_to_its_convolution() {
        for network in [small(17), mobile(17)] {
            let apart = channel_moments(&network, &BTreeMap::new());
            let folded = Rewritten::new(network.clone()).folded();
            let together = channel_moments(&folded.network, &folded.moments);
            for node in folded.network.nodes() {
                let reader = network.consumers(network.find(&node.name).unwrap());
                let name = match (&node.layer, &reader[..]) {
                    (Layer::Conv2d(_), [norm]) => &network.node(*norm).name,
                    _ => &node.name,
                };
                assert_eq!(apart[name], together[&node.name], "{}", node.name);
            }
        }
    }

    #[test]
    fn a_layer_of_independent_inputs_has_the_moments_of_their_sum() {
        let network = plain(18);
        let moments = channel_moments(&network, &BTreeMap::new());
        let first = HostLayer::of(network.node(1)).unwrap();
        for channel in 0..4 {
            let squares: f64 = first.weight[first.output_weights(channel)].iter().map(|weight| weight * weight).sum();
            assert_eq!(moments["first"].mean[channel], first.bias.as_ref().unwrap()[channel] as f32);
            assert!((f64::from(moments["first"].deviation[channel]) - squares.sqrt()).abs() < 1e-6);
        }
        let classifier = HostLayer::of(network.node(network.output())).unwrap();
        for output in 0..5 {
            let row = &classifier.weight[output * 4..output * 4 + 4];
            let expected: f64 =
                row.iter().zip(&moments["relu"].mean).map(|(weight, mean)| weight * f64::from(*mean)).sum();
            let expected = expected + classifier.bias.as_ref().unwrap()[output];
            assert!((f64::from(moments["classifier"].mean[output]) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn branches_add_up_and_a_shortcut_adds_constant_zeros() {
        let network = small(19);
        let moments = channel_moments(&network, &BTreeMap::new());
        let (body, shortcut) = (&moments["layer2.0.bn2"], &moments["layer2.0.shortcut"]);
        assert_eq!(shortcut.mean[..4], [0.0; 4]);
        assert_eq!(shortcut.deviation[12..], [0.0; 4]);
        assert_eq!(shortcut.mean[4..12], moments["layer1.0.relu2"].mean);
        for channel in 0..16 {
            let sum = &moments["layer2.0.add"];
            assert!((sum.mean[channel] - body.mean[channel] - shortcut.mean[channel]).abs() < 1e-6);
            let deviation = body.deviation[channel].hypot(shortcut.deviation[channel]);
            assert!((sum.deviation[channel] - deviation).abs() < 1e-6);
        }
    }

    #[test]
    fn a_network_without_batch_norms_says_nothing() {
        let error = known_moments("step", &fold_batch_norms(small(1)), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.starts_with("`step`: the network `small` without any batch norm"), "{error}");
        assert!(known_moments("step", &small(1), &BTreeMap::new()).is_ok());
    }
}
