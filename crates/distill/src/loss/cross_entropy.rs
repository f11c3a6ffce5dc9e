//! Cross-entropy with labels or with the teacher's answer.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

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
    /// The image's label: for synthetic images, the class that they were made for.
    Label,
    /// The class that the teacher finds most likely.
    #[default]
    TeacherArgmax,
    /// The teacher's distribution.
    TeacherSoft,
}

/// Cross-entropy of the student's distribution with the target's.
///
/// ```text
/// L = -1/N * sum_n sum_c y_nc * log softmax(s_n)_c          y = (1 - e) * target + e / C
/// ```
/// `s`: the student's logits; `target`: one-hot (`label`, `teacher-argmax`) or `softmax(t)` (`teacher-soft`); `e`: smoothing.
///
/// # Shapes
/// logits `[batch, classes]`, labels `[batch]`; output `[1]`, unweighted, mean over images.
///
/// # Range
/// `>= 0`; at least the mean entropy of `y`, which it reaches iff the student's distribution is `y`. Unit: nats.
///
/// # Source
/// Label smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7, as in `torch.nn.functional.cross_entropy`.
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
        self.config.target == Target::Label
    }

    fn value(&self, signals: &Signals) -> Tensor<1> {
        let [batch, classes] = signals.student.dims();
        let target = match self.config.target {
            Target::Label => {
                let labels = signals.labels.clone().expect("a loss that needs labels is given them");
                one_hot(labels.reshape([batch, 1]), classes)
            }
            Target::TeacherArgmax => one_hot(signals.teacher.clone().argmax(1), classes),
            Target::TeacherSoft => softmax(signals.teacher.clone(), 1),
        };
        let smoothed = match self.config.smoothing {
            0.0 => target,
            share => target.mul_scalar(1.0 - share).add_scalar(share / classes as f64),
        };
        (smoothed * log_softmax(signals.student.clone(), 1)).sum().mul_scalar(-1.0 / batch as f64)
    }
}

fn one_hot(index: Tensor<2, Int>, classes: usize) -> Tensor<2> {
    let [batch, _] = index.dims();
    let all =
        Tensor::<1, Int>::arange(0..classes as i64, &index.device()).reshape([1, classes]).expand([batch, classes]);
    index.expand([batch, classes]).equal(all).float()
}

/// The loss `cross-entropy`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "cross-entropy",
    summary: "cross-entropy with the images' labels, the teacher's best class or its distribution",
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
        let signals = Signals {
            student: Tensor::zeros([3, 7], &device),
            teacher: Tensor::ones([3, 7], &device),
            labels: Some(Tensor::from_ints([0, 6, 3], &device)),
            features: Vec::new(),
        };
        for target in [Target::Label, Target::TeacherArgmax, Target::TeacherSoft] {
            let loss = CrossEntropy::new(CrossEntropyConfig { target, smoothing: 0.3 }).unwrap();
            assert!((floats(loss.value(&signals))[0] - 7f32.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn only_the_target_label_needs_labels() {
        let needs = |target| CrossEntropy::new(CrossEntropyConfig { target, smoothing: 0.0 }).unwrap().needs_labels();
        assert!(needs(Target::Label));
        assert!(!needs(Target::TeacherArgmax));
        assert!(!needs(Target::TeacherSoft));
    }

    #[test]
    fn a_smoothing_of_one_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { smoothing = 1.0 }).unwrap_err().to_string().contains("`smoothing`: 1"));
    }
}
