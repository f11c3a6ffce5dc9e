//! How values lie on their grid.

use std::collections::BTreeMap;

use blindfold_zoo::{Site, Tap, Taps};
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::by_name;
use super::comparison::Comparison;
use super::layer_report::count_clipped;
use super::modes::{Selection, SelectiveTap};
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::plan::{Plan, Target};
use crate::precision::Precision;
use crate::samples::{Samples, host_values};

/// The values of one tensor before its quantization, in bins of equal width, and the values that it can be quantized
/// to.
///
/// For a weight these are the teacher's values; for an activation what reaches the site in the student, everything
/// before it quantized, over all images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The node's name.
    pub layer: String,
    /// Its weight or its output.
    #[serde(serialize_with = "by_name")]
    pub role: Role,
    /// The tensor's format.
    pub bits: Precision,
    /// Lower end of the first bin: the smallest value.
    pub low: f32,
    /// Upper end of the last bin: the largest value.
    pub high: f32,
    /// How many values lie in each bin; the last one includes its upper end.
    pub counts: Vec<u64>,
    /// The values that each group can take, ascending. Of a format that adds up several terms, those of the first. Empty
    /// where there is no table of them (dynamic ranges, 16-bit floating point).
    pub levels: Vec<Vec<f32>>,
    /// Share of the values beyond the outermost codes of their group; none where the codec is made while the network
    /// runs.
    pub clipped: Option<f64>,
}

/// Counts under way.
#[derive(Debug, Clone)]
struct Bins {
    low: f32,
    high: f32,
    counts: Vec<u64>,
    clipped: usize,
}

impl Bins {
    fn new(low: f32, high: f32, bins: usize) -> Self {
        Self { low, high, counts: vec![0; bins.max(1)], clipped: 0 }
    }

