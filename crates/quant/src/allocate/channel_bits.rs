//! Bits for single channels, as an analysis.

use std::fmt::Write;

use blindfold_zoo::Network;

use crate::error::QuantError;
use crate::samples::Samples;

/// The most bits of a channel.
const MOST_BITS: u8 = 8;
/// How often the target is moved, and by how little the mean may then be off.
const ATTEMPTS: usize = 10;
const TOLERANCE: f64 = 0.01;

/// How the real numbers of bits become whole ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelRounding {
    /// To the nearest.
    #[default]
    Nearest,
    /// Up.
    Up,
}

/// The bits of each output channel of a weight, and what they are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelBits {
    /// Bits by output channel, 0 to 8.
    pub bits: Vec<u8>,
    /// Their mean.
    pub mean: f64,
    /// Mean squared error of the weight with these bits.
    pub mse: f64,
    /// The same with the asked-for bits in every channel.
    pub uniform_mse: f64,
}

impl ChannelBits {
    /// Shares out bits among the output channels of a weight `[out, in / groups, height, width]` (row-major), `bits` on
    /// average.
    ///
    /// ```text
    /// B_i = N 2^t sigma_i^(2/3) / sum_j sigma_j^(2/3)        M_i = round(log2 B_i) in 0..8
    /// ```
    /// `N`: number of channels; `sigma_i`: standard deviation of channel `i`. `t` begins at `bits` and is moved by what the
    /// mean of `M_i` lacks, up to ten times, until that is less than 0.01; the attempt that comes closest counts. The
    /// measured errors are those of a grid of `2^M_i` levels from the channel's least to its largest weight; with 0 bits the
    /// one level is the channel's mean.
    ///
    /// **Not for hardware:** no integer kernel multiplies channels of different widths at once. An analysis of how
    /// much there is to gain, and no result to stand beside networks whose layers have one width each.
    ///
    /// # Errors
    /// [`QuantError::Bits`] for bits outside 1 to 8, [`QuantError::NotFinite`], [`QuantError::Empty`].
    ///
    /// # Source
    /// Banner, Nahshan, Soudry, Post training 4-bit quantization of convolutional networks for rapid-deployment (ACIQ),
    /// NeurIPS 2019, section 4.
    ///
    /// # Differences from the source
    /// The source has it for 4 bits and fewer. Its error is that of clipped ranges with the zero enforced; here ranges are
    /// those of the weights, so that allocated and uniform bits are compared and nothing else.
    pub fn of(weights: &[f32], shape: [usize; 4], bits: u8, rounding: ChannelRounding) -> Result<Self, QuantError> {
        if !(1..=MOST_BITS).contains(&bits) {
            return Err(QuantError::Bits(bits));
        }
        let samples = Samples::new(weights.to_vec(), shape[0])?;
        let deviations: Vec<f64> = samples.iter().map(deviation).collect();
        let allocated = share(&deviations, bits, rounding);
        let error = |bits: &dyn Fn(usize) -> u8| {
            let sum: f64 = samples.iter().enumerate().map(|(channel, values)| grid_error(values, bits(channel))).sum();
            sum / weights.len() as f64
        };
        let (mse, uniform_mse) = (error(&|channel| allocated[channel]), error(&|_| bits));
        Ok(Self { mean: mean(&allocated), bits: allocated, mse, uniform_mse })
    }
}

/// [`ChannelBits`] of every convolution and linear layer of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelBitTable {
    /// The mean that was asked for.
    pub bits: u8,
    /// By layer, in the network's order.
    pub rows: Vec<(String, ChannelBits)>,
}

impl ChannelBitTable {
    /// The table of a network's weights in floating point.
    ///
    /// # Errors
    /// As [`ChannelBits::of`], with the layer's name.
    pub fn of(network: &Network, bits: u8, rounding: ChannelRounding) -> Result<Self, QuantError> {
        let mut rows = Vec::new();
        for node in network.nodes() {
            let Some(weight) = node.layer.weight() else { continue };
            let shape = weight.dims();
            let values: Vec<f32> = weight.inner().into_data().iter::<f32>().collect();
            let row = ChannelBits::of(&values, shape, bits, rounding).map_err(|error| error.at(&node.name))?;
            rows.push((node.name.clone(), row));
        }
        Ok(Self { bits, rows })
    }

