//! Quantized weights with the mean and the spread of the weights that they stand for.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, Stage};
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::samples::host_values;

/// Table of [`WeightCorrection`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightCorrectionConfig {
    /// Restores the standard deviation of each output channel.
    pub variance: bool,
    /// Restores the mean of each output channel.
    pub mean: bool,
}

impl Default for WeightCorrectionConfig {
    fn default() -> Self {
        Self { variance: true, mean: true }
    }
}

/// The quantized weights of each output channel, moved and stretched to the mean and the standard deviation that the teacher's
/// weights have.
///
/// ```text
/// variance:  xi = std(w) / (std(w^) + 1e-8),   w^ <- xi (w^ - mean w^) + mean w^
/// mean:      w^ <- w^ - (mean w^ - mean w)
/// ```
/// `w`: the teacher's weights of one output channel, `w^`: the student's, quantized, after the steps before this one. A channel
/// of one quantized value has `xi = 1`.
///
/// The outcome is a [`Codebook`]: the levels of each group are the levels that it had before, times a scale, plus an offset.
/// They are no longer integers with an integral zero point, but the codes are the same, and a group still has two constants in
/// 32 bits (integers with a real zero point). Integer arithmetic pays for the offset with one sum of its inputs.
///
/// # Range
/// Both moments are restored to `f32` accuracy.
///
/// # Source
/// Banner et al., Post training 4-bit quantization of convolutional networks for rapid-deployment (ACIQ), NeurIPS 2019,
/// section 5; the constant as in the authors' program.
///
/// # Differences from the source
/// A channel of one quantized value is not stretched.
///
/// # Errors
/// [`QuantError::Config`] for a layer in 16-bit or residual codes; [`QuantError::OtherNetwork`] for a teacher without the
/// layer.
#[derive(Debug, Clone)]
pub struct WeightCorrection {
    config: WeightCorrectionConfig,
}

/// `y = scale x + offset`.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    scale: f64,
    offset: f64,
}

impl Stretch {
    fn of(self, x: f32) -> f32 {
        (self.scale * f64::from(x) + self.offset) as f32
    }
}

impl WeightCorrection {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when neither moment is to be restored.
    pub fn new(config: WeightCorrectionConfig) -> Result<Self, ConfigError> {
        if !config.variance && !config.mean {
            let fix = "nothing would be done: write true for one of them, or leave the step out";
            return Err(ConfigError::invalid("variance, mean", "false", fix));
        }
        Ok(Self { config })
    }

    fn stretch(&self, weights: &[f32], quantized: &[f32]) -> Stretch {
        let ((mean, deviation), (mean_q, deviation_q)) = (moments(weights), moments(quantized));
        let scale = if self.config.variance && deviation_q > 0.0 { deviation / (deviation_q + 1e-8) } else { 1.0 };
        let target = if self.config.mean { mean } else { mean_q };
        Stretch { scale, offset: target - scale * mean_q }
    }

    fn correct(&self, layer: &LayerWeight, weights: &[f32]) -> Result<(Vec<f32>, Codec), QuantError> {
        let quantized = layer.quantized()?;
        if weights.len() != quantized.len() {
            return Err(QuantError::Groups { expected: quantized.len(), found: weights.len() });
        }
        let channels = layer.shape[0].max(1);
        let length = (quantized.len() / channels).max(1);
        let stretches: Vec<Stretch> =
            weights.chunks(length).zip(quantized.chunks(length)).map(|(w, q)| self.stretch(w, q)).collect();
        let codec = stretched(layer, &stretches)?;
        let values =
            quantized.chunks(length).zip(&stretches).flat_map(|(row, stretch)| row.iter().map(|&x| stretch.of(x)));
        Ok((values.collect(), codec))
    }
}

