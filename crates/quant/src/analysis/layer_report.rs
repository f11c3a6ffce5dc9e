//! What passes at each layer, against what passes in the teacher.

use std::collections::BTreeMap;

use blindfold_zoo::{FeatureTap, Layer, Site, Tap, Taps};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::comparison::Comparison;
use super::modes::{Selection, SelectiveTap};
use super::signal::{SignalError, SignalSums};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::network::LayerWeight;
use crate::plan::Target;
use crate::precision::Precision;
use crate::samples::{Samples, host_values};

/// `1 / sqrt(12)`: the root mean squared error, in steps, of rounding values that are spread evenly over a step.
///
/// # Source
/// The second moment of the uniform distribution on `[-1/2, 1/2]`; Bennett, Spectra of Quantized Signals, BSTJ 1948.
pub const UNIFORM_RMSE_PER_STEP: f64 = 0.288_675_134_594_812_9;

/// The errors of one layer: a node with a weight, or one whose output is an activation site of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// The node's name.
    pub layer: String,
    /// The layer's kind.
    pub kind: &'static str,
    /// Format of the weight; none where there is none.
    pub weight_bits: Option<Precision>,
    /// Format of the output; none where it is no activation site.
    pub activation_bits: Option<Precision>,
    /// The quantized weight against the teacher's; none where it is in floating point.
    pub weight: Option<WeightReport>,
    /// The output against the teacher's.
    pub output: OutputReport,
}

/// A quantized weight against the teacher's weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightReport {
    /// Its distance.
    pub error: SignalError,
    /// Root mean squared error, each value's in steps of its own group; none for codes that are not evenly spaced.
    /// Beside [`UNIFORM_RMSE_PER_STEP`]: more means clipping, or a rounding that is not to the nearest value; less,
    /// values that crowd around single codes.
    pub rmse_per_step: Option<f64>,
    /// Share of the teacher's values that are clipped: beyond the outermost codes of their group.
    pub clipped: f64,
}

/// A layer's output against the teacher's, after its own quantization and that of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OutputReport {
    /// With only weights quantized.
    pub weights_only: SignalError,
    /// With only activations quantized.
    pub activations_only: SignalError,
    /// With both.
    pub both: SignalError,
}

impl Comparison<'_> {
    /// The errors of every layer, in the network's order. Four runs on all images: the teacher's, weights only,
    /// activations only, both.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for outputs that are NaN or infinite; those of dynamic ranges.
    pub fn layers(&self) -> Result<Vec<LayerReport>, QuantError> {
        let plan = &self.student.plan;
        let measured: Vec<String> = self
            .quantized
            .nodes()
            .iter()
            .filter(|node| node.layer.has_weight() || plan.activation(&node.name).is_some())
            .map(|node| node.name.clone())
            .collect();
        let [weights_only, activations_only, both] = self.outputs(&measured)?;
        let weights = self.weights()?;
        let reports = measured.iter().filter_map(|name| {
            let node = self.quantized.node(self.quantized.find(name)?);
            let error = |sums: &BTreeMap<String, SignalSums>| sums.get(name).copied().unwrap_or_default().error();
            let precision = |target: Option<&Target>| target.map(|target| target.precision);
            Some(LayerReport {
                layer: name.clone(),
                kind: node.layer.kind(),
                weight_bits: precision(plan.weight(name)).or(node.layer.has_weight().then_some(Precision::Float)),
                activation_bits: precision(plan.activation(name)),
                weight: weights.get(name).copied(),
                output: OutputReport {
                    weights_only: error(&weights_only),
                    activations_only: error(&activations_only),
                    both: error(&both),
                },
            })
        });
        Ok(reports.collect())
    }

    /// The distances of the named outputs with only weights, only activations and both quantized.
    fn outputs(&self, names: &[String]) -> Result<[BTreeMap<String, SignalSums>; 3], QuantError> {
        let modes = [Selection::WEIGHTS, Selection::ACTIVATIONS, Selection::BOTH];
        let networks = modes.map(|mode| self.network(mode));
        let mut sums: [BTreeMap<String, SignalSums>; 3] = Default::default();
        for images in self.batches() {
            let mut features = FeatureTap::new(names.iter().cloned());
            self.teacher.run(images.clone(), &mut features);
            let references: BTreeMap<String, Vec<f32>> =
                features.features.into_iter().map(|(name, output)| (name, host_values(output))).collect();
            for ((mode, network), sums) in modes.into_iter().zip(&networks).zip(&mut sums) {
                let mut tap = SelectiveTap::new(self.student, mode);
                let mut meter = SignalMeter { references: &references, sums, fault: None };
                network.run(images.clone(), &mut Taps(vec![&mut tap, &mut meter]));
                tap.finish()?;
                meter.fault.map_or(Ok(()), Err)?;
            }
        }
        Ok(sums)
    }

    fn weights(&self) -> Result<BTreeMap<String, WeightReport>, QuantError> {
        let mut reports = BTreeMap::new();
        for weight in self.student.weight_tensors()? {
            let Some(values) = self.teacher_weight(&weight.name) else { continue };
            let report = WeightReport::of(&values, &weight, &self.teacher.device());
            let report = report.map_err(|error| error.at(&weight.name))?;
            reports.insert(weight.name, report);
        }
        Ok(reports)
    }

    /// The teacher's weight of that layer, row-major.
    pub(super) fn teacher_weight(&self, name: &str) -> Option<Vec<f32>> {
        let layer: &Layer = &self.teacher.node(self.teacher.find(name)?).layer;
        layer.weight().map(host_values)
    }
}