    /// One line a layer, the bits of its channels separated by spaces.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("layer,mean_bits,mse,uniform_mse,channel_bits\n");
        for (name, ChannelBits { bits, mean, mse, uniform_mse }) in &self.rows {
            let bits: Vec<String> = bits.iter().map(ToString::to_string).collect();
            writeln!(text, "{name},{mean:.4},{mse:e},{uniform_mse:e},{}", bits.join(" "))
                .expect("writing to a string does not fail");
        }
        text
    }

    /// The table in Markdown, with what it is not good for below.
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "| layer | channels | mean bits | least | most | MSE | MSE at {} bits everywhere | ratio |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n",
            self.bits
        );
        for (name, ChannelBits { bits, mean, mse, uniform_mse }) in &self.rows {
            let (least, most) = (bits.iter().min().unwrap_or(&0), bits.iter().max().unwrap_or(&0));
            let ratio = if *uniform_mse > 0.0 { mse / uniform_mse } else { 1.0 };
            let channels = bits.len();
            writeln!(
                text,
                "| {name} | {channels} | {mean:.3} | {least} | {most} | {mse:.3e} | {uniform_mse:.3e} | {ratio:.3} |"
            )
            .expect("writing to a string does not fail");
        }
        text.push_str(
            "\nBits that differ from channel to channel suit no integer kernel: an analysis of what there is to gain, \
             not comparable to networks with one width a layer.\n",
        );
        text
    }
}

fn share(deviations: &[f64], bits: u8, rounding: ChannelRounding) -> Vec<u8> {
    let powers: Vec<f64> = deviations.iter().map(|deviation| deviation.cbrt().powi(2)).collect();
    let sum: f64 = powers.iter().sum();
    if sum == 0.0 {
        return vec![bits; deviations.len()];
    }
    let wanted = f64::from(bits);
    let mut target = wanted;
    let mut best = (f64::INFINITY, Vec::new());
    for _ in 0..ATTEMPTS {
        let whole = |power: &f64| {
            let exact = (deviations.len() as f64 * target.exp2() * power / sum).log2();
            let whole = match rounding {
                ChannelRounding::Nearest => exact.round(),
                ChannelRounding::Up => exact.ceil(),
            };
            whole.clamp(0.0, f64::from(MOST_BITS)) as u8
        };
        let attempt: Vec<u8> = powers.iter().map(whole).collect();
        let lacking = wanted - mean(&attempt);
        if lacking.abs() < best.0 {
            best = (lacking.abs(), attempt);
        }
        if best.0 < TOLERANCE {
            break;
        }
        target += lacking;
    }
    best.1
}

