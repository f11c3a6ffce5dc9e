//! What happens to images on their way to the networks that read them.
//!
//! ```text
//! images, labels -> Augmented -> shift -> low-pass -> mixup -> images, shares of the classes -> teacher and student
//! ```

mod augmented;
mod cutmix;
mod flip;
mod low_pass;
mod mixing;
mod mixup;
mod resized_crop;
mod shift;

use std::fmt::Debug;

use blindfold_zoo::{ConfigError, Entry, Family, Stream};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::optimised::geometry::blend;

pub use augmented::Augmented;
pub use cutmix::CutmixConfig;
pub use flip::FlipConfig;
pub use low_pass::LowPassConfig;
pub use mixing::Mixing;
pub use mixup::MixupConfig;
pub use resized_crop::ResizedCropConfig;
pub use shift::ShiftConfig;

/// A change of the images that a training shows to its networks: plugin family `augmentation`.
///
/// Implementations are pure: they hold their options and no state, so that a resumed training is the same training.
pub trait Augment: Debug + Send + Sync {
    /// Refuses images of a shape `[channel, height, width]` that it does not fit, before training.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    fn check(&self, _shape: [usize; 3]) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The batch after it: the same for the same batch and stream.
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented;
}

/// Which augmentation, with its own options beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AugmentationConfig {
    /// The name of a member of the family `augmentation`.
    pub kind: String,
    /// The member's own keys.
    #[serde(flatten)]
    pub options: toml::Table,
}

/// All members of the family that ship with Blindfold.
pub const BUILTIN_AUGMENTATIONS: &[Entry<dyn Augment>] =
    &[shift::ENTRY, flip::ENTRY, resized_crop::ENTRY, mixup::ENTRY, cutmix::ENTRY, low_pass::ENTRY];

/// The plugin family of augmentations.
///
/// # Errors
/// [`ConfigError::Duplicate`], which the test of the table excludes.
pub fn augmentations() -> Result<Family<dyn Augment>, ConfigError> {
    Family::new("augmentation", BUILTIN_AUGMENTATIONS)
}

/// The key `probability` as TOML gives it.
fn checked_probability(value: f64) -> Result<(), ConfigError> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(ConfigError::invalid("probability", value, "write a number from 0 to 1")),
    }
}

/// Which of `count` images are chosen, each with that probability.
fn choose(count: usize, probability: f64, random: &mut Stream) -> Vec<bool> {
    (0..count).map(|_| random.random_bool(probability)).collect()
}

/// The chosen images as `change` makes them, the others as they are; `change` is not called where none is chosen.
fn where_chosen(images: Tensor<4>, chosen: &[bool], change: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    if !chosen.contains(&true) {
        return images;
    }
    let changed = change(images.clone());
    if !chosen.contains(&false) {
        return changed;
    }
    let mask: Vec<f32> = chosen.iter().map(|&chosen| f32::from(u8::from(chosen))).collect();
    let mask = TensorData::new(mask, [chosen.len(), 1, 1, 1]);
    let mask = Tensor::from_data(mask, &images.device().without_autodiff());
    blend(images, changed, mask)
}

#[cfg(test)]
mod tests;
