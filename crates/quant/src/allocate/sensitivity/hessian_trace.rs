//! The curvature of the loss times the squared error of the weights.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Sensitivity, SensitivityRequest, labelled};
use crate::allocate::candidates::LayerCandidates;
use crate::allocate::hutchinson::hutchinson_trace;
use crate::allocate::walk::Walk;
use crate::error::QuantError;
use crate::samples::Samples;

/// What the loss compares the network's answer with: the teacher's own, for there are no labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HessianTarget {
    /// Its probabilities: the Hessian of `KL(teacher || network)` at the teacher, which has no negative eigenvalues.
    #[default]
    Probabilities,
    /// Its most probable class: the Hessian of the cross-entropy with that label.
    Argmax,
}

/// Table of [`HessianTrace`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HessianTraceConfig {
    /// What the loss compares with.
    pub target: HessianTarget,
    /// Random vectors for each layer; each takes two gradients.
    pub vectors: usize,
    /// At most so many images, the first ones.
    pub images: usize,
    /// Step of the finite differences, as a share of the root mean square of the layer's weights.
    pub step: f64,
}

impl Default for HessianTraceConfig {
    fn default() -> Self {
        Self { target: HessianTarget::Probabilities, vectors: 8, images: 32, step: 0.01 }
    }
}

/// The mean trace of a layer's Hessian times the squared error of its weights.
///
/// ```text
/// Omega_l(b) = (tr H_l / n_l) * sum (w - w^)^2,    H_l = d^2 L / dw_l^2,    L = -(1/N) sum_j sum_c t_jc log softmax(z_j)_c
/// tr H_l   ~ (1/m) sum_k v_k . H_l v_k                     v_k: entries +1 or -1 (Hutchinson)
/// H_l v    ~ (g(w_l + e v) - g(w_l - e v)) / (2 e)         g = dL/dw_l,  e = step * rms(w_l)
/// ```
/// `n_l`: number of weights of layer `l`; `t`: the teacher's probabilities, or 1 for its most probable class; `z`: logits.
/// All other layers stay as they are: `H_l` is the layer's own block of the Hessian.
///
/// # Range
/// `>= 0`: an estimate of the trace that comes out negative counts as 0.
///
/// # Source
/// Dong et al., HAWQ-V2, NeurIPS 2020, eq. 5 (the mean trace; HAWQ, ICCV 2019, has the largest eigenvalue in its place).
///
/// # Differences from the source
/// No labels: the loss compares with the teacher's own answer. Hessian-vector products are central finite differences of
/// gradients, because Burn cannot differentiate a gradient; their error is of the order of `e^2` where the loss is smooth,
/// and they average over the kinks of rectifiers within a step. A fixed number of vectors instead of a stopping rule.
#[derive(Debug, Clone)]
pub struct HessianTrace {
    config: HessianTraceConfig,
}

impl HessianTrace {
    /// The sensitivity of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for no vectors, no images and a step outside `(0, 1]`.
    pub fn new(config: HessianTraceConfig) -> Result<Self, ConfigError> {
        for (key, value) in [("vectors", config.vectors), ("images", config.images)] {
            if value == 0 {
                return Err(ConfigError::invalid(key, 0, "write at least 1"));
            }
        }
        if !(config.step > 0.0 && config.step <= 1.0) {
            return Err(ConfigError::invalid("step", config.step, "write a number above 0 and up to 1, such as 0.01"));
        }
        Ok(Self { config })
    }

    /// The target `[image, class]` of the loss.
    fn target(&self, logits: Tensor<2>, device: &Device) -> Result<Tensor<2>, QuantError> {
        let shape @ [images, _] = logits.dims();
        let probabilities = softmax(logits, 1);
        let values: Vec<f32> = probabilities.clone().into_data().iter::<f32>().collect();
        let rows = Samples::new(values, images)?;
        match self.config.target {
            HessianTarget::Probabilities => Ok(probabilities),
            HessianTarget::Argmax => {
                let one_hot = rows.iter().flat_map(|row| {
                    let best =
                        row.iter().enumerate().fold(0, |best, (index, p)| if *p > row[best] { index } else { best });
                    (0..row.len()).map(move |index| f32::from(u8::from(index == best)))
                });
                Ok(Tensor::from_data(TensorData::new(one_hot.collect::<Vec<f32>>(), shape), device))
            }
        }
    }

