//! What the network answers with one layer quantized.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Sensitivity, SensitivityRequest, labelled};
use crate::allocate::walk::Walk;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`KlSensitivity`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlSensitivityConfig {
    /// How many images are run at a time; results do not depend on it beyond rounding.
    pub batch: usize,
}

impl Default for KlSensitivityConfig {
    fn default() -> Self {
        Self { batch: 64 }
    }
}

/// The divergence of the answers of the network with one layer quantized from those of the teacher.
///
/// ```text
/// Omega_l(b) = (1/N) sum_j KL( M(theta; x_j) || M(Q_b(theta_l); x_j) ),    KL(p || q) = sum_c p_c log(p_c / q_c)
/// ```
/// `M`: the softmax of the logits; `Q_b(theta_l)`: the weights of layer `l` at `b` bits, all other weights and all
/// activations in floating point. Softmax, logarithm and sums are in `f64`.
///
/// # Range
/// `>= 0`, in nats.
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020, eq. 4 and 5: sensitivities on the distilled images, taken to add up over layers.
///
/// # Differences from the source
/// None. What stands before the quantized layer is run once for all of its widths.
#[derive(Debug, Clone)]
pub struct KlSensitivity {
    batch: usize,
}

impl KlSensitivity {
    /// The sensitivity of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for batches of no images.
    pub fn new(config: &KlSensitivityConfig) -> Result<Self, ConfigError> {
        if config.batch == 0 {
            return Err(ConfigError::invalid("batch", 0, "write at least 1"));
        }
        Ok(Self { batch: config.batch })
    }
}

impl Sensitivity for KlSensitivity {
    fn needs_images(&self) -> bool {
        true
    }

    fn measure(&self, request: SensitivityRequest<'_>) -> Result<Vec<Vec<f64>>, QuantError> {
        let SensitivityRequest { network, layers, images, progress, .. } = request;
        let count = images.dims()[0];
        if count == 0 {
            return Err(QuantError::NoImages);
        }
        let device = network.device();
        let mut sums: Vec<Vec<f64>> = layers.iter().map(|layer| vec![0.0; layer.bits.len()]).collect();
        let total = count.div_ceil(self.batch) * layers.len();
        let mut done = 0;
        for start in (0..count).step_by(self.batch) {
            let size = self.batch.min(count - start);
            let batch = images.clone().narrow(0, start, size);
            let teacher = log_probabilities(network.forward(batch.clone()))?;
            let mut walk = Walk::new(network, batch);
            for (layer, sums) in layers.iter().zip(&mut sums) {
                if progress.cancelled() {
                    return Err(QuantError::Cancelled);
                }
                walk.advance(layer.node);
                for (index, sum) in sums.iter_mut().enumerate() {
                    let weight = TensorData::new(layer.quantized(index)?, layer.shape);
                    let logits = walk.logits(Tensor::from_data(weight, &device));
                    let student = log_probabilities(logits).map_err(|error| error.at(&layer.name))?;
                    *sum += teacher.iter().zip(&student).map(|(p, q)| divergence(p, q)).sum::<f64>();
                }
                done += 1;
                let means: Vec<f64> = sums.iter().map(|sum| sum / (start + size) as f64).collect();
                progress.unit(done, total, &labelled(layer, &means));
            }
        }
        for sum in sums.iter_mut().flatten() {
            *sum /= count as f64;
        }
        Ok(sums)
    }
}

/// `log softmax` of logits `[image, class]`, by image.
fn log_probabilities(logits: Tensor<2>) -> Result<Vec<Vec<f64>>, QuantError> {
    let [images, _] = logits.dims();
    let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
    Ok(Samples::new(values, images)?.iter().map(log_softmax).collect())
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, &logit| largest.max(f64::from(logit)));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit) - largest - sum.ln()).collect()
}

/// `KL(p || q)` of the logarithms of two distributions; rounding never makes it negative.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>().max(0.0)
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Sensitivity> = Entry {
    name: "kl",
    summary: "divergence of the network's answers with one layer's weights quantized from the teacher's",
    source: "Cai et al., ZeroQ: A Novel Zero Shot Quantization Framework, CVPR 2020, eq. 4 and 5",
    defaults: defaults_of::<KlSensitivityConfig>,
    build: |table| Ok(Box::new(KlSensitivity::new(&parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::super::super::candidates::all_candidates;
    use super::*;
    use crate::plan::QuantConfig;
    use crate::step::Silent;
    use crate::testing::{images, small};

    fn table(batch: usize) -> Vec<Vec<f64>> {
        let (network, layers) = all_candidates(&small(1), &QuantConfig::default(), &[2, 4, 8]);
        let images = images(&network, 6, 2);
        let (network, layers, progress) = (&network, layers.as_slice(), &mut Silent);
        let request = SensitivityRequest { network, layers, images, seed: 1, progress };
        KlSensitivity::new(&KlSensitivityConfig { batch }).unwrap().measure(request).unwrap()
    }

    #[test]
    fn two_classes_have_their_closed_form() {
        let (p, q) = (log_softmax(&[0.0, 0.0]), log_softmax(&[3f32.ln(), 0.0]));
        // p = (1/2, 1/2), q = (3/4, 1/4): (1/2) log(2/3) + (1/2) log 2 = (1/2) log(4/3).
        assert!((divergence(&p, &q) - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-7);
        assert_eq!(divergence(&q, &q), 0.0);
        assert!(log_softmax(&[1e4, -1e4]).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn eight_bits_cost_next_to_nothing_and_two_bits_do_not() {
        for row in table(64) {
            assert!(row.iter().all(|&kl| kl >= 0.0), "{row:?}");
            assert!(row[2] < 2e-3 && row[2] < 0.02 * row[0], "{row:?}");
        }
    }

    #[test]
    fn it_is_the_divergence_of_the_network_with_one_layer_replaced() {
        let (network, layers) = all_candidates(&small(1), &QuantConfig::default(), &[2, 4, 8]);
        let images = images(&network, 6, 2);
        let teacher = log_probabilities(network.forward(images.clone())).unwrap();
        for (layer, row) in layers.iter().zip(table(64)) {
            for (index, found) in row.iter().enumerate() {
                let values = TensorData::new(layer.quantized(index).unwrap(), layer.shape);
                let weight = Tensor::<4>::from_data(values, &network.device());
                let student = network
                    .clone()
                    .map_layers(|name, own| if name == layer.name { own.with_weight(weight.clone()) } else { own });
                let student = log_probabilities(student.forward(images.clone())).unwrap();
                let mean = teacher.iter().zip(&student).map(|(p, q)| divergence(p, q)).sum::<f64>() / 6.0;
                assert!((found - mean).abs() < 1e-12, "{} {found} {mean}", layer.name);
            }
        }
    }

    #[test]
    fn the_batch_changes_rounding_alone() {
        for (whole, parts) in table(64).iter().flatten().zip(table(4).iter().flatten()) {
            assert!((whole - parts).abs() < 1e-6 + 1e-3 * whole, "{whole} {parts}");
        }
    }
}
