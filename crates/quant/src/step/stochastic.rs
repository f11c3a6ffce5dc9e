//! Rounding up or down by chance, so that its error has mean zero.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, Stage};
use crate::affine::{Affine, Arithmetic};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};

/// Table of [`StochasticRounding`]: it has no keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StochasticRoundingConfig {}

/// Each weight takes the level below or above it, with the probabilities that leave its mean where it is.
///
/// ```text
/// a <= w <= b, neighbouring levels:   P(w^ = b) = (w - a) / (b - a),   E[w^] = w,   Var[w^] = (w - a) (b - w)
/// ```
/// A weight beyond the outermost level takes it. Works on uniform integers and on codebooks. Each layer has a random stream of
/// its own, `stochastic rounding <layer>` of the run's seed.
///
/// # Range
/// Each weight moves by less than the distance of its neighbouring levels; the mean squared error is twice that of nearest
/// rounding (`1/6` of a squared step against `1/12`, for values that lie evenly within steps).
///
/// # Source
/// Gupta et al., Deep Learning with Limited Numerical Precision, ICML 2015, section 3. As rounding after training: Nagel et
/// al., Up or Down? (AdaRound), ICML 2020, table 1, where some of many draws are better than nearest rounding.
///
/// # Differences from the source
/// Levels need not be evenly spaced.
///
/// # Errors
/// [`QuantError::Config`] for a layer in floating-point codes or with residual terms.
#[derive(Debug, Clone, Copy)]
pub struct StochasticRounding;

impl StochasticRounding {
    /// The step of a table.
    pub fn new(_config: &StochasticRoundingConfig) -> Self {
        Self
    }
}

/// The values drawn for those of a layer.
fn draw(layer: &LayerWeight, random: &mut Stream) -> Result<Vec<f32>, QuantError> {
    let run = layer.values.len() / layer.codec.groups().max(1);
    let runs = layer.values.chunks(run.max(1)).enumerate();
    let mut drawn = Vec::with_capacity(layer.values.len());
    match &layer.codec {
        Codec::Uniform(grid) => {
            for (group, values) in runs {
                let map = grid.map(group);
                drawn.extend(values.iter().map(|&x| map.value(code(&map, x, random.random()))));
            }
        }
        Codec::Codebook(book) => {
            for (group, values) in runs {
                let table = book.table(group);
                drawn.extend(values.iter().map(|&x| level(table, x, random.random())));
            }
        }
        Codec::Half(_) | Codec::Sum(_) => {
            let fix = "chance chooses between levels of integers and codebooks: leave `format` out there, or the step";
            return Err(ConfigError::invalid("format", "a 16-bit or residual format", fix).into());
        }
    }
    Ok(drawn)
}

/// The code of `x` for a number `chance` from `[0, 1)`.
fn code(map: &Affine, x: f32, chance: f64) -> f32 {
    let (x, scale, zero) = (f64::from(x), f64::from(map.scale), f64::from(map.zero));
    let place = match map.arithmetic {
        Arithmetic::Multiply => scale * x - zero,
        Arithmetic::Divide => x / scale + zero,
    };
    ((place + chance).floor() as f32).clamp(map.low, map.high)
}

/// The level of `x` for a number `chance` from `[0, 1)`.
fn level(table: &[f32], x: f32, chance: f64) -> f32 {
    let above = table.partition_point(|&level| level <= x);
    if above == 0 || above == table.len() {
        return table[above.min(table.len() - 1)];
    }
    let (low, high) = (table[above - 1], table[above]);
    let share = (f64::from(x) - f64::from(low)) / (f64::from(high) - f64::from(low));
    if chance < share { high } else { low }
}

