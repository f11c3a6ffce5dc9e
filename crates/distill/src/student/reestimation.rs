//! Batch norms measured anew when a training is over.

use blindfold_quant::{BatchNormReestimation, BatchNormReestimationConfig, MeasuredWith};
use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

/// The `batch_norm_reestimation` table: how the running statistics are measured anew on the trained student, for
/// `reestimate_batch_norms = true`.
///
/// The formulas are those of [`BatchNormReestimation`], measured with weights and activations quantized; the defaults are
/// that step's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reestimation {
    /// Share of the measured statistics in the new ones, above 0, at most 1; the rest is the old ones'.
    pub blend: f64,
    /// Images that run together.
    pub batch: usize,
    /// So many images are looked at: the first of the stored ones, at most all, or fresh ones of the `generator`.
    pub max_images: usize,
}

impl Default for Reestimation {
    fn default() -> Self {
        let BatchNormReestimationConfig { blend, batch, max_images, .. } = BatchNormReestimationConfig::default();
        Self { blend, batch, max_images }
    }
}

impl Reestimation {
    /// The fitting step that measures.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with a key within `batch_norm_reestimation`.
    pub(super) fn step(&self) -> Result<BatchNormReestimation, ConfigError> {
        let Self { blend, batch, max_images } = *self;
        let measured = MeasuredWith::Activations;
        BatchNormReestimation::new(BatchNormReestimationConfig { blend, measured, batch, max_images })
    }
}
