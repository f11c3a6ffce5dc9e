//! Batch norms that know the quantized network they stand in.

use blindfold_zoo::{ConfigError, Entry, Layer, Network, NodeId, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{FitRequest, FittingStep, Stage};
use crate::channel_statistics::ChannelStatistics;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::samples::Samples;
use crate::sequential::{Sequential, first_images};

/// Table of [`BatchNormReestimation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchNormReestimationConfig {
    /// Share of the measured statistics in the new ones, above 0, at most 1; the rest is the old ones'.
    pub blend: f64,
    /// What is quantized when the statistics are measured.
    pub measured: MeasuredWith,
    /// Images that run together.
    pub batch: usize,
    /// So many images are looked at, the first ones.
    pub max_images: usize,
}

impl Default for BatchNormReestimationConfig {
    fn default() -> Self {
        Self { blend: 1.0, measured: MeasuredWith::Weights, batch: 128, max_images: 1024 }
    }
}

/// What is quantized when the statistics are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeasuredWith {
    /// Weights alone: the ranges of activations are calibrated afterwards, on what the new statistics make of them.
    Weights,
    /// Weights and activations, whose ranges are there already and stay.
    Activations,
}

/// Measures the running statistics of every batch norm anew, in the network's order, on the quantized student: each one
/// on inputs that the new statistics of those before it have shaped.
///
/// ```text
/// m   <- (1 - blend) m   + blend mean(x)      x: all values of a channel of the batch norm's input, of all images
/// v   <- (1 - blend) v   + blend var(x)       biased: divided by their number
/// ```
/// With `blend = 1` the batch norm's output has, on these images, exactly the mean and the deviation that the teacher's
/// training gave it, `beta` and `|gamma|`: the quantization of all layers before it leaves no shift and no change of
/// scale. The images should have the statistics that the teacher knows, as those of batch-norm matching do.
///
/// # Source
/// Sun et al.: Hybrid 8-bit Floating Point (HFP8) Training and Inference for Deep Neural Networks, NeurIPS 2019
/// (re-tuned batch-norm statistics); the step of that name in AIMET and Brevitas.
///
/// # Differences from the source
/// One pass over all images, statistics of all of them together, where the sources average those of batches in training
/// mode.
///
/// # Errors
/// [`QuantError::Config`] for a network without batch norms, such as one of protocol `brecq`; [`QuantError::NoImages`];
/// [`QuantError::NotFinite`] with the batch norm's name where values diverge.
#[derive(Debug, Clone)]
pub struct BatchNormReestimation {
    config: BatchNormReestimationConfig,
}

impl BatchNormReestimation {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a blend outside `(0, 1]` and for no images.
    pub fn new(config: BatchNormReestimationConfig) -> Result<Self, ConfigError> {
        if !(config.blend > 0.0 && config.blend <= 1.0) {
            return Err(ConfigError::invalid("blend", config.blend, "write a share above 0, at most 1"));
        }
        for (key, value) in [("batch", config.batch), ("max_images", config.max_images)] {
            if value == 0 {
                return Err(ConfigError::invalid(key, value, "write at least 1"));
            }
        }
        Ok(Self { config })
    }

    fn reestimated(&self, request: FitRequest<'_>, student: &QuantizedNetwork) -> Result<Network, QuantError> {
        let FitRequest { images, progress, .. } = request;
        let mut network = student.network.clone().frozen();
        let total = network.nodes().iter().filter(|node| matches!(node.layer, Layer::BatchNorm2d(_))).count();
        if total == 0 {
            let found = format!("the network `{}` without batch norms", network.name());
            let fix = "protocol \"brecq\" and some passes fold them: leave the step out, or write `bias-correction`";
            return Err(ConfigError::invalid("batch-norm-reestimation", found, fix).into());
        }
        student.weight_tensors()?;
        let images = first_images(images, self.config.max_images)?;
        let mut tap = student.tap();
        let mut run = Sequential::new(&network, &images, self.config.batch);
        let mut done = 0;
        for id in 0..network.nodes().len() {
            if matches!(network.node(id).layer, Layer::BatchNorm2d(_)) {
                if progress.cancelled() {
                    return Err(QuantError::Cancelled);
                }
                let name = network.node(id).name.clone();
                let statistics = run.statistics(network.node(id).inputs[0]);
                network = self.with_statistics(network, id, &statistics).map_err(|error| error.at(&name))?;
                done += 1;
                progress.unit(done, total, &[]);
            }
            run.advance(&network, &mut tap);
        }
        Ok(network)
    }