/// Mean and standard deviation.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let first = values.first().copied().map_or(0.0, f64::from);
    let (sum, squares) = values.iter().fold((0.0, 0.0), |(sum, squares), &x| {
        let x = f64::from(x) - first;
        (sum + x, squares + x * x)
    });
    let mean = sum / count;
    (first + mean, (squares / count - mean * mean).max(0.0).sqrt())
}

/// The layer's levels, stretched by output channel.
fn stretched(layer: &LayerWeight, stretches: &[Stretch]) -> Result<Codec, QuantError> {
    let (shared, groups) = (layer.codec.groups() == 1, layer.view[0]);
    if !shared && layer.codec.groups() != groups {
        return Err(QuantError::Groups { expected: groups, found: layer.codec.groups() });
    }
    let table = |group: usize| -> Result<Vec<f32>, ConfigError> {
        let source = if shared { 0 } else { group };
        let single = Some(&layer.codec).filter(|codec| !matches!(codec, Codec::Sum(_)));
        single.and_then(|codec| codec.levels_of(source)).ok_or_else(|| {
            let fix = "levels of integers and codebooks can be moved: leave `format` out there, or the step";
            ConfigError::invalid("format", "a 16-bit or residual format", fix)
        })
    };
    let levels = (0..groups)
        .map(|group| {
            let stretch = stretches[group * stretches.len() / groups];
            Ok(table(group)?.into_iter().map(|level| stretch.of(level)).collect())
        })
        .collect::<Result<Vec<Vec<f32>>, ConfigError>>()?;
    let constants = match &layer.codec {
        Codec::Codebook(book) => book.constants() + 2 * stretches.len(),
        _ => 2 * groups,
    };
    Ok(Codebook::new(levels, layer.codec.bits(), Some(0))?.with_constants(constants).into())
}

