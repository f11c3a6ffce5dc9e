//! Cross-entropy with labels or with the teacher's answer.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use serde::{Deserialize, Serialize};

use super::parts::one_hot;
use super::{Loss, Signals};

/// Options of the loss `cross-entropy`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropyConfig {
    /// What the student should answer.
    pub target: Target,
    /// Share of the target that is spread evenly over all classes, at least 0 and below 1.
    pub smoothing: f64,
}

/// What the student should answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The image's label: for synthetic images, the class that they were made for. Of a soft label, the class with the largest share.
    Label,
    /// The soft label where the images have superposed or mixed ones, else the label.
    SoftLabel,
    /// The class that the teacher finds most likely.
    #[default]
    TeacherArgmax,
    /// The teacher's distribution.
    TeacherSoft,
}

impl Target {
    /// Whether the images need labels for it.
    pub(super) fn needs_labels(self) -> bool {
        matches!(self, Self::Label | Self::SoftLabel)
    }

    /// The distribution that the student should answer, `[batch, classes]`.
    pub(super) fn distribution(self, signals: &Signals<'_>) -> Tensor<2> {
        let [_, classes] = signals.student.dims();
        match self {
            Self::Label => one_hot(signals.hard_labels(), classes),
            Self::SoftLabel => signals.label_shares(),
            Self::TeacherArgmax => one_hot(signals.teacher.clone().argmax(1).squeeze_dim(1), classes),
            Self::TeacherSoft => softmax(signals.teacher.clone(), 1),
        }
    }
}

/// Cross-entropy of the student's distribution with the target's.
///
/// ```text
/// L = -1/N * sum_n sum_c y_nc * log softmax(s_n)_c          y = (1 - e) * target + e / C
/// ```
/// `s`: the student's logits; `target`: one-hot (`label`, `teacher-argmax`), the shares of the classes (`soft-label`, one-hot where
/// the images have hard labels alone) or `softmax(t)` (`teacher-soft`); `e`: smoothing.
///
/// # Shapes
/// logits and soft labels `[batch, classes]`, labels `[batch]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `>= 0`; at least the mean entropy of `y`, which it reaches iff the student's distribution is `y`. Unit: nats.
///
/// # Source
/// Label smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7, as in `torch.nn.functional.cross_entropy`;
/// soft labels of superposed images: Choi et al., Qimera, NeurIPS 2021.
///
/// # Differences from the source
/// None. A label that is no class gives a target of zeros; the trainers refuse such labels.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    config: CrossEntropyConfig,
}

impl CrossEntropy {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a smoothing outside `[0, 1)`.
    pub fn new(config: CrossEntropyConfig) -> Result<Self, ConfigError> {
        match (0.0..1.0).contains(&config.smoothing) {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("smoothing", config.smoothing, "write a number >= 0 and < 1")),
        }
    }
}

impl Loss for CrossEntropy {
    fn needs_labels(&self) -> bool {
        self.config.target.needs_labels()
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let [batch, classes] = signals.student.dims();
        let target = self.config.target.distribution(signals);
        let smoothed = match self.config.smoothing {
            0.0 => target,
            share => target.mul_scalar(1.0 - share).add_scalar(share / classes as f64),
        };
        (smoothed * log_softmax(signals.student.clone(), 1)).sum().mul_scalar(-1.0 / batch as f64)
    }
}

/// The loss `cross-entropy`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "cross-entropy",
    summary: "cross-entropy with the images' labels (hard or soft), the teacher's best class or its distribution",
    source: "label smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7",
    defaults: defaults_of::<CrossEntropyConfig>,
    build: |table| Ok(Box::new(CrossEntropy::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn a_uniform_student_costs_the_logarithm_of_the_classes() {
        let device = Device::default();
        let (student, teacher) = (Tensor::zeros([3, 7], &device), Tensor::ones([3, 7], &device));
        let labels = Some(Tensor::from_ints([0, 6, 3], &device));
        let signals = Signals { labels, ..Signals::of_logits(student, teacher) };
        for target in [Target::Label, Target::SoftLabel, Target::TeacherArgmax, Target::TeacherSoft] {
            let loss = CrossEntropy::new(CrossEntropyConfig { target, smoothing: 0.3 }).unwrap();
            assert!((floats(loss.value(&signals))[0] - 7f32.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn soft_labels_count_where_they_are_asked_for() {
        let device = Device::default();
        let student = Tensor::<2>::from_floats([[1.0, 0.0, -1.0]], &device);
        let value = |target, soft: [[f32; 3]; 1]| {
            let soft_labels = Some(Tensor::from_floats(soft, &device));
            let signals = Signals { soft_labels, ..Signals::of_logits(student.clone(), student.clone()) };
            floats(CrossEntropy::new(CrossEntropyConfig { target, smoothing: 0.0 }).unwrap().value(&signals))[0]
        };
        let partition = (1f32.exp() + 1.0 + (-1f32).exp()).ln();
        assert!((value(Target::SoftLabel, [[0.25, 0.25, 0.5]]) - (partition + 0.25)).abs() < 1e-6);
        assert!((value(Target::Label, [[0.25, 0.25, 0.5]]) - (partition + 1.0)).abs() < 1e-6);
    }

    #[test]
    fn only_the_labels_as_targets_need_labels() {
        let needs = |target| CrossEntropy::new(CrossEntropyConfig { target, smoothing: 0.0 }).unwrap().needs_labels();
        assert!(needs(Target::Label));
        assert!(needs(Target::SoftLabel));
        assert!(!needs(Target::TeacherArgmax));
        assert!(!needs(Target::TeacherSoft));
    }

    #[test]
    fn a_smoothing_of_one_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { smoothing = 1.0 }).unwrap_err().to_string().contains("`smoothing`: 1"));
    }
}
