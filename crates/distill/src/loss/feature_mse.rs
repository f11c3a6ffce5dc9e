//! Squared distance of the outputs of inner nodes.

use blindfold_zoo::{Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::mean_over_nodes;
use super::{Features, Loss, Signals};

/// Options of the loss `feature-mse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureMseConfig {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// Divide each node's term by the mean square of the teacher's output there, so that all nodes count alike.
    pub relative: bool,
}

/// Mean squared difference of the outputs of named nodes, mean over nodes.
///
/// ```text
/// L = 1/K * sum_k mean((a_k - b_k)^2) / m_k          m_k = mean(b_k^2) if relative, else 1
/// ```
/// `a_k`, `b_k`: outputs of node `k` in student (after fake quantization) and teacher; means over images, channels, positions.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted.
///
/// # Range
/// `>= 0`; 0 iff all outputs coincide. Unit: squared activation, or none if relative.
///
/// # Source
/// Romero et al., FitNets: hints for thin deep nets, ICLR 2015, eq. 3, without the regressor: student and teacher have equal shapes.
///
/// # Differences from the source
/// Means instead of half the sum; `relative` is an addition (its denominator is guarded by `1e-12`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureMse {
    config: FeatureMseConfig,
}

impl FeatureMse {
    /// The loss with these options; all are valid.
    pub fn new(config: FeatureMseConfig) -> Self {
        Self { config }
    }
}

impl Loss for FeatureMse {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        mean_over_nodes(signals, |pair| {
            let error = (pair.student.clone() - pair.teacher.clone()).square().mean();
            match self.config.relative {
                true => error / pair.teacher.clone().square().mean().clamp_min(1e-12),
                false => error,
            }
        })
    }
}

/// The loss `feature-mse`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "feature-mse",
    summary: "mean squared difference from the teacher's outputs at named nodes",
    source: "Romero et al.: FitNets, hints for thin deep nets, ICLR 2015, eq. 3",
    defaults: defaults_of::<FeatureMseConfig>,
    build: |table| parse(table).map(|config| Box::new(FeatureMse::new(config)) as Box<dyn Loss>),
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
        let at_scale = |scale: f64| {
            let pair = FeaturePair {
                node: "a".into(),
                student: teacher.clone().mul_scalar(1.1 * scale),
                teacher: teacher.clone().mul_scalar(scale),
            };
            let logits = Tensor::<2>::zeros([1, 2], &device);
            let signals = Signals { features: vec![pair], ..Signals::of_logits(logits.clone(), logits) };
            floats(FeatureMse::new(FeatureMseConfig { relative: true, ..Default::default() }).value(&signals))[0]
        };
        assert!((at_scale(1.0) - 0.01).abs() < 1e-6);
        assert!((at_scale(50.0) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn an_empty_list_of_nodes_means_the_blocks() {
        assert_eq!(FeatureMse::new(FeatureMseConfig::default()).features(), Features::Blocks);
        let nodes = vec!["layer*.relu2".to_owned()];
        assert_eq!(
            FeatureMse::new(FeatureMseConfig { nodes: nodes.clone(), relative: false }).features(),
            Features::Matching(&nodes)
        );
    }
}