    /// `tr H / n` of the layer that the walk is at.
    fn mean_trace(
        &self,
        walk: &Walk<'_>,
        layer: &LayerCandidates,
        target: &Tensor<2>,
        seed: u64,
    ) -> Result<f64, QuantError> {
        let device = target.device();
        let count = layer.values.len();
        let power: f64 = layer.values.iter().map(|&w| f64::from(w).powi(2)).sum();
        if power == 0.0 {
            return Ok(0.0);
        }
        let step = (self.config.step * (power / count as f64).sqrt()) as f32;
        let gradient = |vector: &[f32], step: f32| -> Result<Vec<f32>, QuantError> {
            let moved: Vec<f32> = layer.values.iter().zip(vector).map(|(w, v)| w + step * v).collect();
            let gradient = loss_gradient(walk, Tensor::from_data(TensorData::new(moved, layer.shape), &device), target);
            Ok(Samples::new(gradient, 1)?.into_values())
        };
        let product = |vector: &[f32]| -> Result<Vec<f64>, QuantError> {
            let (ahead, behind) = (gradient(vector, step)?, gradient(vector, -step)?);
            let slope = |(a, b): (f32, f32)| (f64::from(a) - f64::from(b)) / (2.0 * f64::from(step));
            Ok(ahead.into_iter().zip(behind).map(slope).collect())
        };
        let mut random = stream(seed, &format!("hessian trace of {}", layer.name));
        let estimate = hutchinson_trace(count, self.config.vectors, &mut random, product)?;
        Ok(estimate.trace.max(0.0) / count as f64)
    }
}

/// `dL/dw` in row-major order, for the weight `w` of the layer that the walk is at.
fn loss_gradient(walk: &Walk<'_>, weight: Tensor<4>, target: &Tensor<2>) -> Vec<f32> {
    let [images, _] = target.dims();
    let weight = weight.autodiff().require_grad();
    let logits = walk.logits(weight.clone());
    let loss = (log_softmax(logits, 1) * target.clone()).sum().mul_scalar(-1.0 / images as f64);
    let mut gradients = loss.backward();
    let gradient = weight.grad_remove(&mut gradients).unwrap_or_else(|| weight.inner().zeros_like());
    gradient.into_data().iter::<f32>().collect()
}

impl Sensitivity for HessianTrace {
    fn needs_images(&self) -> bool {
        true
    }

