//! What is asked of images beside the statistics of a teacher's batch norms: that they be smooth, small, or varied.
//!
//! ```text
//! canvas -> shown images -> teacher -> PriorView -> ImagePrior -> one number, weighted, added to a source's loss
//! ```

mod cosine_margin;
mod l2;
mod list;
mod smoothness;
mod total_variation;

use blindfold_zoo::{ConfigError, Entry, Family};
use burn::tensor::Tensor;

use crate::optimised::Margin;

pub use cosine_margin::CosineMarginConfig;
pub use l2::L2Config;
pub use list::PriorConfig;
pub(crate) use list::Priors;
pub use smoothness::SmoothnessConfig;
pub use total_variation::{TotalVariationConfig, VariationNorm};

/// What one iteration of an optimised source shows to a prior. The tensors are differentiable in the images.
pub struct PriorView<'a> {
    /// What the teacher read, `[batch, channel, height, width]`, in its normalised space: after the source's own shifts,
    /// crops and blurs.
    pub images: Tensor<4>,
    /// The teacher's answer, `[batch, classes]`.
    pub logits: Tensor<2>,
    /// Input of the teacher's last linear layer, `[batch, features]`; the logits where it has no such layer.
    pub features: Tensor<2>,
    /// The class of each image; empty where images have none.
    pub labels: &'a [u32],
    /// The centres of the images' classes, where [`ImagePrior::needs_centres`] and one of the classes has images in a
    /// batch that is finished.
    pub margin: Option<&'a Margin>,
}

/// A term of the loss that images are optimised for: plugin family `image prior`.
pub trait ImagePrior: Send + Sync {
    /// Whether it wants [`PriorView::margin`], for which images must have classes and every finished image is looked at
    /// once more.
    fn needs_centres(&self) -> bool {
        false
    }

    /// The value, `[1]`, to be made small.
    fn value(&self, view: &PriorView<'_>) -> Tensor<1>;
}

/// All members of the family that ship with Blindfold.
pub const BUILTIN_PRIORS: &[Entry<dyn ImagePrior>] =
    &[total_variation::ENTRY, l2::ENTRY, smoothness::ENTRY, cosine_margin::ENTRY];

/// The plugin family of image priors.
///
/// # Errors
/// [`ConfigError::Duplicate`], which the test of the table excludes.
pub fn image_priors() -> Result<Family<dyn ImagePrior>, ConfigError> {
    Family::new("image prior", BUILTIN_PRIORS)
}

#[cfg(test)]
mod tests;
