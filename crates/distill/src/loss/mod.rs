//! Losses: how far a student is from its teacher. A plugin family, one file a member.

pub mod activation_kl;
pub mod attention;
pub mod contrastive;
pub mod cross_entropy;
pub mod entropy;
pub mod entropy_difference;
pub mod feature_l1;
pub mod feature_mse;
pub mod focal;
pub mod grad_cam;
pub mod info_nce;
pub mod js;
pub mod kl;
pub mod logit_l1;
pub mod logit_mse;
pub mod logit_range;
pub mod masked_cross_entropy;
pub mod masked_patch;
pub mod mmd;
pub mod mutual_information;
mod parts;
pub mod rotation;
pub mod scrm;
mod signals;

use std::fmt::Debug;

use blindfold_zoo::{ConfigError, Entry, Family, Network};
use burn::tensor::Tensor;

pub use signals::{FeaturePair, Head, Pair, Signals, View};

/// The losses that come with Blindfold.
pub const BUILTIN: &[Entry<dyn Loss>] = &[
    kl::ENTRY,
    js::ENTRY,
    cross_entropy::ENTRY,
    masked_cross_entropy::ENTRY,
    focal::ENTRY,
    entropy::ENTRY,
    entropy_difference::ENTRY,
    mutual_information::ENTRY,
    logit_mse::ENTRY,
    logit_l1::ENTRY,
    logit_range::ENTRY,
    feature_mse::ENTRY,
    feature_l1::ENTRY,
    attention::ENTRY,
    activation_kl::ENTRY,
    mmd::ENTRY,
    info_nce::ENTRY,
    scrm::ENTRY,
    rotation::ENTRY,
    masked_patch::ENTRY,
    contrastive::ENTRY,
    grad_cam::ENTRY,
];

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

    /// Whether it needs the labels of the images, hard or soft; no by default.
    fn needs_labels(&self) -> bool {
        false
    }

    /// Whether it looks at the images themselves, or shows the networks others; no by default.
    fn needs_images(&self) -> bool {
        false
    }

    /// Refuses networks that it does not fit, before training; `nodes`: those of [`Self::features`], in the network's order.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with what the loss needs of a network.
    fn check(&self, _network: &Network, _nodes: &[String]) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Its value `[1]`, unweighted.
    fn value(&self, signals: &Signals<'_>) -> Tensor<1>;
}

/// The nodes whose outputs a loss compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features<'a> {
    /// None: it compares logits alone.
    None,
    /// The outputs of all residual (or dense) blocks.
    Blocks,
    /// The output of the last block alone.
    LastBlock,
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

    /// As [`Self::of_patterns`], but an empty list means the output of the last block.
    pub(crate) fn last_block_or(patterns: &[String]) -> Features<'_> {
        match patterns.is_empty() {
            true => Features::LastBlock,
            false => Features::Matching(patterns),
        }
    }
}
