//! Agreement of class activation maps.

use blindfold_zoo::{ConfigError, Entry, Layer, Network, NodeId, Op, defaults_of, parse};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::parts::{one_hot, unit_rows};
use super::{Features, Loss, Signals};

/// The least maximum that a map is divided by: a map of zeros stays.
const LEAST_MAXIMUM: f64 = 1e-12;

/// Options of the loss `grad-cam`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradCamConfig {
    /// The class whose map is compared.
    pub target: CamTarget,
    /// What each image's map is divided by.
    pub normalise: CamNorm,
    /// Patterns of node names (`*` stands for any text) that one node matches: the input of the average pooling before
    /// the last layer. An empty list means the output of the last block.
    pub nodes: Vec<String>,
}

/// The class whose map is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CamTarget {
    /// The class that the teacher finds most likely.
    TeacherArgmax,
    /// The image's label.
    Label,
}

/// What each image's map is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CamNorm {
    /// Its Euclidean norm.
    L2,
    /// Its maximum.
    Max,
    /// Nothing.
    None,
}

impl Default for GradCamConfig {
    fn default() -> Self {
        Self { target: CamTarget::TeacherArgmax, normalise: CamNorm::L2, nodes: Vec::new() }
    }
}

/// Mean squared difference of the Grad-CAM maps of student and teacher: both should find the class in the same places.
///
/// ```text
/// L = 1/(N H W) * sum_n sum_hw ( M(a, V)_nhw - M(b, W)_nhw )^2
/// M(a, V)_nhw = g_nhw / norm_hw(g_n),   g_nhw = relu( sum_c alpha_nc * a_nchw )
/// alpha_nc = 1/(H W) * sum_hw d logit_y / d a_nchw = 1/(H W) * sum_p V_y,cp
/// ```
/// `a`, `b`: output of the node in student (after fake quantization) and teacher; `V`, `W`: weights of their last
/// linear layers, which read the channels `c` at the positions `p` that average pooling leaves (one, where it is
/// global); `y`: the class, one for both; `norm`: Euclidean norm, maximum or 1.
///
/// # Shapes
/// features `[batch, channel, height, width]`, weights `[classes, channel * positions]`; output `[1]`, unweighted.
///
/// # Range
/// `l2`: `0` to `2 / (H W)`; `max`: `0` to `1`; `none`: `>= 0`. 0 iff the (normalised) maps coincide. Unit: none, or
/// squared logit for `none`.
///
/// # Source
/// The map: Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 and 2. The loss: SynQ, ICLR 2025 (arXiv 2603.18423), CAM
/// alignment, with the weight 50 in its script for ResNet-18 at 3 bits (200 by default).
///
/// # Differences from the source
/// SynQ takes `alpha` from automatic differentiation; here it is written down, since Burn does not differentiate twice.
/// It is the same number where the map is followed by average pooling without padding and one linear layer, and only
/// there does the loss run. The gradient flows through the student's `alpha` into its last weights, as the formula
/// says; the pooling's or linear layer's own activation quantizers count as the identity in `alpha`, as their
/// straight-through gradient does. Which normalisation SynQ uses is not known to us.
///
/// # Errors
/// Before the training: a network that ends otherwise, and a node other than the pooling's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GradCam {
    config: GradCamConfig,
}

impl GradCam {
    /// The loss with these options; all are valid.
    pub fn new(config: GradCamConfig) -> Self {
        Self { config }
    }

    /// The maps of the chosen classes (one-hot, `[batch, classes]`), `[batch, height * width]`.
    fn maps(&self, output: Tensor<4>, weight: Tensor<2>, classes: Tensor<2>) -> Tensor<2> {
        let [batch, channels, height, width] = output.dims();
        let [_, features] = weight.dims();
        let (area, positions) = (height * width, features / channels);
        let rows: Tensor<3> = classes.matmul(weight).reshape([batch, channels, positions]);
        let alpha = rows.sum_dim(2).div_scalar(area as f64);
        let output: Tensor<3> = output.reshape([batch, channels, area]);
        let map: Tensor<2> = relu((output * alpha).sum_dim(1)).reshape([batch, area]);
        match self.config.normalise {
            CamNorm::L2 => unit_rows(map),
            CamNorm::Max => map.clone() / map.max_dim(1).clamp_min(LEAST_MAXIMUM),
            CamNorm::None => map,
        }
    }
}

/// The node whose output average pooling without padding and one linear layer turn into the logits.
fn pooled_node(network: &Network) -> Option<&str> {
    let before = |id: NodeId| network.node(id).inputs.first().copied();
    if !matches!(network.node(network.output()).layer, Layer::Linear(_)) {
        return None;
    }
    let mut id = before(network.output())?;
    while matches!(network.node(id).layer.op(), Some(Op::Flatten)) {
        id = before(id)?;
    }
    match network.node(id).layer.op()? {
        Op::GlobalAvgPool | Op::AvgPool { padding: 0, .. } => Some(network.node(before(id)?).name.as_str()),
        _ => None,
    }
}

impl Loss for GradCam {
    fn features(&self) -> Features<'_> {
        Features::last_block_or(&self.config.nodes)
    }

    fn needs_labels(&self) -> bool {
        self.config.target == CamTarget::Label
    }

    /// For the networks: it reads their last layers, and shows them no other images.
    fn needs_images(&self) -> bool {
        true
    }

    fn check(&self, network: &Network, nodes: &[String]) -> Result<(), ConfigError> {
        let found = format!("`{}`", nodes.join("`, `"));
        match pooled_node(network) {
            None => {
                let fix = format!(
                    "this loss needs average pooling (without padding) and one linear layer at the end: the network {} \
                     ends otherwise",
                    network.name()
                );
                Err(ConfigError::invalid("nodes", found, fix))
            }
            Some(pooled) if nodes != [pooled] => {
                let fix = format!(
                    "the map must be what the average pooling of {} reads: write nodes = [\"{pooled}\"]",
                    network.name()
                );
                Err(ConfigError::invalid("nodes", found, fix))
            }
            Some(_) => Ok(()),
        }
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let networks = signals.networks.expect("a loss that needs images is given the networks");
        let head = networks.head().expect("the check before the training has found the last linear layer");
        let pair = signals.features.first().expect("the check before the training has found the node");
        let [_, classes] = signals.teacher.dims();
        let chosen = match self.config.target {
            CamTarget::TeacherArgmax => signals.teacher.clone().argmax(1).squeeze_dim(1),
            CamTarget::Label => signals.hard_labels(),
        };
        let chosen = one_hot(chosen, classes);
        let student = self.maps(pair.student.clone(), head.student, chosen.clone());
        let teacher = self.maps(pair.teacher.clone(), head.teacher, chosen);
        (student - teacher).square().mean()
    }
}

/// The loss `grad-cam`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "grad-cam",
    summary: "mean squared difference of the class activation maps of student and teacher",
    source: "the map: Selvaraju et al.: Grad-CAM, ICCV 2017, eq. 1 and 2; the loss: SynQ, ICLR 2025",
    defaults: defaults_of::<GradCamConfig>,
    build: |table| parse(table).map(|config| Box::new(GradCam::new(config)) as Box<dyn Loss>),
};

#[cfg(test)]
mod tests;
