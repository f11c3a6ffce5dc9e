//! What the distribution-aware scheme finds in the tensors of a network, beside what it competes with.
//!
//! ```text
//! QuantizedNetwork -> weights                              Comparison -> values at the activation sites
//! values + Target + Ks -> KsRow { test, clip, levels, KsErrors } -> KsReport -> Markdown, CSV
//! ```

mod best_range;
mod errors;
mod report;
mod row;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod tests;

pub use errors::KsErrors;
pub use report::KsReport;
pub use row::KsRow;