impl FittingStep for WeightCorrection {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { teacher, progress, .. } = request;
        let layers = student.weight_tensors()?;
        let (total, mut student) = (layers.len(), student);
        for (index, layer) in layers.into_iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let weight = teacher.find(&layer.name).and_then(|id| teacher.node(id).layer.weight());
            let weight = weight.ok_or_else(|| QuantError::OtherNetwork {
                network: teacher.name().to_owned(),
                missing: vec![layer.name.clone()],
            })?;
            let corrected = self.correct(&layer, &host_values(weight));
            let (values, codec) = corrected.map_err(|error| error.at(&layer.name))?;
            student = student.with_layer_weight(&layer.name, values, codec)?;
            progress.unit(index + 1, total, &[]);
        }
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "weight-correction",
    summary: "mean and standard deviation of each output channel's quantized weights restored",
    source: "Banner et al., Post training 4-bit quantization of convolutional networks for rapid-deployment, NeurIPS 2019",
    defaults: defaults_of::<WeightCorrectionConfig>,
    build: |table| Ok(Box::new(WeightCorrection::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    fn step(variance: bool, mean: bool) -> WeightCorrection {
        WeightCorrection::new(WeightCorrectionConfig { variance, mean }).unwrap()
    }

    fn student(protocol: Protocol, granularity: Granularity, bits: u8) -> QuantizedNetwork {
        let network = small(2);
        let mut config = QuantConfig { protocol, weight_bits: Precision::Int(bits), ..Default::default() };
        config.weight.granularity = Some(granularity);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        QuantizedNetwork::with_weights(network, plan).unwrap()
    }

    fn fit(step: &WeightCorrection, teacher: &QuantizedNetwork, student: QuantizedNetwork) -> QuantizedNetwork {
        let images = images(&teacher.network, 1, 1);
        let request = FitRequest { teacher: &teacher.network, images: &images, seed: 1, progress: &mut Silent };
        step.fit(request, student).unwrap()
    }

    #[test]
    fn moments_are_those_of_the_definition() {
        let (mean, deviation) = moments(&[1.0, 2.0, 4.0, 5.0]);
        assert!((mean - 3.0).abs() < 1e-12 && (deviation - 2.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(moments(&[0.1f32; 7]).1, 0.0);
    }

    #[test]
    fn the_stretch_is_that_of_a_calculation_by_hand() {
        // w: mean 3, deviation 2; w^: mean 1, deviation 1.
        let (weights, quantized) = ([1.0, 5.0], [0.0, 2.0]);
        let both = step(true, true).stretch(&weights, &quantized);
        assert!((both.scale - 2.0).abs() < 1e-7 && (both.offset - 1.0).abs() < 1e-7);
        let variance = step(true, false).stretch(&weights, &quantized);
        assert!((variance.scale - 2.0).abs() < 1e-7 && (variance.offset + 1.0).abs() < 1e-7);
        let mean = step(false, true).stretch(&weights, &quantized);
        assert_eq!((mean.scale, mean.offset), (1.0, 2.0));
        let flat = step(true, true).stretch(&weights, &[0.5, 0.5]);
        assert_eq!((flat.scale, flat.offset), (1.0, 2.5));
    }

    #[test]
    fn moments_are_restored_and_codes_stay() {
        let cases = [
            (Protocol::Gdfq, Granularity::PerChannel),
            (Protocol::Gdfq, Granularity::PerTensor),
            (Protocol::Gdfq, Granularity::PerGroup(18)),
            (Protocol::Brecq, Granularity::PerChannel),
        ];
        for (protocol, granularity) in cases {
            let before = student(protocol, granularity, 3);
            let after = fit(&step(true, true), &before, before.clone());
            let layers = before.weight_tensors().unwrap();
            for (layer, corrected) in layers.iter().zip(after.weight_tensors().unwrap()) {
                let what = format!("{protocol} {granularity} {}", layer.name);
                let quantized = corrected.quantized().unwrap();
                let length = layer.values.len() / layer.shape[0];
                for (row, expected) in quantized.chunks(length).zip(layer.values.chunks(length)) {
                    let ((mean, deviation), (mean_t, deviation_t)) = (moments(row), moments(expected));
                    assert!((mean - mean_t).abs() < 1e-6 * deviation_t, "{what}: {mean} {mean_t}");
                    assert!((deviation / deviation_t - 1.0).abs() < 1e-5, "{what}: {deviation} {deviation_t}");
                }
                assert_eq!(quantized, corrected.values, "{what}: quantizing again changes nothing");
                // As places among the levels, codes are those of before: the order of a group's values is kept, and so is
                // which of them are equal.
                let before = layer.quantized().unwrap();
                for (row, old) in quantized.chunks(length).zip(before.chunks(length)) {
                    for pair in 1..length {
                        assert_eq!(
                            row[pair].partial_cmp(&row[pair - 1]),
                            old[pair].partial_cmp(&old[pair - 1]),
                            "{what}"
                        );
                    }
                }
                let groups = layer.view[0];
                let bits = usize::from(layer.bits) * layer.values.len() + 64 * groups;
                assert_eq!(corrected.codec.storage_bits(layer.values.len()), bits, "{what}");
                assert_eq!(corrected.codec.bits(), layer.bits);
            }
        }
    }

    #[test]
    fn a_second_time_changes_nothing_but_rounding() {
        let before = student(Protocol::Gdfq, Granularity::PerChannel, 3);
        let once = fit(&step(true, true), &before, before.clone());
        let twice = fit(&step(true, true), &before, once.clone());
        for (once, twice) in once.weight_tensors().unwrap().iter().zip(twice.weight_tensors().unwrap()) {
            let largest = once.values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (a, b) in once.values.iter().zip(&twice.values) {
                assert!((a - b).abs() < 1e-5 * largest, "{}: {a} {b}", once.name);
            }
        }
    }

    #[test]
    fn a_table_that_does_nothing_is_refused() {
        let error = WeightCorrection::new(WeightCorrectionConfig { variance: false, mean: false }).unwrap_err();
        assert!(error.to_string().contains("leave the step out"), "{error}");
    }
}
