//! What quantization costs at each layer.

use std::collections::BTreeMap;

use blindfold_zoo::{FeatureTap, Network, Site, Tap, Taps};
use burn::tensor::Tensor;

use crate::error::QuantError;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::samples::{Samples, host_values};

/// The errors at one node of a quantized network.
///
/// `w`: the teacher's weights, `q`: what the student's are quantized to, `n`: how many there are; `a`, `b`: the
/// node's outputs in the quantized student and in the teacher, `m`: how many there are, all images together.
///
/// ```text
/// weight_mse     = (1/n) sum (w - q)^2
/// weight_sqnr_db = 10 log10(sum w^2 / sum (w - q)^2)
/// activation_mse = (1/m) sum (a - b)^2
/// ```
/// Sums are in `f64`.
///
/// # Source
/// The usual definitions of mean squared error and of the signal to quantization noise ratio.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerError {
    /// The node's name.
    pub layer: String,
    /// Mean squared error of the weights, in weights squared. None where the node has none in integers, and for a student
    /// [for evaluation](QuantizedNetwork::for_evaluation), which has forgotten its weights in floating point.
    pub weight_mse: Option<f64>,
    /// Signal to quantization noise ratio of the weights, in dB. None as [`Self::weight_mse`], and where it is infinite.
    pub weight_sqnr_db: Option<f64>,
    /// Mean squared error of the node's output, in activations squared: that of its own quantization and of all before it.
    /// None where the node is no activation site of the plan; a site in floating point has it, for what stands before it.
    pub activation_mse: Option<f64>,
}

/// The errors of a quantized network against its teacher, in the order of the network, one entry a node.
///
/// Nodes without any of the three are left out; a plan that quantizes nothing has no entries. The teacher is in floating
/// point, with its batch norms or as the plan [prepares](crate::Plan::prepare) it. One forward pass of each network.
///
/// # Shapes
/// - images: `[batch, channel, height, width]`
///
/// # Errors
/// [`QuantError::NoImages`] for a batch of none, [`QuantError::OtherNetwork`] for a teacher without the plan's layers, and
/// with the layer's name [`QuantError::NotFinite`] for weights and outputs that are NaN or infinite and
/// [`QuantError::Groups`] for a teacher whose output has another size.
pub fn layer_errors(
    student: &QuantizedNetwork,
    teacher: &Network,
    images: Tensor<4>,
) -> Result<Vec<LayerError>, QuantError> {
    let plan = &student.plan;
    if !plan.weights().chain(plan.activations()).any(|target| target.is_quantized()) {
        return Ok(Vec::new());
    }
    if images.dims()[0] == 0 {
        return Err(QuantError::NoImages);
    }
    let mut entries = Vec::new();
    let prepared = plan.prepare(teacher.clone())?.frozen();
    let weights = student.weight_tensors()?;
    let mut weights: BTreeMap<&str, &LayerWeight> =
        weights.iter().map(|weight| (weight.name.as_str(), weight)).collect();
    for node in student.network.nodes() {
        let weight = weights.remove(node.name.as_str()).map(|weight| weight_error(weight, &prepared));
        let weight = weight.transpose().map_err(|error| error.at(&node.name))?;
        entries.push(LayerError {
            layer: node.name.clone(),
            weight_mse: weight.map(|(mse, _)| mse),
            weight_sqnr_db: weight.and_then(|(_, sqnr)| sqnr),
            activation_mse: None,
        });
    }
    let mut activations = activation_errors(student, &prepared, images.inner())?;
    for entry in &mut entries {
        entry.activation_mse = activations.remove(&entry.layer).transpose().map_err(|error| error.at(&entry.layer))?;
    }
    entries.retain(|entry| entry.weight_mse.is_some() || entry.activation_mse.is_some());
    Ok(entries)
}

/// Mean squared error of quantized weights against the teacher's and, where it is finite, their signal to noise ratio.
fn weight_error(weight: &LayerWeight, teacher: &Network) -> Result<(f64, Option<f64>), QuantError> {
    let reference = teacher.find(&weight.name).and_then(|id| teacher.node(id).layer.weight());
    let reference = match reference {
        Some(reference) if reference.dims() == weight.shape => Samples::of(reference.inner(), None)?.into_values(),
        _ => weight.values.clone(),
    };
    let quantized = weight.quantized()?;
    let signal: f64 = reference.iter().map(|&value| f64::from(value).powi(2)).sum();
    let noise = squared_distance(&reference, &quantized);
    let sqnr = 10.0 * (signal / noise).log10();
    Ok((noise / reference.len() as f64, Some(sqnr).filter(|sqnr| sqnr.is_finite())))
}

