//! Learned thresholds between uniform levels.

mod weights;

use std::ops::RangeInclusive;

use blindfold_zoo::ops::substitute;
use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::weights::SpannedWeights;
use super::size::{LEAST, size, size_of};
use super::{GroupStatistics, LearnedQuantizer, LearnedSite, not_negative, positive, unsigned, values_of};
use crate::audit::Role;
use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::{Samples, host_values};

/// Table of [`N2uq`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct N2uqConfig {
    /// `R`: the span of the levels of activations, and of the segments at the start.
    pub range: f64,
    /// The length that a shorter segment is taken to have.
    pub least_segment: f64,
    /// `C` at the start: the span of the levels of weights, in their scale; 0: that of least squared error.
    pub weight_clip: f64,
}

impl Default for N2uqConfig {
    fn default() -> Self {
        Self { range: 2.0, least_segment: 1e-3, weight_clip: 0.0 }
    }
}

/// Nonuniform-to-uniform quantization: thresholds anywhere, levels equidistant.
///
/// ```text
/// activations:  z = p * x,   T_i = t + a_1 + .. + a_(i-1),   delta = R / n,   n = 2^b - 1,   i = 1 .. n
///   x^ = q * delta * #{ i : z > T_i + a_i / 2 }
///   gradients: those of q * y(z),   y = (i - 1) delta + (z - T_i) delta / a_i   in segment i, from T_i to T_i + a_i,
///              constant below the first and above the last segment; that of q itself sees the levels
///   start: a_i = delta,   t = 0,   p = R / max x,   q = max x / R
/// weights:      s = mean |w| * n / 2^(b-1),   v = clip(w / s, -C/2, C/2),   w^ = s * (round((v + C/2) n / C) C / n - C/2)
///   dw^/dw = 1 where |w / s| <= C/2, else 0;   dw^/dC = (w^ - w) / C there, else w^ / C;   s is a constant to both
///   start: C of least squared error, of 80 from the span of all weights down
/// ```
///
/// # Shapes
/// Activations: `input-scale` (`p`), `start` (`t`), `output-scale` (`q`): one value a group; `segments` (`a`): `n` a
/// group, group after group. Weights: `clip` (`C`): one value a group.
///
/// # Range
/// `[0, q R]`; weights `[-s C/2, s C/2]`. `p`, `q` and `C` count by their magnitudes, at least `1e-8`.
///
/// # Source
/// Liu et al., Nonuniform-to-Uniform Quantization: Towards Accurate Quantization via Generalized Straight-Through
/// Estimation, CVPR 2022, section 3.
///
/// # Differences from the source
/// `p` and `q` start from the calibration instead of from 1, and `C` where the weights err least instead of at 2, so that a
/// trained network starts where it is: 2 clips normally distributed weights at 1.5 deviations with 4 bits, which the source
/// makes up for with batch norms that are trained on the batch. `C` is one value a group, in the authors' code one a layer.
/// The authors train with Adam, `p`, `t`, `a` and `q` at a tenth of the weights' rate; the gradients of these are sums over all
/// values of a batch, too large for the rate of plain gradient descent that fits weights.
#[derive(Debug, Clone)]
pub struct N2uq {
    config: N2uqConfig,
}

impl N2uq {
    /// The quantizer of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for numbers that are not positive, and for a negative `weight_clip`.
    pub fn new(config: N2uqConfig) -> Result<Self, ConfigError> {
        positive("range", config.range)?;
        positive("least_segment", config.least_segment)?;
        not_negative("weight_clip", config.weight_clip)?;
        Ok(Self { config })
    }

    /// The distance of neighbouring levels before the output's scale.
    fn interval(&self, site: &LearnedSite) -> f64 {
        self.config.range / f64::from(site.steps())
    }

    /// The ends of the segments of each group, the start first: `n + 1` of them, in the units of `z`.
    fn ends(&self, start: &[f32], segments: &[f32], site: &LearnedSite) -> Vec<Vec<f64>> {
        let least = self.config.least_segment as f32;
        let ends = |(&start, segments): (&f32, &[f32])| {
            let mut end = f64::from(start);
            let lengths = segments.iter().map(|&segment| if segment < least { least } else { segment });
            let rest = lengths.map(|length| {
                end += f64::from(length);
                end
            });
            std::iter::once(f64::from(start)).chain(rest).collect()
        };
        start.iter().zip(segments.chunks(site.steps() as usize)).map(ends).collect()
    }