    /// Sees values between `low` and `high`.
    fn add(&mut self, values: &[f32]) {
        let last = self.counts.len() - 1;
        let (low, width) = (f64::from(self.low), f64::from(self.high) - f64::from(self.low));
        let scale = if width > 0.0 { self.counts.len() as f64 / width } else { 0.0 };
        for &value in values {
            let bin = ((f64::from(value) - low) * scale) as usize;
            self.counts[bin.min(last)] += 1;
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn histogram(self, target: &Target, role: Role, codec: Option<&Codec>) -> Histogram {
        let share = self.clipped as f64 / self.total().max(1) as f64;
        Histogram {
            layer: target.name.clone(),
            role,
            bits: target.precision,
            low: self.low,
            high: self.high,
            levels: codec.map(levels).unwrap_or_default(),
            clipped: codec.is_some().then_some(share),
            counts: self.counts,
        }
    }
}

impl Comparison<'_> {
    /// The histograms of every quantized tensor, in the network's order, a node's weight before its output. Two runs of
    /// the student on all images.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for values that are NaN or infinite; those of dynamic ranges.
    pub fn histograms(&self, bins: usize) -> Result<Vec<Histogram>, QuantError> {
        let plan = &self.student.plan;
        let mut weights = self.weight_bins(bins)?;
        let mut sites = self.site_bins(bins)?;
        let mut histograms = Vec::new();
        for node in self.quantized.nodes() {
            let weight = plan.weight(&node.name).zip(weights.remove(&node.name));
            histograms
                .extend(weight.map(|(target, (found, codec))| found.histogram(target, Role::Weight, Some(&codec))));
            let site = plan.activation(&node.name).zip(sites.remove(&node.name));
            let codec = self.student.activations.get(&node.name);
            histograms.extend(site.map(|(target, found)| found.histogram(target, Role::Activation, codec)));
        }
        Ok(histograms)
    }

    fn weight_bins(&self, bins: usize) -> Result<BTreeMap<String, (Bins, Codec)>, QuantError> {
        let mut found = BTreeMap::new();
        for weight in self.student.weight_tensors()? {
            let Some(values) = self.teacher_weight(&weight.name) else { continue };
            let samples = Samples::new(values, 1).map_err(|error| error.at(&weight.name))?;
            let (low, high) = ends(samples.values());
            let mut counted = Bins::new(low, high, bins);
            counted.add(samples.values());
            let data = TensorData::new(samples.into_values(), weight.view);
            counted.clipped = count_clipped(Tensor::from_data(data, &self.teacher.device()), &weight.codec);
            found.insert(weight.name, (counted, weight.codec));
        }
        Ok(found)
    }

    fn site_bins(&self, bins: usize) -> Result<BTreeMap<String, Bins>, QuantError> {
        let mut ranges: BTreeMap<String, (f32, f32)> = BTreeMap::new();
        self.watch(|name, output| {
            let (low, high) = ends(Samples::of(output, None)?.values());
            let range = ranges.entry(name.to_owned()).or_insert((low, high));
            *range = (range.0.min(low), range.1.max(high));
            Ok(())
        })?;
        let mut found: BTreeMap<String, Bins> =
            ranges.into_iter().map(|(name, (low, high))| (name, Bins::new(low, high, bins))).collect();
        self.watch(|name, output| {
            if let Some(counted) = found.get_mut(name) {
                counted.add(&host_values(output.clone()));
                counted.clipped += self.student.activations.get(name).map_or(0, |codec| count_clipped(output, codec));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs the student on all images and shows `each` what reaches every quantized site, before its quantization.
    pub(super) fn watch(&self, each: impl FnMut(&str, Tensor<4>) -> Result<(), QuantError>) -> Result<(), QuantError> {
        let network = self.network(Selection::BOTH);
        let mut sites = SiteTap { plan: &self.student.plan, each, fault: None };
        for images in self.batches() {
            let mut tap = SelectiveTap::new(self.student, Selection::BOTH);
            network.run(images, &mut Taps(vec![&mut sites, &mut tap]));
            tap.finish()?;
            sites.fault.take().map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

/// Shows the outputs of quantized sites to a function.
struct SiteTap<'a, F> {
    plan: &'a Plan,
    each: F,
    fault: Option<QuantError>,
}

impl<F: FnMut(&str, Tensor<4>) -> Result<(), QuantError>> Tap for SiteTap<'_, F> {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        let name = &site.node.name;
        if self.fault.is_none() && self.plan.activation(name).is_some_and(Target::is_quantized) {
            self.fault = (self.each)(name, output.clone()).err().map(|error| error.at(name));
        }
        output
    }
}

/// Smallest and largest value.
fn ends(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

fn levels(codec: &Codec) -> Vec<Vec<f32>> {
    match codec {
        Codec::Sum(terms) => terms.first().map(levels).unwrap_or_default(),
        one => (0..one.groups()).filter_map(|group| one.levels_of(group)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::network::QuantizedNetwork;
    use crate::plan::{PluginChoice, Protocol, QuantConfig};
    use crate::testing::{images, small};

    fn histograms(protocol: Protocol, bits: u8, range: PluginChoice) -> (QuantizedNetwork, Vec<Histogram>) {
        let mut config = QuantConfig {
            protocol,
            weight_bits: Precision::Int(bits),
            activation_bits: Precision::Int(4),
            ..Default::default()
        };
        config.weight.range = Some(range);
        let network = small(4);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 8, 2);
        let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap();
        let teacher = student.plan.prepare(network).unwrap();
        let comparison = Comparison::new(&student, &teacher, images(&teacher, 7, 5), 3).unwrap();
        let found = comparison.histograms(64).unwrap();
        (student, found)
    }

    fn weights(found: Vec<Histogram>) -> Vec<Histogram> {
        found.into_iter().filter(|histogram| histogram.role == Role::Weight).collect()
    }

    #[test]
    fn every_value_is_counted_once() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let (student, found) = histograms(protocol, 3, PluginChoice::named("min-max"));
            assert_eq!(found.len(), student.plan.weights().count() + student.plan.activations().count());
            for histogram in &found {
                let counted: u64 = histogram.counts.iter().sum();
                let node = student.network.node(student.network.find(&histogram.layer).unwrap());
                let expected = match histogram.role {
                    Role::Weight => node.layer.weight().unwrap().dims().iter().product::<usize>(),
                    // Seven images of 12x12 with 8 channels, then 6x6 with 16.
                    Role::Activation if histogram.layer.starts_with("layer2") => 7 * 16 * 6 * 6,
                    Role::Activation => 7 * 8 * 12 * 12,
                };
                assert_eq!(counted, expected as u64, "{} {:?}", histogram.layer, histogram.role);
                assert!(histogram.counts[0] > 0 && histogram.counts[63] > 0, "the ends are values");
            }
            assert_eq!((found[0].layer.as_str(), found[0].role), ("conv1", Role::Weight));
        }
    }

    #[test]
    fn a_grid_over_all_values_clips_hardly_any_and_one_without_the_tails_clips_those() {
        let (_, whole) = histograms(Protocol::Gdfq, 3, PluginChoice::named("min-max"));
        for histogram in weights(whole) {
            assert!(histogram.levels.iter().all(|group| group.len() == 8 && group.is_sorted()));
            assert!(histogram.clipped.unwrap() < 0.01, "{} {:?}", histogram.layer, histogram.clipped);
        }
        // A tenth at either end; of 16 to 144 values a channel that is up to an eighth.
        let range = PluginChoice::named("percentile").with("percentile", 90.0);
        let (_, cut) = histograms(Protocol::Gdfq, 8, range);
        let cut = weights(cut);
        assert_eq!(cut.last().unwrap().levels.len(), 10, "a grid for each class");
        for histogram in cut {
            let clipped = histogram.clipped.unwrap();
            assert!((0.17..0.26).contains(&clipped), "{} {clipped}", histogram.layer);
        }
    }

    #[test]
    fn bins_hold_what_they_should() {
        let mut bins = Bins::new(-1.0, 1.0, 4);
        bins.add(&[-1.0, -0.5, -0.49, 0.0, 0.99, 1.0]);
        assert_eq!(bins.counts, [1, 2, 1, 2]);
        let mut constant = Bins::new(3.0, 3.0, 4);
        constant.add(&[3.0; 5]);
        assert_eq!(constant.total(), 5);
    }
}