/// Mean squared error of all quantized weights against the teacher's, every weight counting once; none without any.
///
/// # Errors
/// As [`layer_errors`].
pub fn weight_mse(student: &QuantizedNetwork, teacher: &Network) -> Result<Option<f64>, QuantError> {
    let teacher = student.plan.prepare(teacher.clone())?.frozen();
    let (mut sum, mut count) = (0.0, 0usize);
    for weight in student.weight_tensors()? {
        let (mse, _) = weight_error(&weight, &teacher).map_err(|error| error.at(&weight.name))?;
        sum += mse * weight.values.len() as f64;
        count += weight.values.len();
    }
    Ok((count > 0).then(|| sum / count as f64))
}

type MeasuredSites = BTreeMap<String, Result<f64, QuantError>>;

fn activation_errors(
    student: &QuantizedNetwork,
    teacher: &Network,
    images: Tensor<4>,
) -> Result<MeasuredSites, QuantError> {
    let mut features = FeatureTap::new(student.plan.activations().map(|target| target.name.clone()));
    teacher.run(images.clone(), &mut features);
    let student = student.clone().with_network(student.network.clone().frozen());
    let mut fake = student.tap();
    let mut meter = DistanceMeter { references: features.features, measured: BTreeMap::new() };
    student.network.run(images, &mut Taps(vec![&mut fake, &mut meter]));
    Ok(meter.measured)
}

/// Compares what passes with what passed in the teacher, so that the student's outputs need not be kept.
struct DistanceMeter {
    references: BTreeMap<String, Tensor<4>>,
    measured: MeasuredSites,
}

impl Tap for DistanceMeter {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if let Some(reference) = self.references.remove(&site.node.name) {
            self.measured.insert(site.node.name.clone(), mean_squared_distance(output.clone(), reference));
        }
        output
    }
}

fn mean_squared_distance(output: Tensor<4>, reference: Tensor<4>) -> Result<f64, QuantError> {
    let (output, reference) = (Samples::of(output, None)?, host_values(reference));
    if reference.len() != output.values().len() {
        return Err(QuantError::Groups { expected: output.values().len(), found: reference.len() });
    }
    let reference = Samples::new(reference, 1)?;
    Ok(squared_distance(output.values(), reference.values()) / output.values().len() as f64)
}