    /// `y(z)` with its gradients for `z`, the start and the segments: two numbers for each segment, looked up for each
    /// value.
    fn segmented(&self, z: Tensor<4>, start: &Tensor<1>, segments: &Tensor<1>, site: &LearnedSite) -> Tensor<4> {
        let (groups, steps, delta) = (site.groups, site.steps() as usize, self.interval(site));
        let device = z.device();
        let constant = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), &device.clone().inner()).autodiff()
        };
        let lengths = segments.clone().autodiff().reshape([groups, steps]).clamp_min(self.config.least_segment as f32);
        let earlier = (0..steps * steps).map(|place| f32::from(u8::from(place / steps < place % steps))).collect();
        let begins =
            lengths.clone().matmul(constant(earlier, [steps, steps])) + start.clone().autodiff().reshape([groups, 1]);
        let slopes = lengths.recip().mul_scalar(delta);
        let below = (0..steps).map(|code| (code as f64 * delta) as f32).collect();
        let shifts = constant(below, [1, steps]) - begins * slopes.clone();
        let table = |inner: Tensor<2>, above: f32| {
            let (first, last) = (vec![0.0; groups], vec![above; groups]);
            let parts = vec![constant(first, [groups, 1]), inner, constant(last, [groups, 1])];
            Tensor::cat(parts, 1).reshape([groups * (steps + 2)])
        };
        let host = |tensor: &Tensor<1>| -> Vec<f32> { tensor.clone().inner().into_data().iter::<f32>().collect() };
        let ends = self.ends(&host(start), &host(segments), site);
        let dims = z.dims();
        let places = places(&host_values(z.clone()), dims, &ends, site);
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        let look_up = |table: Tensor<1>| table.select(0, places.clone()).reshape(dims);
        let (slopes, shifts) = (table(slopes, 0.0), table(shifts, self.config.range as f32));
        look_up(slopes) * z + look_up(shifts)
    }
}

/// For each value the place of its segment among those of all groups, each with one before its first and one after its
/// last segment.
fn places(values: &[f32], shape: [usize; 4], ends: &[Vec<f64>], site: &LearnedSite) -> Vec<i32> {
    let run = site.axis.map_or(values.len(), |axis| shape[axis + 1..].iter().product()).max(1);
    let length = site.steps() as usize + 2;
    let place = |(index, &value): (usize, &f32)| {
        let group = index / run % ends.len();
        (group * length + ends[group].partition_point(|&end| end < f64::from(value))) as i32
    };
    values.par_iter().with_min_len(1 << 12).enumerate().map(place).collect()
}

impl LearnedQuantizer for N2uq {
    fn widths(&self, _role: Role) -> Option<RangeInclusive<u8>> {
        Some(MIN_BITS..=MAX_BITS)
    }

    fn layout(&self, site: &LearnedSite) -> Vec<(&'static str, usize)> {
        match site.role {
            Role::Weight => vec![("clip", site.groups)],
            Role::Activation => vec![
                ("input-scale", site.groups),
                ("start", site.groups),
                ("segments", site.groups * site.steps() as usize),
                ("output-scale", site.groups),
            ],
        }
    }

