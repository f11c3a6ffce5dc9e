//! Rounding whose errors cancel within kernels and output channels.

mod flips;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::flips::Row;
use super::{FitRequest, FittingStep, Stage};
use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};

/// Table of [`Squant`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SquantConfig {
    /// Flips within kernels (SQuant-K).
    pub kernel: bool,
    /// Flips within output channels (SQuant-C).
    pub channel: bool,
}

impl Default for SquantConfig {
    fn default() -> Self {
        Self { kernel: true, channel: true }
    }
}

/// Codes that differ from the nearest by at most one, so that the rounding errors of every kernel and of every output channel
/// sum to at most half a step.
///
/// ```text
/// t = w in steps, before rounding;   q = nearest code,  e = q - t
/// K: for each kernel (one output, one input channel)   s = sum e;   flip round(|s|) codes
/// C: for each output channel, over all of its kernels  s = sum e;   flip round(|s|) codes, of each kernel only the one due
/// flip: q -> q + 1 where s < 0, q -> q - 1 where s > 0: of the errors with the sign of s the largest first
/// due: after K, where the flips went past zero (round(|s|) >= |s|) the last code flipped, which may go back,
///      else the one that would have been flipped next
/// ```
/// Kernels of one value (1x1 convolutions, linear layers) skip K, and C takes all of their codes. Without `kernel` C takes all
/// codes of every layer; without both the codes are the nearest. Needs no images, and no gradient.
///
/// # Range
/// Codes stay in their range, so that a sum that only saturated codes could lower stays as it is. After C the sum of a
/// kernel is at most one step.
///
/// # Source
/// Guo et al., SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation, ICLR 2022; which code is due as in
/// the authors' program.
///
/// # Differences from the source
/// A value beyond the range enters the sums with the error of its clamped code, which is the one that the network has, and its
/// code never flips; the source sums its error before clamping. Where scales belong to groups of a row, each group counts as
/// an output channel, and K is skipped where a kernel lies in more than one.
///
/// # Errors
/// [`QuantError::Config`] for a layer whose number format is not uniform integers.
#[derive(Debug, Clone)]
pub struct Squant {
    config: SquantConfig,
}

impl Squant {
    /// The step of a table.
    pub fn new(config: SquantConfig) -> Self {
        Self { config }
    }

    /// The values of the flipped codes.
    fn round(&self, layer: &LayerWeight) -> Result<Vec<f32>, QuantError> {
        let grid = layer.codec.uniform().ok_or_else(|| {
            let fix = "SQuant flips codes of uniform integers: leave `format` out there, or `squant` out of the steps";
            ConfigError::invalid("format", "another number format", fix)
        })?;
        let [channels, _, height, width] = layer.shape;
        let rows = if grid.groups() == 1 { channels } else { layer.view[0] };
        if grid.groups() != 1 && grid.groups() != rows {
            return Err(QuantError::Groups { expected: rows, found: grid.groups() });
        }
        let (length, size) = (layer.values.len() / rows.max(1), height * width);
        let by_kernels = self.config.kernel && size > 1 && length.is_multiple_of(size);
        let mut values = layer.values.clone();
        values.par_chunks_mut(length.max(1)).enumerate().for_each(|(index, values)| {
            let mut row = Row::nearest(grid.map(if grid.groups() == 1 { 0 } else { index }), values);
            let places = by_kernels.then(|| row.flip_kernels(size));
            if self.config.channel {
                match places {
                    Some(places) => row.flip_channel(places.into_iter()),
                    None => row.flip_channel(0..length),
                }
            }
            values.iter_mut().zip(row.values()).for_each(|(to, value)| *to = value);
        });
        Ok(values)
    }
}

