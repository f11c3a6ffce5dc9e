//! Divergence between Gaussian fits of the activations.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{mean_over_nodes, positive};
use super::{Features, Loss, Signals};

/// Options of the loss `activation-kl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActivationKlConfig {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// Which fit is measured by which.
    pub direction: Direction,
    /// Added to all variances, above 0: the fit of a channel that never changes has a width too.
    pub epsilon: f64,
}

/// Which fit is measured by which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// `KL(student, teacher)`: divided by the teacher's variance, which stays.
    StudentTeacher,
    /// `KL(teacher, student)`: divided by the student's variance.
    TeacherStudent,
    /// The mean of both.
    Symmetric,
}

impl Default for ActivationKlConfig {
    fn default() -> Self {
        Self { nodes: Vec::new(), direction: Direction::StudentTeacher, epsilon: 1e-5 }
    }
}

/// Kullback-Leibler divergence between Gaussians fitted to each channel's activations in student and teacher.
///
/// ```text
/// L = 1/K * sum_k 1/C_k * sum_c KL(N(mu_s, var_s), N(mu_t, var_t))
/// KL(N(m, v), N(M, V)) = ( log(V / v) + (v + (m - M)^2) / V - 1 ) / 2
/// ```
/// `mu`, `var`: mean and biased variance, plus epsilon, of channel `c` of node `k` over the batch and all positions, in the student
/// (`s`, after fake quantization) and in the teacher (`t`). Single images need not agree, as they must for `feature-mse`.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted, mean over channels and nodes.
///
/// # Range
/// `>= 0`; 0 iff all means and variances coincide. Unit: nats.
///
/// # Source
/// Haroush et al., The knowledge within, CVPR 2020, the divergence between Gaussian fits of a layer's statistics
/// (recalled, not read).
///
/// # Differences from the source
/// The source matches the statistics of synthetic images to a teacher's batch norms; here the student's activations are matched to
/// the teacher's on the same images, at any node. `epsilon` (the default is that of the usual batch norm) and the directions are additions.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationKl {
    config: ActivationKlConfig,
}

/// Mean and variance of each channel, `[channel, 1]`.
struct Fit {
    mean: Tensor<2>,
    var: Tensor<2>,
}

impl Fit {
    fn new(output: Tensor<4>, epsilon: f64) -> Self {
        let [batch, channels, height, width] = output.dims();
        let rows: Tensor<2> = output.swap_dims(0, 1).reshape([channels, batch * height * width]);
        let (var, mean) = rows.var_mean_bias(1);
        Self { mean, var: var.add_scalar(epsilon) }
    }

    /// `KL(self, other)`, mean over channels, `[1]`.
    fn divergence(&self, other: &Self) -> Tensor<1> {
        let offset = (self.mean.clone() - other.mean.clone()).square();
        let log_ratio = other.var.clone().log() - self.var.clone().log();
        let share = (self.var.clone() + offset) / other.var.clone();
        (log_ratio + share).sub_scalar(1.0).mean().div_scalar(2.0)
    }
}

impl ActivationKl {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an epsilon that is not above 0.
    pub fn new(config: ActivationKlConfig) -> Result<Self, ConfigError> {
        positive("epsilon", config.epsilon)?;
        Ok(Self { config })
    }
}

impl Loss for ActivationKl {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        mean_over_nodes(signals, |pair| {
            let student = Fit::new(pair.student.clone(), self.config.epsilon);
            let teacher = Fit::new(pair.teacher.clone(), self.config.epsilon);
            match self.config.direction {
                Direction::StudentTeacher => student.divergence(&teacher),
                Direction::TeacherStudent => teacher.divergence(&student),
                Direction::Symmetric => (student.divergence(&teacher) + teacher.divergence(&student)).div_scalar(2.0),
            }
        })
    }
}

/// The loss `activation-kl`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "activation-kl",
    summary: "divergence between Gaussians fitted to each channel's activations at named nodes",
    source: "Haroush et al.: The knowledge within, CVPR 2020 (recalled, not read)",
    defaults: defaults_of::<ActivationKlConfig>,
    build: |table| Ok(Box::new(ActivationKl::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    fn value(direction: Direction, student: Tensor<4>, teacher: Tensor<4>) -> f64 {
        let logits = Tensor::<2>::zeros([1, 2], &Device::default());
        let features = vec![FeaturePair { node: "a".into(), student, teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        let config = ActivationKlConfig { direction, epsilon: 1e-9, ..ActivationKlConfig::default() };
        f64::from(floats(ActivationKl::new(config).unwrap().value(&signals))[0])
    }

    #[test]
    fn scaled_and_shifted_activations_have_their_closed_form() {
        // The teacher's channel has mean 0 and variance 1, the student's mean 1 and variance 4.
        let teacher = Tensor::<4>::from_floats([[[[1.0, -1.0]]], [[[-1.0, 1.0]]]], &Device::default());
        let student = teacher.clone().mul_scalar(2.0).add_scalar(1.0);
        let there = (0.25f64.ln() + 5.0 - 1.0) / 2.0;
        let back = (4f64.ln() + (1.0 + 1.0) / 4.0 - 1.0) / 2.0;
        for (direction, expected) in [
            (Direction::StudentTeacher, there),
            (Direction::TeacherStudent, back),
            (Direction::Symmetric, (there + back) / 2.0),
        ] {
            let found = value(direction, student.clone(), teacher.clone());
            assert!((found - expected).abs() < 1e-6, "{direction:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn it_does_not_matter_which_image_has_which_activations() {
        let student = Tensor::<4>::from_floats([[[[1.0, 2.0]]], [[[-1.0, 0.5]]]], &Device::default());
        let teacher = Tensor::<4>::from_floats([[[[-1.0, 1.0]]], [[[0.5, 2.0]]]], &Device::default());
        assert!(value(Direction::Symmetric, student, teacher).abs() < 1e-6);
    }

    #[test]
    fn a_dead_channel_has_a_finite_gradient() {
        let device = Device::default().autodiff();
        let student = Tensor::<4>::zeros([2, 1, 2, 2], &device).require_grad();
        let logits = Tensor::<2>::zeros([1, 2], &device);
        let pair = FeaturePair { node: "a".into(), student: student.clone(), teacher: student.clone().inner() };
        let signals = Signals { features: vec![pair], ..Signals::of_logits(logits.clone(), logits) };
        let loss = ActivationKl::new(ActivationKlConfig::default()).unwrap().value(&signals);
        let gradient = student.grad(&loss.backward()).unwrap();
        assert!(floats(gradient).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn an_epsilon_of_0_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { epsilon = 0.0 }).unwrap_err().to_string().contains("`epsilon`: 0"));
    }
}
