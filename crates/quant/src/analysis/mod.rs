//! Error analysis: which layer costs how much, and is it its weights or its activations?
//!
//! ```text
//! QuantizedNetwork + teacher + images -> Comparison
//! Comparison -> ablation -> Verdict    what each tensor costs at the logits
//! Comparison -> layers                 what passes at each layer: weights only, activations only, both
//! Comparison -> histograms             what the grids have to hold
//! Comparison -> codebooks              what every code stands for
//! Comparison -> site values            what number formats are tried on
//! ```

mod ablation;
mod codebooks;
mod comparison;
mod histogram;
mod layer_report;
mod logits;
mod modes;
mod signal;
mod site_values;
mod verdict;

use serde::Serializer;

pub use ablation::{Ablation, AblationRow};
pub use comparison::Comparison;
pub use histogram::Histogram;
pub use layer_report::{LayerReport, OutputReport, UNIFORM_RMSE_PER_STEP, WeightReport};
pub use logits::LogitError;
pub use modes::{Chosen, Selection, SelectiveTap};
pub use signal::SignalError;
pub use verdict::{Ranked, Verdict};

use crate::audit::Role;

/// A role by the name that tables give it.
fn by_name<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.name())
}
