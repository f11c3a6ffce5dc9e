//! `blindfold analyze`: the error analysis of one run as a page, tables and figures.
//!
//! ```text
//! Prepared -> Subject                     the student, and where its page goes
//! Subject -> Comparison -> AnalysisReport -> analysis.md, *.csv, overview.svg, histograms/
//! ```

mod histogram;
mod overview;
mod page;
mod report;
mod style;
mod subject;
mod tables;

pub(crate) use report::AnalysisReport;
pub(crate) use subject::Subject;
