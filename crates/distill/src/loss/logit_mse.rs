//! Squared distance of logits.

use blindfold_zoo::{Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Loss, Signals};

/// Options of the loss `logit-mse`: it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitMseConfig {}

/// Mean squared difference of the logits.
///
/// ```text
/// L = 1/(N * C) * sum_n sum_c (s_nc - t_nc)^2
/// ```
/// `s`, `t`: logits of student and teacher.
///
/// # Shapes
/// logits `[batch, classes]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff the logits coincide. Unit: squared logit.
///
/// # Source
/// Ba and Caruana, Do deep nets really need to be deep?, NIPS 2014, eq. 1 (there summed over classes and halved).
///
/// # Differences from the source
/// The mean over classes, as `torch.nn.MSELoss`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogitMse;

impl Loss for LogitMse {
    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        (signals.student.clone() - signals.teacher.clone()).square().mean()
    }
}

/// The loss `logit-mse`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "logit-mse",
    summary: "mean squared difference from the teacher's logits",
    source: "Ba, Caruana: Do deep nets really need to be deep?, NIPS 2014, eq. 1",
    defaults: defaults_of::<LogitMseConfig>,
    build: |table| parse::<LogitMseConfig>(table).map(|_| Box::new(LogitMse) as Box<dyn Loss>),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn a_constant_offset_costs_its_square() {
        let teacher = Tensor::<2>::from_floats([[1.0, -2.0], [0.0, 3.0]], &Device::default());
        let signals = Signals::of_logits(teacher.clone() + 3.0, teacher);
        assert!((floats(LogitMse.value(&signals))[0] - 9.0).abs() < 1e-5);
    }
}
