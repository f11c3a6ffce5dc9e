//! What the error is to be expected to be, from the statistics that batch norms hold.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, Normal};

use super::linear_map::LinearMap;
use super::stage::{Stage, Step};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::pass::ChannelMoments;

/// Quantiles at which rounding is evaluated.
const QUANTILES: usize = 512;

/// One channel of a node's output in the teacher: a Gaussian, clamped where a rectifier has.
#[derive(Debug, Clone, Copy)]
struct Signal {
    mean: f64,
    deviation: f64,
    low: f64,
    high: f64,
}

/// Mean and variance over images and positions.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    mean: f64,
    variance: f64,
}

/// One channel of a node: the teacher's output, and the student's less the teacher's.
#[derive(Debug, Clone, Copy)]
struct Channel {
    signal: Signal,
    error: Moments,
}

impl Signal {
    fn gaussian(mean: f64, deviation: f64) -> Self {
        Self { mean, deviation, low: f64::NEG_INFINITY, high: f64::INFINITY }
    }

    fn of(moments: Moments) -> Self {
        Self::gaussian(moments.mean, moments.variance.max(0.0).sqrt())
    }

    fn at(&self, standard: f64) -> f64 {
        (self.mean + self.deviation * standard).max(self.low).min(self.high)
    }

    /// Mean and variance of the clamped value.
    fn moments(&self, quantiles: &[f64]) -> Moments {
        if self.low == f64::NEG_INFINITY && self.high == f64::INFINITY {
            return Moments { mean: self.mean, variance: self.deviation.powi(2) };
        }
        moments_of(quantiles.iter().map(|&standard| self.at(standard)))
    }

    /// How often the value lies strictly between the clamp's ends.
    fn passing(&self, normal: &Normal) -> f64 {
        if self.deviation == 0.0 {
            return f64::from(u8::from(self.mean > self.low && self.mean < self.high));
        }
        let below = |end: f64| normal.cdf((end - self.mean) / self.deviation);
        below(self.high) - below(self.low)
    }
}

fn moments_of(values: impl Iterator<Item = f64> + Clone) -> Moments {
    let (sum, count) = values.clone().fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    let mean = sum / count.max(1) as f64;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    Moments { mean, variance }
}

