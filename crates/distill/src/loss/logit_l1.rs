//! Absolute distance of logits.

use blindfold_zoo::{Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Loss, Signals};

/// Options of the loss `logit-l1`: it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitL1Config {}

/// Mean absolute difference of the logits.
///
/// ```text
/// L = 1/(N * C) * sum_n sum_c |s_nc - t_nc|
/// ```
/// `s`, `t`: logits of student and teacher.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff the logits coincide. Unit: logit.
///
/// # Source
/// Liu, Zhang and Wang, Zero-shot adversarial quantization (ZAQ), CVPR 2021, the output discrepancy.
///
/// # Differences from the source
/// The mean over images and classes, as `torch.nn.L1Loss`. The source's student minimises it together with a distance of features
/// (`scrm`), and its generator makes both large: here each is a loss of its own, and what a generator does stands with the generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogitL1;

impl Loss for LogitL1 {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        (signals.student.clone() - signals.teacher.clone()).abs().mean()
    }
}

/// The loss `logit-l1`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "logit-l1",
    summary: "mean absolute difference from the teacher's logits",
    source: "Liu, Zhang, Wang: Zero-shot adversarial quantization, CVPR 2021",
    defaults: defaults_of::<LogitL1Config>,
    build: |table| parse::<LogitL1Config>(table).map(|_| Box::new(LogitL1) as Box<dyn Loss>),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn a_constant_offset_costs_its_size() {
        let teacher = Tensor::<2>::from_floats([[1.0, -2.0], [0.0, 3.0]], &Device::default());
        let signals = Signals::of_logits(teacher.clone() - 3.0, teacher);
        assert!((floats(LogitL1.value(&signals))[0] - 3.0).abs() < 1e-6);
    }
}
