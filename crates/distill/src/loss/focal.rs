//! Cross-entropy that counts difficult images more.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use serde::{Deserialize, Serialize};

use super::cross_entropy::Target;
use super::parts::non_negative;
use super::{Loss, Signals};

/// The least difficulty: powers below 1 have a finite gradient from here on.
const LEAST_DIFFICULTY: f64 = 1e-6;

/// Options of the loss `focal`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FocalConfig {
    /// What the student should answer.
    pub target: Target,
    /// The power of the difficulty, at least 0; 0 is the plain cross-entropy.
    pub gamma: f64,
    /// Which network an image is difficult for.
    pub judge: Judge,
    /// Whether the weight counts as a constant in the gradient.
    pub detach: bool,
}

/// Which network an image is difficult for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judge {
    /// The student (Lin et al.).
    Student,
    /// The teacher (HAST).
    Teacher,
}

impl Default for FocalConfig {
    fn default() -> Self {
        Self { target: Target::TeacherArgmax, gamma: 2.0, judge: Judge::Student, detach: false }
    }
}

/// Cross-entropy, each image weighted by how difficult it is.
///
/// ```text
/// L = 1/N * sum_n (1 - p_n)^gamma * CE_n          CE_n = -sum_c y_nc log softmax(s_n)_c,   p_n = sum_c y_nc softmax(z_n)_c
/// ```
/// `y`: the target's distribution; `s`: the student's logits; `z`: those of the judge; `1 - p_n`: the difficulty of image `n`,
/// at least `1e-6`.
///
/// # Shapes
/// logits and soft labels `[batch, classes]`, labels `[batch]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `>= 0`; with a one-hot target, 0 iff the student is sure of it. Unit: nats.
///
/// # Source
/// Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 4 (judge `student`); Li et al., HAST, CVPR 2023, the weight of
/// the hard-sample-enhanced inception loss (judge `teacher`; `gamma` 2 on CIFAR, 0.5 on ImageNet).
///
/// # Differences from the source
/// HAST weights the teacher's own cross-entropy, in the images; here it is the student's. The probability of a soft target is an addition.
#[derive(Debug, Clone, PartialEq)]
pub struct Focal {
    config: FocalConfig,
}

impl Focal {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `gamma` below 0.
    pub fn new(config: FocalConfig) -> Result<Self, ConfigError> {
        non_negative("gamma", config.gamma)?;
        Ok(Self { config })
    }
}

impl Loss for Focal {
    fn needs_labels(&self) -> bool {
        self.config.target.needs_labels()
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let target = self.config.target.distribution(signals);
        let cross_entropy = (target.clone() * log_softmax(signals.student.clone(), 1)).sum_dim(1).neg();
        let judged = match self.config.judge {
            Judge::Student => signals.student.clone(),
            Judge::Teacher => signals.teacher.clone(),
        };
        let easiness = (target * softmax(judged, 1)).sum_dim(1);
        let weight = easiness.neg().add_scalar(1.0).clamp_min(LEAST_DIFFICULTY).powf_scalar(self.config.gamma);
        let weight = if self.config.detach { weight.detach() } else { weight };
        (weight * cross_entropy).mean()
    }
}

/// The loss `focal`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "focal",
    summary: "cross-entropy weighted by each image's difficulty (1 - p)^gamma, for the student or for the teacher",
    source: "Lin et al.: Focal loss for dense object detection, ICCV 2017, eq. 4; Li et al.: HAST, CVPR 2023",
    defaults: defaults_of::<FocalConfig>,
    build: |table| Ok(Box::new(Focal::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::cross_entropy::{CrossEntropy, CrossEntropyConfig};
    use crate::reference::floats;

    #[test]
    fn the_power_0_is_the_cross_entropy() {
        let device = Device::default();
        let student = Tensor::<2>::from_floats([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], &device);
        let teacher = Tensor::<2>::from_floats([[0.0, 1.0, 0.5], [0.5, 2.0, -1.0]], &device);
        let signals = Signals::of_logits(student, teacher);
        let plain = CrossEntropy::new(CrossEntropyConfig::default()).unwrap().value(&signals);
        let focal = Focal::new(FocalConfig { gamma: 0.0, ..FocalConfig::default() }).unwrap().value(&signals);
        assert!((floats(plain)[0] - floats(focal)[0]).abs() < 1e-6);
    }

    #[test]
    fn an_easy_image_counts_less() {
        let device = Device::default();
        let (easy, even) = (3f32.ln(), 0.0);
        let value = |judge, teacher: f32| {
            let student = Tensor::<2>::from_floats([[easy, 0.0]], &device);
            let teacher = Tensor::<2>::from_floats([[teacher, 0.0]], &device);
            let labels = Some(Tensor::from_ints([0], &device));
            let signals = Signals { labels, ..Signals::of_logits(student, teacher) };
            let config = FocalConfig { judge, target: Target::Label, ..FocalConfig::default() };
            floats(Focal::new(config).unwrap().value(&signals))[0]
        };
        // The student gives the class 3/4, the teacher 3/4 or 1/2: the weight is 1/16 or 1/4.
        let cross_entropy = (4f32 / 3.0).ln();
        assert!((value(Judge::Student, even) - cross_entropy / 16.0).abs() < 1e-6);
        assert!((value(Judge::Teacher, easy) - cross_entropy / 16.0).abs() < 1e-6);
        assert!((value(Judge::Teacher, even) - cross_entropy / 4.0).abs() < 1e-6);
    }

    #[test]
    fn a_sure_image_has_a_finite_gradient_at_every_power() {
        let device = Device::default().autodiff();
        for gamma in [0.0, 0.5, 1.0, 2.0] {
            let student = Tensor::<2>::from_floats([[80.0, 0.0]], &device).require_grad();
            let signals = Signals::of_logits(student.clone(), student.clone().inner());
            let loss = Focal::new(FocalConfig { gamma, ..FocalConfig::default() }).unwrap().value(&signals);
            let gradient = student.grad(&loss.backward()).unwrap();
            assert!(floats(gradient).iter().all(|value| value.is_finite()), "{gamma}");
        }
    }

    #[test]
    fn a_negative_power_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { gamma = -1.0 }).unwrap_err().to_string().contains("`gamma`: -1"));
    }
}
