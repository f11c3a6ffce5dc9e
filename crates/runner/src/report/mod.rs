//! `blindfold report`: one page of HTML about a run, with style, script and pictures within it.
//!
//! ```text
//! run folder -> RunFiles -> Section (warnings, curves, layers, fitting, ..) -> page
//! ```

mod analysis;
mod bars;
mod chart;
mod configuration;
mod costs;
mod curves;
mod environment;
mod fitting;
mod header;
mod html;
mod layers;
mod markdown;
mod page;
mod run_files;
mod samples;
mod table;
mod warnings;

pub(crate) use configuration::Baseline;
pub(crate) use page::page;
pub(crate) use run_files::RunFiles;