impl FittingStep for StochasticRounding {
    fn stage(&self) -> Stage {
        Stage::Weights
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { seed, progress, .. } = request;
        let layers = student.weight_tensors()?;
        let (total, mut student) = (layers.len(), student);
        for (index, layer) in layers.into_iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            let mut random = stream(seed, &format!("stochastic rounding {}", layer.name));
            let values = draw(&layer, &mut random).map_err(|error| error.at(&layer.name))?;
            let mean = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>() / values.len().max(1) as f64;
            let shift = mean(&values) - mean(&layer.values);
            student = student.with_layer_weight(&layer.name, values, layer.codec)?;
            progress.unit(index + 1, total, &[("stochastic-rounding/mean_shift".to_owned(), shift)]);
        }
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "stochastic-rounding",
    summary: "weights rounded up or down by chance, with mean error zero",
    source: "Gupta et al., Deep Learning with Limited Numerical Precision, ICML 2015",
    defaults: defaults_of::<StochasticRoundingConfig>,
    build: |table| Ok(Box::new(StochasticRounding::new(&parse(table)?))),
};

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    fn student(protocol: Protocol) -> QuantizedNetwork {
        let network = small(2);
        let config = QuantConfig { protocol, weight_bits: Precision::Int(3), ..Default::default() };
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        QuantizedNetwork::with_weights(network, plan).unwrap()
    }

    fn fit(seed: u64, student: &QuantizedNetwork) -> QuantizedNetwork {
        let teacher = student.network.clone();
        let images = images(&teacher, 1, 1);
        let request = FitRequest { teacher: &teacher, images: &images, seed, progress: &mut Silent };
        StochasticRounding.fit(request, student.clone()).unwrap()
    }

    #[test]
    fn chances_are_those_of_the_formula() {
        let signed = Affine { arithmetic: Arithmetic::Multiply, scale: 4.0, zero: -2.0, low: -8.0, high: 7.0 };
        assert_eq!([0.0, 0.74, 0.76].map(|chance| code(&signed, 0.0625, chance)), [2.0, 2.0, 3.0]);
        assert_eq!([0.0, 0.999].map(|chance| code(&signed, 0.5, chance)), [4.0, 4.0]);
        assert_eq!([0.0, 0.999].map(|chance| code(&signed, 9.0, chance)), [7.0, 7.0]);
        let unsigned = Affine { arithmetic: Arithmetic::Divide, scale: 0.5, zero: 3.0, low: 0.0, high: 15.0 };
        assert_eq!([0.0, 0.49, 0.51].map(|chance| code(&unsigned, -0.25, chance)), [2.0, 2.0, 3.0]);
        let table = [-1.0, 0.0, 4.0];
        assert_eq!([0.0, 0.24, 0.26].map(|chance| level(&table, 1.0, chance)), [4.0, 4.0, 0.0]);
        assert_eq!([-2.0, -1.0, 0.0, 4.0, 5.0].map(|x| level(&table, x, 0.5)), [-1.0, -1.0, 0.0, 4.0, 4.0]);
    }

    #[test]
    fn the_mean_error_is_zero_within_its_standard_error() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let before = student(protocol);
            let layers = before.weight_tensors().unwrap();
            let (mut error, mut variance, mut square) = (0.0f64, 0.0f64, 0.0f64);
            for seed in 0..40 {
                for (layer, drawn) in layers.iter().zip(fit(seed, &before).weight_tensors().unwrap()) {
                    let grid = layer.codec.uniform().unwrap();
                    let run = layer.values.len() / grid.groups();
                    for (index, (&x, &y)) in layer.values.iter().zip(&drawn.values).enumerate() {
                        let map = grid.map(index / run);
                        let (low, high) = map.representable();
                        if !(low..=high).contains(&x) {
                            assert!(y == low || y == high);
                            continue;
                        }
                        let (x, y, step) = (f64::from(x), f64::from(y), f64::from(map.step()));
                        let share = ((x - f64::from(low)) / step).fract();
                        assert!((y - x).abs() < step * 1.0001);
                        error += (y - x) / step;
                        square += ((y - x) / step).powi(2);
                        variance += share * (1.0 - share);
                    }
                }
            }
            assert!(error.abs() < 4.0 * variance.sqrt(), "{protocol}: {error} with deviation {}", variance.sqrt());
            assert!((square / variance - 1.0).abs() < 0.03, "{protocol}: {square} {variance}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_codes_and_another_one_others() {
        let before = student(Protocol::Gdfq);
        let codes = |seed: u64| fit(seed, &before).codes_of_weights().unwrap();
        assert_eq!(codes(1), codes(1));
        assert_ne!(codes(1), codes(2));
    }
}