/// The root mean square of the student's output less the teacher's that is to be expected at every node, over all
/// images, channels and positions. **No bound**: an estimate, by these rules, channel by channel.
///
/// ```text
/// images:                 x ~ N(0, 1), which is what images are normalised to
/// batch norm:             x ~ N(beta, gamma^2);  where it is known, a folded one at its convolution's output too
/// other linear layers:    E[y] = W E[x] + b,  Var[y] = W^2 Var[x]
/// error, linear layers:   E[d'] = W^ E[d] + (W^ - W) E[x] + (b^ - b),  Var[d'] = W^^2 Var[d] + (W^ - W)^2 Var[x]
/// error, rectifier:       passes where x passes: E[d'] = p E[d],  E[d'^2] = p E[d^2],  p = P(low < x < high)
/// error, quantization:    + mean and variance of Q(x) - x over the Gaussian (step^2 / 12 where nothing is clipped)
/// ```
/// All are taken as independent: of one another, of channels and of neighbouring positions. Neighbours in real images
/// are not, so that pooling averages less of the error away than this says; border positions count as any other; maxima
/// are taken to change neither moments nor errors.
///
/// # Source
/// Batch-norm moments as those of activations: Nagel et al., Data-Free Quantization Through Weight Equalization and
/// Bias Correction, ICCV 2019, 4.2. Rounding as uniform noise: Widrow, Kollár: Quantization Noise, 2008.
///
/// # Errors
/// With the node's name, [`QuantError::Groups`] for a codec of another shape.
pub(super) fn statistical(
    stages: &[Stage<'_>],
    folded: &BTreeMap<String, ChannelMoments>,
) -> Result<Vec<f64>, QuantError> {
    let normal = Normal::standard();
    let quantiles: Vec<f64> =
        (0..QUANTILES).map(|index| normal.inverse_cdf((index as f64 + 0.5) / QUANTILES as f64)).collect();
    let mut nodes: Vec<Vec<Channel>> = Vec::with_capacity(stages.len());
    let mut expected = Vec::with_capacity(stages.len());
    for stage in stages {
        let inputs: Vec<&[Channel]> = stage.inputs.iter().map(|&input| nodes[input].as_slice()).collect();
        let mut channels = match &stage.step {
            Step::Input => {
                vec![Channel { signal: Signal::gaussian(0.0, 1.0), error: Moments::default() }; stage.shape[0]]
            }
            Step::Linear { maps, flat } => {
                let vector;
                let input = if *flat {
                    vector = spread(inputs[0], maps.teacher.geometry.group_in);
                    vector.as_slice()
                } else {
                    inputs[0]
                };
                let signals: Vec<Moments> = input.iter().map(|channel| channel.signal.moments(&quantiles)).collect();
                let errors: Vec<Moments> = input.iter().map(|channel| channel.error).collect();
                let mut error = linear(&maps.carry, &errors);
                if let Some(change) = &maps.change {
                    for (error, made) in error.iter_mut().zip(linear(change, &signals)) {
                        error.mean += made.mean;
                        error.variance += made.variance;
                    }
                }
                let signal = linear(&maps.teacher, &signals).into_iter().map(Signal::of);
                signal.zip(error).map(|(signal, error)| Channel { signal, error }).collect()
            }
            Step::Clamp(low, high) => {
                inputs[0].iter().map(|channel| clamped(channel, [*low, *high], &normal)).collect()
            }
            Step::Add => (0..stage.shape[0]).map(|index| sum(&inputs, index, &quantiles)).collect(),
            Step::Concat => inputs.concat(),
            Step::MaxPool(_) => inputs[0].to_vec(),
            Step::Flatten => spread(inputs[0], stage.shape[0]),
            Step::Select(indices) => indices.iter().map(|&index| inputs[0][index]).collect(),
            Step::Pad([_, before, after]) => {
                let zero = Channel { signal: Signal::gaussian(0.0, 0.0), error: Moments::default() };
                [vec![zero; *before], inputs[0].to_vec(), vec![zero; *after]].concat()
            }
        };
        if let Some([beta, gamma]) = &stage.batch_norm {
            for (channel, (mean, deviation)) in channels.iter_mut().zip(beta.iter().zip(gamma)) {
                channel.signal = Signal::gaussian(*mean, *deviation);
            }
        }
        if let Some(ChannelMoments { mean, deviation, .. }) = folded.get(stage.name) {
            for (channel, (mean, deviation)) in channels.iter_mut().zip(mean.iter().zip(deviation)) {
                channel.signal = Signal::gaussian(f64::from(*mean), f64::from(*deviation));
            }
        }
        if let Some(codec) = stage.codec {
            quantize(codec, &mut channels, &quantiles).map_err(|error| error.at(stage.name))?;
        }
        let squares = channels.iter().map(|channel| channel.error.variance + channel.error.mean.powi(2)).sum::<f64>();
        expected.push((squares / channels.len().max(1) as f64).sqrt());
        nodes.push(channels);
    }
    Ok(expected)
}

/// Mean and variance of each output channel, positions at the border apart.
fn linear(map: &LinearMap, input: &[Moments]) -> Vec<Moments> {
    let geometry = map.geometry;
    let group_out = geometry.out / geometry.groups;
    let rows = map.weight.chunks_exact(geometry.terms()).zip(&map.bias).enumerate();
    rows.map(|(out, (row, bias))| {
        let mut sum = Moments { mean: *bias, variance: 0.0 };
        let from = &input[out / group_out * geometry.group_in..];
        for (kernel, moments) in row.chunks_exact(geometry.taps()).zip(from) {
            sum.mean += kernel.iter().sum::<f64>() * moments.mean;
            sum.variance += kernel.iter().map(|w| w * w).sum::<f64>() * moments.variance;
        }
        sum
    })
    .collect()
}

fn clamped(channel: &Channel, [low, high]: [f64; 2], normal: &Normal) -> Channel {
    let Channel { signal, error } = *channel;
    let signal = Signal { low: signal.low.max(low), high: signal.high.min(high), ..signal };
    let passing = signal.passing(normal);
    let mean = passing * error.mean;
    let variance = passing * (error.variance + error.mean.powi(2)) - mean.powi(2);
    Channel { signal, error: Moments { mean, variance: variance.max(0.0) } }
}

fn sum(inputs: &[&[Channel]], index: usize, quantiles: &[f64]) -> Channel {
    let (mut signal, mut error) = (Moments::default(), Moments::default());
    for input in inputs {
        let channel = &input[index];
        let own = channel.signal.moments(quantiles);
        signal = Moments { mean: signal.mean + own.mean, variance: signal.variance + own.variance };
        error.mean += channel.error.mean;
        error.variance += channel.error.variance;
    }
    Channel { signal: Signal::of(signal), error }
}

/// One channel for each of `features`: those of all positions of a channel are alike.
fn spread(channels: &[Channel], features: usize) -> Vec<Channel> {
    let area = (features / channels.len().max(1)).max(1);
    channels.iter().flat_map(|channel| std::iter::repeat_n(*channel, area)).collect()
}

/// Adds what rounding and clipping do to the values of each channel.
fn quantize(codec: &Codec, channels: &mut [Channel], quantiles: &[f64]) -> Result<(), QuantError> {
    let values: Vec<f32> = channels
        .iter()
        .flat_map(|channel| quantiles.iter().map(move |&standard| channel.signal.at(standard) as f32))
        .collect();
    let quantized = codec.fake_quantize_values(&values, [1, channels.len(), 1, quantiles.len()])?;
    let pairs = values.chunks_exact(quantiles.len()).zip(quantized.chunks_exact(quantiles.len()));
    for (channel, (values, quantized)) in channels.iter_mut().zip(pairs) {
        let errors = values.iter().zip(quantized).map(|(x, q)| f64::from(*q) - f64::from(*x));
        let made = moments_of(errors);
        channel.error.mean += made.mean;
        channel.error.variance += made.variance;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::{Affine, Arithmetic};
    use crate::grid::Grid;

    fn quantiles() -> Vec<f64> {
        let normal = Normal::standard();
        (0..QUANTILES).map(|index| normal.inverse_cdf((index as f64 + 0.5) / QUANTILES as f64)).collect()
    }

    #[test]
    fn a_rectified_gaussian_has_its_closed_moments() {
        // N(0.3, 0.8^2): E[relu] = 0.8 phi(0.375) + 0.3 Phi(0.375) = 0.491335, E[relu^2] = (0.09 + 0.64) Phi + 0.24 phi
        // = 0.560949.
        let relu = Signal { low: 0.0, ..Signal::gaussian(0.3, 0.8) };
        let Moments { mean, variance } = relu.moments(&quantiles());
        assert!((mean - 0.491_335).abs() < 1e-3, "{mean}");
        assert!((variance + mean * mean - 0.560_949).abs() < 4e-3, "{}", variance + mean * mean);
        assert!((relu.passing(&Normal::standard()) - 0.646_170).abs() < 1e-5);
    }

    #[test]
    fn rounding_is_a_twelfth_of_a_step_squared() {
        let map = Affine { arithmetic: Arithmetic::Divide, scale: 0.05, zero: 128.0, low: 0.0, high: 255.0 };
        let codec = Codec::from(Grid::new(&[map], 8, None).unwrap());
        let mut channels =
            [Channel { signal: Signal::gaussian(0.1, 1.3), error: Moments { mean: 0.5, variance: 2.0 } }];
        quantize(&codec, &mut channels, &quantiles()).unwrap();
        let made = channels[0].error.variance - 2.0;
        assert!((made / (0.05f64.powi(2) / 12.0) - 1.0).abs() < 0.15, "{made}");
        assert!((channels[0].error.mean - 0.5).abs() < 2e-3);
    }

    #[test]
    fn an_error_passes_a_rectifier_as_often_as_its_value_does() {
        let channel = Channel { signal: Signal::gaussian(0.0, 1.0), error: Moments { mean: 2.0, variance: 1.0 } };
        let after = clamped(&channel, [0.0, f64::INFINITY], &Normal::standard());
        assert!((after.error.mean - 1.0).abs() < 1e-9);
        assert!((after.error.variance - (0.5 * 5.0 - 1.0)).abs() < 1e-9);
    }
}