impl WeightReport {
    fn of(values: &[f32], weight: &LayerWeight, device: &Device) -> Result<Self, QuantError> {
        let quantized = weight.quantized()?;
        let mut sums = SignalSums::default();
        sums.add(values, &quantized);
        let view = Tensor::<4>::from_data(TensorData::new(values.to_vec(), weight.view), device);
        Ok(Self {
            error: sums.error(),
            rmse_per_step: rmse_per_step(values, &quantized, weight.view, &weight.codec),
            clipped: count_clipped(view, &weight.codec) as f64 / values.len().max(1) as f64,
        })
    }
}

/// How many values lie beyond the outermost codes of their group.
pub(super) fn count_clipped(values: Tensor<4>, codec: &Codec) -> usize {
    host_values(codec.inside(values)).iter().filter(|inside| **inside == 0.0).count()
}

/// `sqrt(mean ((x - x^) / step)^2)` with the step of each value's group.
fn rmse_per_step(values: &[f32], quantized: &[f32], view: [usize; 4], codec: &Codec) -> Option<f64> {
    let grid = codec.uniform()?;
    let run: usize = grid.axis().map_or(values.len(), |axis| view[axis + 1..].iter().product()).max(1);
    let steps: Vec<f64> = (0..grid.groups()).map(|group| f64::from(grid.map(group).step())).collect();
    let squares = values.iter().zip(quantized).enumerate().map(|(index, (&x, &y))| {
        let step = steps[index / run % steps.len()];
        ((f64::from(x) - f64::from(y)) / step).powi(2)
    });
    Some((squares.sum::<f64>() / values.len().max(1) as f64).sqrt())
}

/// Compares what passes with what passed in the teacher, so that outputs need not be kept.
struct SignalMeter<'a> {
    references: &'a BTreeMap<String, Vec<f32>>,
    sums: &'a mut BTreeMap<String, SignalSums>,
    fault: Option<QuantError>,
}

