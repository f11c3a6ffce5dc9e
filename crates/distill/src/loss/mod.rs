//! Losses: how far a student is from its teacher. A plugin family, one file a member.

pub mod attention;
pub mod cross_entropy;
pub mod feature_mse;
pub mod kl;
pub mod logit_mse;

use std::fmt::Debug;

use blindfold_zoo::{ConfigError, Entry, Family};
use burn::tensor::{Int, Tensor};

/// The losses that come with Blindfold.
pub const BUILTIN: &[Entry<dyn Loss>] =
    &[kl::ENTRY, cross_entropy::ENTRY, logit_mse::ENTRY, feature_mse::ENTRY, attention::ENTRY];

/// The plugin family `loss` with its built-in members.
///
/// # Errors
/// [`ConfigError::Duplicate`] when two members share a name.
pub fn losses() -> Result<Family<dyn Loss>, ConfigError> {
    Family::new("loss", BUILTIN)
}

/// A distance between what a student and its teacher make of the same images; differentiable in the student.
///
/// Implementations are pure: they hold their options and no state, so that a resumed training is the same training.
pub trait Loss: Debug + Send + Sync {
    /// The nodes whose outputs it compares; none by default.
    fn features(&self) -> Features<'_> {
        Features::None
    }

    /// Whether it needs the labels of the images; no by default.
    fn needs_labels(&self) -> bool {
        false
    }

    /// Its value `[1]`, unweighted.
    fn value(&self, signals: &Signals) -> Tensor<1>;
}

/// The nodes whose outputs a loss compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features<'a> {
    /// None: it compares logits alone.
    None,
    /// The outputs of all residual (or dense) blocks.
    Blocks,
    /// The nodes that one of these patterns matches; `*` stands for any text.
    Matching(&'a [String]),
}

impl Features<'_> {
    /// The choice that a config's list of patterns makes: an empty list means the blocks.
    pub(crate) fn of_patterns(patterns: &[String]) -> Features<'_> {
        match patterns.is_empty() {
            true => Features::Blocks,
            false => Features::Matching(patterns),
        }
    }
}

/// What one batch shows to a loss.
#[derive(Debug, Clone)]
pub struct Signals {
    /// The student's logits, `[batch, classes]`.
    pub student: Tensor<2>,
    /// The teacher's logits, `[batch, classes]`, without gradient.
    pub teacher: Tensor<2>,
    /// The labels of the images, `[batch]`, below the number of classes; there whenever the loss needs them.
    pub labels: Option<Tensor<1, Int>>,
    /// The outputs of the nodes that the loss asked for, in the network's order.
    pub features: Vec<FeaturePair>,
}

/// The outputs of one node, `[batch, channel, height, width]` on both sides.
#[derive(Debug, Clone)]
pub struct FeaturePair {
    /// The node's name.
    pub node: String,
    /// The student's.
    pub student: Tensor<4>,
    /// The teacher's, without gradient.
    pub teacher: Tensor<4>,
}