/// `sum (a - b)^2`.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, plain, small};

    fn quantized(network: Network, protocol: Protocol, weights: Precision, activations: Precision) -> QuantizedNetwork {
        let config = QuantConfig { protocol, weight_bits: weights, activation_bits: activations, ..Default::default() };
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 8, 2);
        QuantizedNetwork::calibrate(network, plan, std::iter::once(batch)).unwrap()
    }

    /// [`plain`] whose convolution copies the first channel of the images and whose classifier has the same four weights
    /// for every class.
    fn copying(row: [f32; 4]) -> Network {
        plain(1).map_layers(|name, layer| {
            let Some(weight) = layer.weight() else { return layer };
            let (shape, device) = (weight.dims(), weight.device());
            let center_of_first_channel = |index: usize| f32::from(u8::from(index % 27 == 4));
            let values: Vec<f32> = (0..shape.iter().product::<usize>())
                .map(|index| if name == "first" { center_of_first_channel(index) } else { row[index % 4] })
                .collect();
            layer.with_weight(Tensor::from_data(TensorData::new(values, shape), &device))
        })
    }

    /// Errors with 2 bits, calibrated and measured on an image that repeats `pixels`.
    fn errors_of(row: [f32; 4], pixels: [f32; 4]) -> Vec<LayerError> {
        let network = copying(row);
        let config =
            QuantConfig { weight_bits: Precision::Int(2), activation_bits: Precision::Int(2), ..Default::default() };
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let values: Vec<f32> = (0..3 * 12 * 12).map(|index| pixels[index % 4]).collect();
        let image = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 12, 12]), &network.device());
        let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(image.clone())).unwrap();
        layer_errors(&student, &network, image).unwrap()
    }

    fn entry(layer: &str, weight: Option<(f64, Option<f64>)>, activation_mse: Option<f64>) -> LayerError {
        LayerError {
            layer: layer.to_owned(),
            weight_mse: weight.map(|(mse, _)| mse),
            weight_sqnr_db: weight.and_then(|(_, sqnr)| sqnr),
            activation_mse,
        }
    }

    #[test]
    fn values_on_the_grid_have_no_error() {
        let whole = [0.0, 1.0, 2.0, 3.0];
        let exact = Some((0.0, None));
        let expected = [entry("first", exact, None), entry("relu", None, Some(0.0)), entry("classifier", exact, None)];
        assert_eq!(errors_of(whole, whole), expected);
    }

    #[test]
    fn errors_are_those_of_a_calculation_by_hand() {
        // Codes stand for 0, 1, 2 and 3, so that 0.25 becomes 0: the mean of 0, 0.25^2, 0 and 0 is 1/64. The weights'
        // squares sum to 209 times 0.25^2.
        let off = [0.0, 0.25, 2.0, 3.0];
        let found = errors_of(off, off);
        let expected = [
            entry("first", Some((0.0, None)), None),
            entry("relu", None, Some(1.0 / 64.0)),
            entry("classifier", Some((1.0 / 64.0, found[2].weight_sqnr_db)), None),
        ];
        assert_eq!(found, expected);
        assert!((found[2].weight_sqnr_db.unwrap() - 10.0 * 209f64.log10()).abs() < 1e-9);
    }

    #[test]
    fn four_bits_more_are_worth_a_seventeenth_of_the_step() {
        let weights_of = |bits: u8| {
            let network = small(3);
            let student = quantized(network.clone(), Protocol::Gdfq, Precision::Int(bits), Precision::Int(8));
            let errors = layer_errors(&student, &network, images(&network, 4, 5)).unwrap();
            errors.into_iter().filter_map(|error| error.weight_sqnr_db).collect::<Vec<f64>>()
        };
        let (four, eight) = (weights_of(4), weights_of(8));
        assert_eq!((four.len(), eight.len()), (6, 6));
        for (four, eight) in four.iter().zip(&eight) {
            assert!((eight - four - 20.0 * 17f64.log10()).abs() < 2.0, "{four} {eight}");
        }
    }

    #[test]
    fn the_teacher_may_have_its_batch_norms_folded_or_not() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let network = small(4);
            let student = quantized(network.clone(), protocol, Precision::Int(4), Precision::Int(4));
            let batch = images(&network, 4, 5);
            let errors = layer_errors(&student, &network, batch.clone()).unwrap();
            let prepared = student.plan.prepare(network).unwrap();
            assert_eq!(layer_errors(&student, &prepared, batch.clone()).unwrap(), errors);

            let order: Vec<usize> = errors.iter().map(|error| student.network.find(&error.layer).unwrap()).collect();
            assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
            let sites: Vec<&String> =
                errors.iter().filter(|error| error.activation_mse.is_some()).map(|error| &error.layer).collect();
            assert_eq!(sites, student.plan.activations().map(|target| &target.name).collect::<Vec<_>>());
            assert!(errors.iter().filter_map(|error| error.activation_mse).all(|mse| mse > 0.0));
            assert_eq!(errors.iter().filter(|error| error.weight_mse.is_some_and(|mse| mse > 0.0)).count(), 6);

            let training = student.clone().with_network(student.network.clone().trainable());
            assert_eq!(layer_errors(&training, &prepared, batch.clone()).unwrap(), errors);
            let evaluation = layer_errors(&student.for_evaluation().unwrap(), &prepared, batch).unwrap();
            assert!(evaluation.iter().all(|error| error.weight_mse.is_none() && error.weight_sqnr_db.is_none()));
            assert_eq!(evaluation.iter().map(|error| &error.layer).collect::<Vec<_>>(), sites);
        }
    }

    #[test]
    fn what_is_in_floating_point_has_no_error_of_its_own() {
        let network = small(5);
        let batch = images(&network, 4, 5);
        let errors = |weights, activations| {
            let student = quantized(network.clone(), Protocol::Gdfq, weights, activations);
            layer_errors(&student, &network, batch.clone()).unwrap()
        };
        assert!(errors(Precision::Float, Precision::Float).is_empty());
        let four = Precision::Int(4);
        assert!(errors(Precision::Float, four).iter().all(|error| error.weight_mse.is_none()));
        let weights_alone = errors(four, Precision::Float);
        assert_eq!(weights_alone.iter().filter(|error| error.activation_mse.is_some_and(|mse| mse > 0.0)).count(), 5);
    }

    #[test]
    fn what_cannot_be_compared_is_an_error_that_names_the_layer() {
        let network = plain(1);
        let student = quantized(network.clone(), Protocol::Gdfq, Precision::Int(4), Precision::Int(4));
        let batch = images(&network, 2, 5);
        let none = Tensor::<4>::from_data(TensorData::new(Vec::<f32>::new(), [0, 3, 12, 12]), &network.device());
        assert!(matches!(layer_errors(&student, &network, none), Err(QuantError::NoImages)));
        let other = layer_errors(&student, &small(1), batch.clone());
        assert!(matches!(other, Err(QuantError::OtherNetwork { .. })));
        let broken = network.clone().map_layers(|name, layer| match layer.weight() {
            Some(weight) if name == "first" => layer.with_weight(weight * f32::NAN),
            _ => layer,
        });
        let error = layer_errors(&student.with_network(broken), &network, batch).unwrap_err().to_string();
        assert!(error.starts_with("`first`: value 0 of 108 is NaN"), "{error}");
    }
}