impl Tap for SignalMeter<'_> {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        let name = &site.node.name;
        if let Some(reference) = self.references.get(name) {
            match Samples::of(output.clone(), None) {
                Ok(found) => self.sums.entry(name.clone()).or_default().add(reference, found.values()),
                Err(error) => {
                    self.fault.get_or_insert(error.at(name));
                }
            }
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Network, stream};
    use rand_distr::{Distribution, Uniform};

    use super::*;
    use crate::affine::{Affine, Arithmetic};
    use crate::families::Families;
    use crate::grid::Grid;
    use crate::network::QuantizedNetwork;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::testing::{images, plain, small};

    fn student(network: &Network, protocol: Protocol, weights: Precision, activations: Precision) -> QuantizedNetwork {
        let config = QuantConfig { protocol, weight_bits: weights, activation_bits: activations, ..Default::default() };
        let plan = Plan::new(&config, network, &Families::builtin()).unwrap();
        let batch = images(network, 8, 2);
        QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap()
    }

    fn even(step: f32) -> Affine {
        Affine { arithmetic: Arithmetic::Divide, scale: step, zero: 0.0, low: -8.0, high: 7.0 }
    }

    #[test]
    fn rounding_of_evenly_spread_values_errs_by_one_over_root_twelve_of_a_step() {
        assert!((UNIFORM_RMSE_PER_STEP - 1.0 / 12f64.sqrt()).abs() < 1e-15);
        let mut random = stream(1, "test");
        // Two groups whose steps differ a hundredfold, each spread over its own codes.
        let maps = [even(0.01), even(1.0)];
        let values: Vec<f32> = maps
            .iter()
            .flat_map(|map| {
                let (low, high) = map.representable();
                let spread = Uniform::new(low - map.step() / 2.0, high + map.step() / 2.0).unwrap();
                (0..20_000).map(|_| spread.sample(&mut random)).collect::<Vec<f32>>()
            })
            .collect();
        let (view, codec) = ([2, 20_000, 1, 1], Codec::from(Grid::new(&maps, 4, Some(0)).unwrap()));
        let quantized = codec.fake_quantize_values(&values, view).unwrap();
        let found = rmse_per_step(&values, &quantized, view, &codec).unwrap();
        assert!((found / UNIFORM_RMSE_PER_STEP - 1.0).abs() < 0.02, "{found}");
    }

    #[test]
    fn clipping_is_counted_and_drives_the_error_above_that_of_rounding() {
        let codec = Codec::from(Grid::new(&[even(1.0)], 4, None).unwrap());
        let values = [-8.4, -8.6, 0.0, 7.4, 7.6, 11.0, 1.0, 2.0];
        let view = [1, 8, 1, 1];
        let tensor = Tensor::<4>::from_data(TensorData::new(values.to_vec(), view), &Device::flex());
        assert_eq!(count_clipped(tensor, &codec), 3);
        let quantized = codec.fake_quantize_values(&values, view).unwrap();
        let expected = ((0.16f64 + 0.36 + 0.16 + 0.36 + 16.0) / 8.0).sqrt();
        assert!((rmse_per_step(&values, &quantized, view, &codec).unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn the_last_layers_error_is_that_of_the_logits_and_every_layer_is_there() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let network = small(3);
            let student = student(&network, protocol, Precision::Int(4), Precision::Int(4));
            let teacher = student.plan.prepare(network).unwrap();
            let comparison = Comparison::new(&student, &teacher, images(&teacher, 6, 5), 4).unwrap();
            let layers = comparison.layers().unwrap();
            let last = layers.last().unwrap();
            assert_eq!((last.layer.as_str(), last.activation_bits), ("linear", None));
            for (selection, found) in [
                (Selection::WEIGHTS, last.output.weights_only),
                (Selection::ACTIVATIONS, last.output.activations_only),
                (Selection::BOTH, last.output.both),
            ] {
                let expected = comparison.error(selection).unwrap().mse;
                assert!((found.mse - expected).abs() < 1e-9 * expected, "{} {expected}", found.mse);
            }
            assert_eq!(layers.iter().filter(|layer| layer.weight.is_some()).count(), 6);
            let sites = layers.iter().filter(|layer| layer.activation_bits.is_some()).count();
            assert_eq!(sites, student.plan.activations().count());
            let first = &layers[0];
            assert_eq!(first.layer, "conv1");
            assert_eq!(first.output.activations_only.mse, 0.0, "no activation is quantized before the first layer");
            assert_eq!(first.output.weights_only.mse, first.output.both.mse);
            assert!(first.output.both.cosine.unwrap() > 0.9 && first.output.both.sqnr_db.unwrap() > 5.0);
        }
    }

    #[test]
    fn what_is_in_floating_point_has_no_error_of_its_own() {
        let network = plain(1);
        let student = student(&network, Protocol::Gdfq, Precision::Float, Precision::Int(3));
        let comparison = Comparison::new(&student, &network, images(&network, 4, 5), 4).unwrap();
        for layer in comparison.layers().unwrap() {
            assert!(layer.weight.is_none() && layer.output.weights_only.mse == 0.0, "{}", layer.layer);
            assert_eq!(layer.output.activations_only, layer.output.both);
            assert_eq!(layer.output.both.mse > 0.0, layer.layer != "first", "{}", layer.layer);
        }
    }
}