impl FittingStep for Squant {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { progress, .. } = request;
        let layers = student.weight_tensors()?;
        let (total, mut student) = (layers.len(), student);
        for (index, layer) in layers.into_iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let nearest = layer.quantized().map_err(|error| error.at(&layer.name))?;
            let values = self.round(&layer).map_err(|error| error.at(&layer.name))?;
            let flipped = values.iter().zip(&nearest).filter(|(value, nearest)| value != nearest).count();
            let share = flipped as f64 / values.len().max(1) as f64;
            student = student.with_layer_weight(&layer.name, values, layer.codec)?;
            progress.unit(index + 1, total, &[("squant/flipped".to_owned(), share)]);
        }
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "squant",
    summary: "codes flipped so that the rounding errors of kernels and output channels cancel; no images, milliseconds",
    source: "Guo et al., SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation, ICLR 2022",
    defaults: defaults_of::<SquantConfig>,
    build: |table| Ok(Box::new(Squant::new(parse(table)?))),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::Network;

    use super::super::Silent;
    use super::*;
    use crate::affine::Arithmetic;
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::interval::Range;
    use crate::plan::{Plan, PluginChoice, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::samples::Samples;
    use crate::testing::{images, small};

    fn student(network: Network, bits: u8, change: impl Fn(&mut QuantConfig)) -> QuantizedNetwork {
        let mut config = QuantConfig { weight_bits: Precision::Int(bits), ..Default::default() };
        change(&mut config);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        QuantizedNetwork::with_weights(network, plan).unwrap()
    }

    fn fit(kernel: bool, channel: bool, student: &QuantizedNetwork) -> QuantizedNetwork {
        let teacher = student.network.clone();
        let images = images(&teacher, 1, 1);
        let request = FitRequest { teacher: &teacher, images: &images, seed: 1, progress: &mut Silent };
        Squant::new(SquantConfig { kernel, channel }).fit(request, student.clone()).unwrap()
    }

    /// The same network with codes that reach more than half a step beyond every weight: where the integral zero point
    /// moves the grid by up to half a step, still nothing is clamped.
    fn with_room(student: QuantizedNetwork) -> QuantizedNetwork {
        let layers = student.weight_tensors().unwrap();
        layers.into_iter().fold(student, |student, layer| {
            let steps = f32::from((1u16 << layer.bits) - 1);
            let room = |values: &[f32]| {
                let range = Range::of(values).unwrap();
                // Half of the step that the wider range has, and a little more.
                let margin = 0.55 * range.width() / (steps - 1.0);
                Range::new(range.min() - margin, range.max() + margin).unwrap()
            };
            let samples = Samples::new(layer.values.clone(), layer.codec.groups()).unwrap();
            let ranges: Vec<Range> = samples.iter().map(room).collect();
            let grid = layer.target.quantizer.grid(&ranges, layer.bits, layer.axis).unwrap();
            student.with_layer_weight(&layer.name, layer.values, grid.into()).unwrap()
        })
    }

    /// Errors of a layer's codes in steps, in `f64`, with whether each code is clamped (by more than `f32` rounds).
    fn errors(before: &LayerWeight, codes: &[i32]) -> Vec<(f64, bool)> {
        let grid = before.codec.uniform().unwrap();
        let run = before.values.len() / grid.groups();
        let error = |(index, (&x, &code)): (usize, (&f32, &i32))| {
            let map = grid.map(index / run);
            let (x, scale, zero) = (f64::from(x), f64::from(map.scale), f64::from(map.zero));
            let t = match map.arithmetic {
                Arithmetic::Multiply => scale * x - zero,
                Arithmetic::Divide => x / scale + zero,
            };
            (f64::from(code) - t, t < f64::from(map.low) - 1e-4 || t > f64::from(map.high) + 1e-4)
        };
        before.values.iter().zip(codes).enumerate().map(error).collect()
    }

    /// The largest sum of errors over stretches of `size` values without clamped codes, and how many of those there are.
    fn worst_of(errors: &[(f64, bool)], size: usize) -> (f64, usize) {
        let whole = errors.chunks(size).filter(|chunk| chunk.iter().all(|(_, clamped)| !clamped));
        let sums = whole.map(|chunk| chunk.iter().map(|(error, _)| error).sum::<f64>().abs());
        sums.fold((0.0f64, 0), |(worst, count), sum| (worst.max(sum), count + 1))
    }

    /// The sum alone.
    fn worst(errors: &[(f64, bool)], size: usize) -> f64 {
        worst_of(errors, size).0
    }

    #[test]
    fn where_nothing_is_clamped_the_errors_of_every_kernel_and_every_channel_cancel() {
        let settings: [fn(&mut QuantConfig); 4] = [
            |_| {},
            |config| config.protocol = Protocol::Brecq,
            |config| config.weight.granularity = Some(Granularity::PerTensor),
            |config| config.weight.quantizer = Some(PluginChoice::named("symmetric")),
        ];
        for (index, change) in settings.into_iter().enumerate() {
            for bits in [2, 4, 8] {
                let before = with_room(student(small(2), bits, change));
                let [kernels, channels, both] = [(true, false), (false, true), (true, true)]
                    .map(|(kernel, channel)| fit(kernel, channel, &before).codes_of_weights().unwrap());
                let (mut all_kernels, mut all_channels) = (0, 0);
                for (at, layer) in before.weight_tensors().unwrap().iter().enumerate() {
                    let what = format!("setting {index}, {bits} bits, {}", layer.name);
                    let (size, row) = (layer.shape[2] * layer.shape[3], layer.values.len() / layer.shape[0]);
                    let [kernels, channels, both] =
                        [&kernels, &channels, &both].map(|codes| errors(layer, &codes[at].1));
                    if size > 1 {
                        for (errors, most) in [(&kernels, 0.501), (&both, 1.001)] {
                            let (sum, count) = worst_of(errors, size);
                            assert_eq!(count, layer.shape[0] * layer.shape[1], "{what}: every kernel is looked at");
                            assert!(sum <= most, "{what}: {sum}");
                        }
                        all_kernels += layer.shape[0] * layer.shape[1];
                    }
                    for errors in [&channels, &both] {
                        let (sum, count) = worst_of(errors, row);
                        assert_eq!(count, layer.shape[0], "{what}: every channel is looked at");
                        assert!(sum <= 0.501, "{what}: {sum}");
                    }
                    all_channels += layer.shape[0];
                    for errors in [&kernels, &channels, &both] {
                        assert!(errors.iter().all(|(error, _)| error.abs() <= 1.0 + 1e-4), "{what}");
                    }
                }
                // conv1, both convolutions of both blocks, and the classifier.
                assert_eq!(all_kernels, 8 * 3 + 2 * 8 * 8 + 16 * 8 + 16 * 16);
                assert_eq!(all_channels, 8 + 2 * 8 + 2 * 16 + 10);
            }
        }
    }

    #[test]
    fn errors_cancel_within_kernels_and_channels() {
        let settings: [fn(&mut QuantConfig); 5] = [
            |_| {},
            |config| config.protocol = Protocol::Brecq,
            |config| config.weight.granularity = Some(Granularity::PerTensor),
            |config| config.weight.quantizer = Some(PluginChoice::named("symmetric")),
            |config| config.weight.range = Some(PluginChoice::named("mse")),
        ];
        for (index, change) in settings.into_iter().enumerate() {
            for bits in [2, 4, 8] {
                let before = student(small(2), bits, change);
                let layers = before.weight_tensors().unwrap();
                let nearest = before.codes_of_weights().unwrap();
                let kernels = fit(true, false, &before).codes_of_weights().unwrap();
                let channels = fit(false, true, &before).codes_of_weights().unwrap();
                let both = fit(true, true, &before).codes_of_weights().unwrap();
                let mut flips = 0;
                for (at, layer) in layers.iter().enumerate() {
                    let what = format!("setting {index}, {bits} bits, {}", layer.name);
                    let size = layer.shape[2] * layer.shape[3];
                    let row = layer.values.len() / layer.shape[0];
                    if size > 1 {
                        assert!(worst(&errors(layer, &kernels[at].1), size) <= 0.501, "{what}");
                        assert!(worst(&errors(layer, &both[at].1), size) <= 1.001, "{what}");
                    } else {
                        assert_eq!(kernels[at], nearest[at], "{what}");
                    }
                    assert!(worst(&errors(layer, &channels[at].1), row) <= 0.501, "{what}");
                    let (sum, count) = worst_of(&errors(layer, &both[at].1), row);
                    assert!(sum <= 0.501, "{what}");
                    let clamps_nothing = index == 3;
                    assert!(!clamps_nothing || count == layer.shape[0], "{what}: {count} channels are looked at");
                    let map = layer.codec.uniform().unwrap().map(0);
                    for (code, nearest) in both[at].1.iter().zip(&nearest[at].1) {
                        assert!((code - nearest).abs() <= 1, "{what}");
                        assert!((map.low..=map.high).contains(&(*code as f32)), "{what}");
                        flips += usize::from(code != nearest);
                    }
                }
                assert!(flips > 0);
                assert_eq!(fit(false, false, &before).codes_of_weights().unwrap(), nearest);
            }
        }
    }

    #[test]
    fn groups_of_a_row_are_channels() {
        for (size, whole_kernels) in [(18, true), (4, false)] {
            let grouped = |config: &mut QuantConfig| config.weight.granularity = Some(Granularity::PerGroup(size));
            let before = student(small(2), 4, grouped);
            let after = fit(true, true, &before).codes_of_weights().unwrap();
            for (layer, (_, codes)) in before.weight_tensors().unwrap().iter().zip(&after) {
                let errors = errors(layer, codes);
                assert!(worst(&errors, layer.view[1]) <= 0.501, "{}", layer.name);
                if whole_kernels && layer.shape[2] > 1 && layer.view[1].is_multiple_of(9) {
                    assert!(worst(&errors, 9) <= 1.001, "{}", layer.name);
                }
            }
        }
    }

    #[test]
    fn the_codes_are_kept_by_what_comes_after() {
        let before = student(small(3), 4, |_| {});
        let after = fit(true, true, &before);
        for layer in after.weight_tensors().unwrap() {
            assert_eq!(layer.quantized().unwrap(), layer.values, "{}", layer.name);
        }
        assert_eq!(after.weights.len(), after.plan.weights().count(), "every codec is frozen");
    }
}