    fn start(
        &self,
        statistics: &[GroupStatistics],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Vec<Vec<f32>>, QuantError> {
        if site.role == Role::Weight {
            return Ok(vec![match self.config.weight_clip > 0.0 {
                true => vec![self.config.weight_clip as f32; site.groups],
                false => SpannedWeights::new(values_of(weights)?, site).spans(),
            }]);
        }
        unsigned(site, "n2uq")?;
        let range = self.config.range as f32;
        let largest = || statistics.iter().map(|group| group.max.max(LEAST));
        let segments = vec![self.interval(site) as f32; site.groups * site.steps() as usize];
        let input: Vec<f32> = largest().map(|max| range / max).collect();
        let output: Vec<f32> = largest().map(|max| max / range).collect();
        Ok(vec![input, vec![0.0; site.groups], segments, output])
    }

    fn codec(
        &self,
        parameters: &[Vec<f32>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Codec, QuantError> {
        if site.role == Role::Weight {
            return SpannedWeights::new(values_of(weights)?, site).codec(&parameters[0]);
        }
        let (steps, delta) = (site.steps() as usize, self.interval(site));
        let middles = |(ends, &input): (Vec<f64>, &f32)| -> Vec<f32> {
            let input = f64::from(size(input));
            ends.windows(2).map(|pair| ((pair[0] + pair[1]) / 2.0 / input) as f32).collect()
        };
        let ends = self.ends(&parameters[1], &parameters[2], site);
        let thresholds = ends.into_iter().zip(&parameters[0]).map(middles).collect();
        let levels = |&output: &f32| -> Vec<f32> {
            (0..=steps).map(|code| (f64::from(size(output)) * delta * code as f64) as f32).collect()
        };
        let book = Codebook::new(parameters[3].iter().map(levels).collect(), site.bits, site.axis)?;
        Ok(book.with_thresholds(thresholds)?.with_constants(site.groups * (steps + 1)).into())
    }

    fn carrier(
        &self,
        x: Tensor<4>,
        value: &Tensor<4>,
        parameters: &[Tensor<1>],
        weights: Option<&Samples>,
        site: &LearnedSite,
    ) -> Result<Tensor<4>, QuantError> {
        if site.role == Role::Weight {
            return Ok(SpannedWeights::new(values_of(weights)?, site).carrier(x, value, &parameters[0]));
        }
        let [input, output] = [0, 3].map(|place| size_of(site.spread(&parameters[place])));
        let steps = value.clone() / output.clone().inner();
        let y = self.segmented(x * input.autodiff(), &parameters[1], &parameters[2], site);
        Ok(substitute(y, steps) * output.autodiff())
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "n2uq",
    summary: "activations with learned thresholds between uniform levels; weights scaled by their mean magnitude",
    source: "Liu et al., Nonuniform-to-Uniform Quantization, CVPR 2022",
    defaults: defaults_of::<N2uqConfig>,
    build: |table| Ok(Box::new(N2uq::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_as_uniform_rounding_up_to_the_largest_value() {
        let n2uq = N2uq::new(N2uqConfig::default()).unwrap();
        let statistics = GroupStatistics::of(&Samples::new(vec![0.0, 1.0, 6.0], 1).unwrap());
        let site = LearnedSite { role: Role::Activation, bits: 2, axis: None, groups: 1, signed: false };
        let start = n2uq.start(&statistics, None, &site).unwrap();
        assert_eq!((start[0][0], start[1][0], start[3][0]), (1.0 / 3.0, 0.0, 3.0));
        assert!(start[2].iter().all(|segment| (segment - 2.0 / 3.0).abs() < 1e-6) && start[2].len() == 3);
        let codec = n2uq.codec(&start, None, &site).unwrap();
        let values = codec.fake_quantize_values(&[-1.0, 0.9, 1.1, 2.9, 3.1, 4.9, 5.1, 9.0], [1, 8, 1, 1]).unwrap();
        for (found, expected) in values.iter().zip([0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 6.0, 6.0]) {
            assert!((found - expected).abs() < 1e-5, "{values:?}");
        }
    }

    #[test]
    fn the_span_of_weights_starts_at_its_key_or_where_they_err_least() {
        let weights = Samples::new(vec![1.0, -3.0, 0.5, 0.1], 2).unwrap();
        let statistics = GroupStatistics::of(&weights);
        let site = LearnedSite { role: Role::Weight, bits: 2, axis: Some(0), groups: 2, signed: true };
        let start = |weight_clip: f64| {
            let n2uq = N2uq::new(N2uqConfig { weight_clip, ..N2uqConfig::default() }).unwrap();
            n2uq.start(&statistics, Some(&weights), &site).unwrap()
        };
        assert_eq!(start(2.0), [vec![2.0f32; 2]]);
        assert_eq!(start(0.0), [SpannedWeights::new(&weights, &site).spans()]);
        assert!(N2uq::new(N2uqConfig { weight_clip: -1.0, ..N2uqConfig::default() }).is_err());
    }
}
