//! Distance of features after spatial and channel attention.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde::{Deserialize, Serialize};

use super::parts::{non_negative, sum_over_nodes, unit_along};
use super::{Features, Loss, Signals};

/// Options of the loss `scrm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrmConfig {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// How much of the attended features is added to the features, at least 0.
    pub gamma: f64,
}

impl Default for ScrmConfig {
    fn default() -> Self {
        Self { nodes: Vec::new(), gamma: 0.1 }
    }
}

/// Absolute distance of normalised features, to which each position has added what similar positions hold, and each channel what
/// dissimilar channels hold; sum over nodes (ZAQ's spatial and channel relation maps).
///
/// ```text
/// L = sum_k mean(|S(f_s) - S(f_t)|) + mean(|K(f_s) - K(f_t)|)          f = x / |x|_2 over channels, at each position
/// S(f) = f + gamma * f A^T,   A = softmax(f^T f)   [positions, positions]
/// K(f) = f + gamma * B f,     B = softmax(-f f^T)  [channels, channels]
/// ```
/// `x`: output of node `k` as a matrix `[channels, positions]` an image, in student (`s`, after fake quantization) and teacher (`t`);
/// softmax over rows; means over images, channels and positions. `A` takes `positions^2` numbers an image: choose nodes with small maps.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted, sum over nodes.
///
/// # Range
/// `>= 0`; 0 where the normalised features coincide, that is where each position's features point the same way; at most
/// `4 (1 + gamma)` a node. Unit: none.
///
/// # Source
/// Liu, Zhang and Wang, Zero-shot adversarial quantization (ZAQ), CVPR 2021, the intermediate discrepancy, as in its code (`gamma` 0.1);
/// the two attentions: Fu et al., Dual attention network, CVPR 2019.
///
/// # Differences from the source
/// The source writes the channels' energies as `max - f f^T`; the maximum drops out of the softmax. A position of zeros alone has no
/// gradient here, and one of size `1e12` there.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrm {
    config: ScrmConfig,
}

impl Scrm {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `gamma` below 0.
    pub fn new(config: ScrmConfig) -> Result<Self, ConfigError> {
        non_negative("gamma", config.gamma)?;
        Ok(Self { config })
    }

    fn spatial(&self, features: &Tensor<3>) -> Tensor<3> {
        let energy = features.clone().swap_dims(1, 2).matmul(features.clone());
        let attended = features.clone().matmul(softmax(energy, 2).swap_dims(1, 2));
        features.clone() + attended.mul_scalar(self.config.gamma)
    }

    fn channel(&self, features: &Tensor<3>) -> Tensor<3> {
        let energy = features.clone().matmul(features.clone().swap_dims(1, 2)).neg();
        let attended = softmax(energy, 2).matmul(features.clone());
        features.clone() + attended.mul_scalar(self.config.gamma)
    }
}

/// The features of each position divided by their norm, `[batch, channels, positions]`.
fn normalised(output: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = output.dims();
    unit_along(output.reshape([batch, channels, height * width]), 1)
}

impl Loss for Scrm {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        sum_over_nodes(signals, |pair| {
            let (student, teacher) = (normalised(pair.student.clone()), normalised(pair.teacher.clone()));
            let spatial = (self.spatial(&student) - self.spatial(&teacher)).abs().mean();
            spatial + (self.channel(&student) - self.channel(&teacher)).abs().mean()
        })
    }
}

/// The loss `scrm`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "scrm",
    summary: "absolute distance of normalised features after spatial and channel attention at named nodes",
    source: "Liu, Zhang, Wang: Zero-shot adversarial quantization, CVPR 2021; Fu et al.: Dual attention network, CVPR 2019",
    defaults: defaults_of::<ScrmConfig>,
    build: |table| Ok(Box::new(Scrm::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    fn value(gamma: f64, student: Tensor<4>, teacher: Tensor<4>) -> f64 {
        let logits = Tensor::<2>::zeros([1, 2], &Device::default());
        let features = vec![FeaturePair { node: "a".into(), student, teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        let loss = Scrm::new(ScrmConfig { gamma, ..ScrmConfig::default() }).unwrap();
        f64::from(floats(loss.value(&signals))[0])
    }

    #[test]
    fn the_length_of_a_positions_features_does_not_matter() {
        let device = Device::default();
        let teacher = Tensor::<4>::from_floats([[[[3.0, -1.0]], [[4.0, 2.0]]]], &device);
        let lengths = Tensor::<4>::from_floats([[[[0.5, 7.0]]]], &device);
        assert!(value(0.1, teacher.clone() * lengths, teacher) < 1e-6);
    }

    #[test]
    fn one_position_has_its_closed_form() {
        let device = Device::default();
        let teacher = Tensor::<4>::from_floats([[[[1.0]], [[0.0]]]], &device);
        let student = Tensor::<4>::from_floats([[[[0.0]], [[1.0]]]], &device);
        // Without attention both terms are mean|f_s - f_t| = 1.
        assert!((value(0.0, student.clone(), teacher.clone()) - 2.0).abs() < 1e-6);
        // One position attends to itself: (1 + gamma) f. Of two channels (1, 0), the first gives itself e^-1 / (1 + e^-1), the second
        // takes 1/2 of the first.
        let gamma = 0.5;
        let (own, other) = ((-1f64).exp() / (1.0 + (-1f64).exp()), 0.5);
        let channel = (1.0 + gamma * own - gamma * other).abs();
        let expected = (1.0 + gamma) + channel;
        let found = value(gamma, student, teacher);
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn a_dead_position_has_no_gradient() {
        let device = Device::default().autodiff();
        let student = Tensor::<4>::zeros([1, 2, 2, 2], &device).require_grad();
        let teacher = Tensor::<4>::ones([1, 2, 2, 2], &device);
        let logits = Tensor::<2>::zeros([1, 2], &device);
        let features = vec![FeaturePair { node: "a".into(), student: student.clone(), teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        let loss = Scrm::new(ScrmConfig::default()).unwrap().value(&signals);
        let gradient = student.grad(&loss.backward()).unwrap();
        assert!(floats(gradient).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_negative_gamma_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { gamma = -0.5 }).unwrap_err().to_string().contains("`gamma`: -0.5"));
    }
}
