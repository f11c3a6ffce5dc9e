//! Absolute distance of the outputs of inner nodes.

use blindfold_zoo::{Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::mean_over_nodes;
use super::{Features, Loss, Signals};

/// Options of the loss `feature-l1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureL1Config {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// Divide each node's term by the mean size of the teacher's output there, so that all nodes count alike.
    pub relative: bool,
}

/// Mean absolute difference of the outputs of named nodes, mean over nodes: less drawn to single large errors than `feature-mse`.
///
/// ```text
/// L = 1/K * sum_k mean(|a_k - b_k|) / m_k          m_k = mean(|b_k|) if relative, else 1
/// ```
/// `a_k`, `b_k`: outputs of node `k` in student (after fake quantization) and teacher; means over images, channels, positions.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff all outputs coincide. Unit: activation, or none if relative.
///
/// # Source
/// The hint of Romero et al., FitNets, ICLR 2015, eq. 3, with the L1 norm that Liu et al., ZAQ, CVPR 2021, measure features by.
///
/// # Differences from the source
/// Without FitNets' regressor and ZAQ's transforms (`scrm` has those): student and teacher have equal shapes, and the outputs are
/// compared as they are. `relative` is an addition (its denominator is guarded by `1e-12`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureL1 {
    config: FeatureL1Config,
}

impl FeatureL1 {
    /// The loss with these options; all are valid.
    pub fn new(config: FeatureL1Config) -> Self {
        Self { config }
    }
}

impl Loss for FeatureL1 {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        mean_over_nodes(signals, |pair| {
            let error = (pair.student.clone() - pair.teacher.clone()).abs().mean();
            match self.config.relative {
                true => error / pair.teacher.clone().abs().mean().clamp_min(1e-12),
                false => error,
            }
        })
    }
}

/// The loss `feature-l1`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "feature-l1",
    summary: "mean absolute difference from the teacher's outputs at named nodes",
    source: "Romero et al.: FitNets, ICLR 2015, eq. 3; Liu et al.: ZAQ, CVPR 2021 (the L1 norm)",
    defaults: defaults_of::<FeatureL1Config>,
    build: |table| parse(table).map(|config| Box::new(FeatureL1::new(config)) as Box<dyn Loss>),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    #[test]
    fn relative_terms_do_not_depend_on_the_scale_of_a_node() {
        let device = Device::default();
        let teacher = Tensor::<4>::from_floats([[[[1.0, -2.0], [3.0, 0.5]]]], &device);
        let at_scale = |scale: f64, relative| {
            let pair = FeaturePair {
                node: "a".into(),
                student: teacher.clone().mul_scalar(1.25 * scale),
                teacher: teacher.clone().mul_scalar(scale),
            };
            let logits = Tensor::<2>::zeros([1, 2], &device);
            let signals = Signals { features: vec![pair], ..Signals::of_logits(logits.clone(), logits) };
            let config = FeatureL1Config { relative, ..FeatureL1Config::default() };
            floats(FeatureL1::new(config).value(&signals))[0]
        };
        assert!((at_scale(1.0, true) - 0.25).abs() < 1e-6);
        assert!((at_scale(50.0, true) - 0.25).abs() < 1e-6);
        assert!((at_scale(2.0, false) - 0.25 * 2.0 * 6.5 / 4.0).abs() < 1e-6);
    }
}