    fn with_statistics(
        &self,
        network: Network,
        id: NodeId,
        statistics: &ChannelStatistics,
    ) -> Result<Network, QuantError> {
        let checked = |values: Vec<f64>| -> Result<Vec<f32>, QuantError> {
            Ok(Samples::new(values.into_iter().map(|value| value as f32).collect(), 1)?.into_values())
        };
        let (mean, variance) = (checked(statistics.mean().to_vec())?, checked(statistics.variance())?);
        let blend = |old: Tensor<1>, new: &[f32]| {
            let new = Tensor::<1>::from_data(TensorData::new(new.to_vec(), [new.len()]), &old.device());
            old.mul_scalar(1.0 - self.config.blend) + new.mul_scalar(self.config.blend)
        };
        let mut place = 0..network.nodes().len();
        Ok(network.map_layers(|_, layer| match (place.next() == Some(id), layer) {
            (true, Layer::BatchNorm2d(mut norm)) => {
                norm.running_mean = norm.running_mean.map(|old| blend(old, &mean));
                norm.running_var = norm.running_var.map(|old| blend(old, &variance));
                Layer::BatchNorm2d(norm)
            }
            (_, layer) => layer,
        }))
    }
}

impl FittingStep for BatchNormReestimation {
    fn stage(&self) -> Stage {
        match self.config.measured {
            MeasuredWith::Weights => Stage::Weights,
            MeasuredWith::Activations => Stage::Network,
        }
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let network = self.reestimated(request, &student)?;
        Ok(student.with_network(network))
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "batch-norm-reestimation",
    summary: "running statistics of all batch norms measured anew on the quantized network, layer by layer",
    source: "Sun et al., Hybrid 8-bit Floating Point (HFP8) Training and Inference, NeurIPS 2019",
    defaults: defaults_of::<BatchNormReestimationConfig>,
    build: |table| Ok(Box::new(BatchNormReestimation::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use blindfold_zoo::{BatchNorm2d, Site, Tap, Taps};

    use super::super::Silent;
    use super::*;
    use crate::architectures::build;
    use crate::families::Families;
    use crate::plan::{Plan, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    fn step(blend: f64, measured: MeasuredWith) -> BatchNormReestimation {
        let config = BatchNormReestimationConfig { blend, measured, batch: 3, ..Default::default() };
        BatchNormReestimation::new(config).unwrap()
    }

    fn student(network: &Network, protocol: Protocol, measured: MeasuredWith, images: &Tensor<4>) -> QuantizedNetwork {
        let bits = Precision::Int(3);
        let config = QuantConfig { protocol, weight_bits: bits, activation_bits: bits, ..Default::default() };
        let plan = Plan::new(&config, network, &Families::builtin()).unwrap();
        match measured {
            MeasuredWith::Weights => QuantizedNetwork::with_weights(network.clone(), plan).unwrap(),
            MeasuredWith::Activations => {
                QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(images.clone())).unwrap()
            }
        }
    }

    fn fit(
        step: &BatchNormReestimation,
        teacher: &Network,
        images: &Tensor<4>,
        student: QuantizedNetwork,
    ) -> Result<QuantizedNetwork, QuantError> {
        step.fit(FitRequest { teacher, images, seed: 1, progress: &mut Silent }, student)
    }

    #[derive(Default)]
    struct Outputs(BTreeMap<String, ChannelStatistics>);

    impl Tap for Outputs {
        fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
            if matches!(site.node.layer, Layer::BatchNorm2d(_)) {
                self.0.entry(site.node.name.clone()).or_default().see(&output);
            }
            output
        }
    }

    fn host(values: Tensor<1>) -> Vec<f64> {
        values.into_data().iter::<f32>().map(f64::from).collect()
    }

    fn norms(network: &Network) -> impl Iterator<Item = (&String, &BatchNorm2d)> {
        network.nodes().iter().filter_map(|node| match &node.layer {
            Layer::BatchNorm2d(norm) => Some((&node.name, norm)),
            _ => None,
        })
    }

    #[test]
    fn afterwards_batch_norms_give_their_own_mean_and_deviation() {
        for network in [small(28), build("densenet-bc", "depth = 10", 28)] {
            for measured in [MeasuredWith::Weights, MeasuredWith::Activations] {
                let x = images(&network, 8, 7);
                let student = student(&network, Protocol::Gdfq, measured, &x);
                let after = fit(&step(1.0, measured), &network, &x, student).unwrap();
                let mut outputs = Outputs::default();
                after.network.run(x, &mut Taps(vec![&mut outputs, &mut after.tap()]));
                for (name, norm) in norms(&after.network) {
                    let (beta, gamma, variance) =
                        (host(norm.beta.val()), host(norm.gamma.val()), host(norm.running_var.val()));
                    let found = &outputs.0[name];
                    for (channel, spread) in found.variance().into_iter().enumerate() {
                        let share = variance[channel] / (variance[channel] + norm.epsilon);
                        let expected = gamma[channel] * gamma[channel] * share;
                        assert!((found.mean()[channel] - beta[channel]).abs() < 1e-4, "{name} {measured:?}");
                        assert!((spread - expected).abs() < 1e-3 * gamma[channel].powi(2), "{name} {measured:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_blend_lies_between_the_old_statistics_and_the_measured_ones() {
        let network = small(29);
        let x = images(&network, 8, 7);
        let first = |network: &Network| {
            let (_, norm) = norms(network).next().unwrap();
            [host(norm.running_mean.val()), host(norm.running_var.val())].concat()
        };
        let at = |blend: f64| {
            let student = student(&network, Protocol::Gdfq, MeasuredWith::Weights, &x);
            first(&fit(&step(blend, MeasuredWith::Weights), &network, &x, student).unwrap().network)
        };
        for ((old, new), quarter) in first(&network).into_iter().zip(at(1.0)).zip(at(0.25)) {
            assert!((0.75 * old + 0.25 * new - quarter).abs() < 1e-5);
        }
    }

    #[test]
    fn folded_networks_and_missing_images_are_errors() {
        let network = small(30);
        let x = images(&network, 4, 7);
        let step = step(1.0, MeasuredWith::Weights);
        let folded = student(&network, Protocol::Brecq, MeasuredWith::Weights, &x);
        let error = fit(&step, &network, &x, folded).unwrap_err().to_string();
        assert!(error.contains("`small` without batch norms") && error.contains("bias-correction"), "{error}");
        let unfolded = student(&network, Protocol::Gdfq, MeasuredWith::Weights, &x);
        let none = Tensor::<4>::from_data(TensorData::new(Vec::<f32>::new(), [0, 3, 12, 12]), &network.device());
        assert!(matches!(fit(&step, &network, &none, unfolded), Err(QuantError::NoImages)));
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [
            BatchNormReestimationConfig { blend: 0.0, ..Default::default() },
            BatchNormReestimationConfig { blend: 1.5, ..Default::default() },
            BatchNormReestimationConfig { batch: 0, ..Default::default() },
        ] {
            assert!(BatchNormReestimation::new(config).is_err());
        }
    }
}