    fn measure(&self, request: SensitivityRequest<'_>) -> Result<Vec<Vec<f64>>, QuantError> {
        let SensitivityRequest { network, layers, images, seed, progress } = request;
        let count = images.dims()[0].min(self.config.images);
        if count == 0 {
            return Err(QuantError::NoImages);
        }
        let images = images.narrow(0, 0, count);
        let target = self.target(network.forward(images.clone()), &network.device())?;
        let mut walk = Walk::new(network, images.autodiff());
        let mut table = Vec::with_capacity(layers.len());
        for (done, layer) in layers.iter().enumerate() {
            if progress.cancelled() {
                return Err(QuantError::Cancelled);
            }
            walk.advance(layer.node);
            let trace = self.mean_trace(&walk, layer, &target, seed).map_err(|error| error.at(&layer.name))?;
            let row: Vec<f64> = (0..layer.bits.len())
                .map(|index| Ok(trace * layer.squared_error(index)?))
                .collect::<Result<_, QuantError>>()?;
            let mut values = labelled(layer, &row);
            values.push((format!("allocate/{}/mean_trace", layer.name), trace));
            progress.unit(done + 1, layers.len(), &values);
            table.push(row);
        }
        Ok(table)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Sensitivity> = Entry {
    name: "hessian-trace",
    summary: "mean Hessian trace of the loss against the teacher's own answer, times the weights' squared error",
    source: "Dong et al., HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks, NeurIPS 2020, eq. 5",
    defaults: defaults_of::<HessianTraceConfig>,
    build: |table| Ok(Box::new(HessianTrace::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Network, NetworkBuilder, Op};

    use super::super::super::candidates::all_candidates;
    use super::*;
    use crate::plan::QuantConfig;
    use crate::step::Silent;
    use crate::testing::{images, small};

    /// One linear layer of 12 inputs and 5 classes.
    fn linear() -> Network {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 4);
        graph.op("flatten", &[0], Op::Flatten);
        graph.linear("linear", graph.last(), 5, 12);
        graph.finish("one-linear", [3, 2, 2], 5)
    }

    fn measure(
        network: &Network,
        layers: &[LayerCandidates],
        images: Tensor<4>,
        vectors: usize,
        target: HessianTarget,
    ) -> Vec<Vec<f64>> {
        let config = HessianTraceConfig { vectors, target, ..Default::default() };
        let request = SensitivityRequest { network, layers, images, seed: 3, progress: &mut Silent };
        HessianTrace::new(config).unwrap().measure(request).unwrap()
    }

    #[test]
    fn of_one_linear_layer_the_trace_is_the_closed_form() {
        let (network, layers) = all_candidates(&linear(), &QuantConfig::default(), &[2, 4]);
        let images = images(&network, 16, 1);
        let pixels: Vec<f32> = images.clone().into_data().iter::<f32>().collect();
        let probabilities: Vec<f32> = softmax(network.forward(images.clone()), 1).into_data().iter::<f32>().collect();
        // H = (1/N) sum_n (diag p - p p^T) (x) x x^T has the trace (1/N) sum_n |x|^2 sum_c p_c (1 - p_c), for either target.
        let trace = pixels
            .chunks(12)
            .zip(probabilities.chunks(5))
            .map(|(x, p)| {
                let square: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
                square * p.iter().map(|&p| f64::from(p) * (1.0 - f64::from(p))).sum::<f64>()
            })
            .sum::<f64>()
            / 16.0;
        for target in [HessianTarget::Probabilities, HessianTarget::Argmax] {
            let row = measure(&network, &layers, images.clone(), 300, target).remove(0);
            for (index, found) in row.iter().enumerate() {
                let expected = trace / 60.0 * layers[0].squared_error(index).unwrap();
                assert!((found / expected - 1.0).abs() < 0.1, "{target:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn finite_differences_do_not_depend_on_their_step() {
        let (network, layers) = all_candidates(&linear(), &QuantConfig::default(), &[3]);
        let omega = |step: f64| {
            let config = HessianTraceConfig { step, ..Default::default() };
            let images = images(&network, 8, 1);
            let request =
                SensitivityRequest { network: &network, layers: &layers, images, seed: 3, progress: &mut Silent };
            HessianTrace::new(config).unwrap().measure(request).unwrap()[0][0]
        };
        let (small, large) = (omega(0.005), omega(0.02));
        assert!((small / large - 1.0).abs() < 0.01, "{small} {large}");
    }

    #[test]
    fn widths_differ_by_the_squared_error_alone() {
        let (network, layers) = all_candidates(&small(2), &QuantConfig::default(), &[2, 4, 8]);
        let table = measure(&network, &layers, images(&network, 4, 1), 2, HessianTarget::Probabilities);
        for (layer, row) in layers.iter().zip(table) {
            let error = |index: usize| layer.squared_error(index).unwrap();
            assert!(row[0] > 0.0);
            for index in 1..3 {
                assert!((row[index] / row[0] / (error(index) / error(0)) - 1.0).abs() < 1e-9, "{}", layer.name);
            }
        }
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for config in [
            HessianTraceConfig { vectors: 0, ..Default::default() },
            HessianTraceConfig { images: 0, ..Default::default() },
            HessianTraceConfig { step: 0.0, ..Default::default() },
        ] {
            assert!(HessianTrace::new(config.clone()).is_err(), "{config:?}");
        }
    }
}