fn mean(bits: &[u8]) -> f64 {
    bits.iter().map(|&bits| f64::from(bits)).sum::<f64>() / bits.len() as f64
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    (values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// `sum (x - x^)^2` on a grid of `2^bits` levels from the least to the largest value.
fn grid_error(values: &[f32], bits: u8) -> f64 {
    let (min, max) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &value| {
        (min.min(f64::from(value)), max.max(f64::from(value)))
    });
    if bits == 0 {
        return deviation(values).powi(2) * values.len() as f64;
    }
    let step = (max - min) / f64::from((1u16 << bits) - 1);
    if step == 0.0 {
        return 0.0;
    }
    let error = |&value: &f32| {
        let offset = (f64::from(value) - min) / step;
        ((offset - offset.round()) * step).powi(2)
    };
    values.iter().map(error).sum()
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::testing::small;

    /// Gaussian channels of these standard deviations.
    fn channels(deviations: &[f32], count: usize) -> (Vec<f32>, [usize; 4]) {
        let mut random = stream(1, "test");
        let mut draw =
            |deviation: f32| -> f32 { deviation * Distribution::<f32>::sample(&StandardNormal, &mut random) };
        let values = deviations.iter().flat_map(|&deviation| (0..count).map(|_| draw(deviation)).collect::<Vec<_>>());
        (values.collect(), [deviations.len(), count, 1, 1])
    }

    #[test]
    fn bits_are_those_of_the_formula() {
        // Powers 1 and 4: B = 2 * 2^4 * (1, 4) / 5 = 6.4 and 25.6, log2 = 2.68 and 4.68.
        assert_eq!(share(&[1.0, 8.0], 4, ChannelRounding::Nearest), [3, 5]);
        assert_eq!(share(&[1.0, 1.0, 1.0], 3, ChannelRounding::Nearest), [3, 3, 3]);
        // Rounded up they are 3 and 5 at once.
        assert_eq!(share(&[1.0, 8.0], 4, ChannelRounding::Up), [3, 5]);
        assert_eq!(share(&[0.0, 0.0], 4, ChannelRounding::Nearest), [4, 4]);
    }

    #[test]
    fn the_mean_is_kept_where_bits_are_clamped() {
        // A dead channel gets none; the others get its share by moving the target: 4 bits on average of the four.
        let bits = share(&[0.0, 1.0, 1.0, 1.0], 3, ChannelRounding::Nearest);
        assert_eq!(bits, [0, 4, 4, 4]);
        let spread: Vec<f64> = (0..64).map(|channel| 1.1f64.powi(channel)).collect();
        for bits in 2..=6 {
            assert!((mean(&share(&spread, bits, ChannelRounding::Nearest)) - f64::from(bits)).abs() < 0.05, "{bits}");
        }
    }

    #[test]
    fn of_channels_of_different_spread_the_error_falls_and_of_equal_ones_it_stays() {
        let (values, shape) = channels(&[1.0, 8.0, 1.0, 8.0], 4096);
        let found = ChannelBits::of(&values, shape, 4, ChannelRounding::Nearest).unwrap();
        assert_eq!((found.bits.as_slice(), found.mean), ([3, 5, 3, 5].as_slice(), 4.0));
        // With errors proportional to sigma^2 / 4^M the ratio is (4 + 64 / 4) / 65; a step is the range over 2^M - 1, which
        // makes it ((15 / 7)^2 + 64 (15 / 31)^2) / 65 = 0.301, and the ranges of the samples differ a little.
        assert!((found.mse / found.uniform_mse - 0.301).abs() < 0.05, "{found:?}");
        let (values, shape) = channels(&[2.0; 3], 512);
        let found = ChannelBits::of(&values, shape, 4, ChannelRounding::Nearest).unwrap();
        assert_eq!(found.mse, found.uniform_mse);
    }

    #[test]
    fn the_error_of_no_bits_is_the_variance_and_of_a_constant_nothing() {
        assert_eq!(grid_error(&[1.0, 3.0], 0), 2.0);
        assert_eq!(grid_error(&[1.0, 3.0], 1), 0.0);
        assert_eq!(grid_error(&[0.0, 1.0, 3.0], 1), 1.0);
        assert_eq!(grid_error(&[5.0; 4], 3), 0.0);
    }

    #[test]
    fn the_table_has_every_layer_and_says_what_it_is_not_good_for() {
        let table = ChannelBitTable::of(&small(1), 4, ChannelRounding::Nearest).unwrap();
        assert_eq!(table.rows.len(), 6);
        let text = table.to_markdown();
        assert!(text.contains("| layer2.0.conv2 | 16 | ") && text.contains("suit no integer kernel"), "{text}");
        assert_eq!(table.to_csv().lines().count(), 7);
        let broken = ChannelBits::of(&[f32::NAN; 4], [2, 2, 1, 1], 4, ChannelRounding::Nearest);
        assert!(matches!(broken, Err(QuantError::NotFinite { .. })));
        assert!(matches!(ChannelBits::of(&[1.0], [1; 4], 9, ChannelRounding::Nearest), Err(QuantError::Bits(9))));
    }
}
