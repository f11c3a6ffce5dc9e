//! `blindfold analyze`: the error analysis of one run as a page, tables and figures.
//!
//! ```text
//! Prepared -> Subject                     the student, and where its page goes
//! Subject -> Comparison -> AnalysisReport -> analysis.md, activations.md, *.csv, overview.svg, histograms/
//! Prepared -> weights.md, channel-bits.md   Allocation -> frontier.svg
//! ```

mod frontier;
mod histogram;
mod overview;
mod page;
mod report;
pub(crate) mod style;
mod subject;
mod tables;
mod weights;

pub(crate) use frontier::frontier;
pub(crate) use report::AnalysisReport;
pub(crate) use subject::Subject;
pub(crate) use weights::write_weights;
